"""
Decode labels, beside a support vector machine
==============================================

:class:`~bids_decoder.TROIDecoder` is a classifier of scikit-learn. Runs are the unit of cross-validation, because trials of one run share noise.
"""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.model_selection import LeaveOneGroupOut, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import LinearSVC

from bids_decoder import TROIDecoder

rng = np.random.default_rng(1)
n_runs, n_voxels = 6, 600
names = np.array(["face", "house", "shoe"])

# %%
# Sixty of 600 voxels respond; every run has an offset of its own.
labels = np.tile(np.repeat(names, 4), n_runs)
runs = np.repeat(np.arange(n_runs), 12)
patterns = {name: 0.4 * rng.standard_normal(n_voxels) * (np.arange(n_voxels) < 60) for name in names}
betas = np.array([patterns[name] for name in labels])
betas += rng.standard_normal(betas.shape) + rng.standard_normal((n_runs, n_voxels))[runs]

# %%
# The same folds for both.
svm = make_pipeline(StandardScaler(), LinearSVC(dual="auto"))
folds = {"groups": runs, "cv": LeaveOneGroupOut()}
scores = {
    "trainable region\nof interest": cross_val_score(
        TROIDecoder(calibration_folds=0, random_state=0), betas, labels,
        params={"groups": runs}, **folds,
    ),
    "support vector\nmachine": cross_val_score(svm, betas, labels, **folds),
}
fig, ax = plt.subplots(figsize=(4.5, 3))
for place, values in enumerate(scores.values()):
    ax.plot(np.full(len(values), place), values, "o", alpha=0.5)
    ax.plot(place, values.mean(), "k_", markersize=30)
ax.axhline(1 / 3, color="grey", linestyle=":")
ax.set(xticks=range(2), xticklabels=list(scores), xlim=(-0.5, 1.5), ylim=(0, 1.05),
       ylabel="accuracy of each run")
fig.tight_layout()
