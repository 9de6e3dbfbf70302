"""
Numbers as targets
==================

:class:`~bids_decoder.TROIRegressor` decodes one or several numbers per trial: ratings, reaction times.
"""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.model_selection import GroupKFold, cross_val_predict

from bids_decoder import TROIRegressor

rng = np.random.default_rng(7)
n_runs, n_voxels = 8, 300
runs = np.repeat(np.arange(n_runs), 12)
rating = rng.uniform(0, 10, len(runs))
weights = rng.standard_normal(n_voxels) * (np.arange(n_voxels) < 40)
betas = 0.15 * (rating - 5)[:, None] * weights + rng.standard_normal((len(runs), n_voxels))

predicted = cross_val_predict(
    TROIRegressor(random_state=0), betas, rating, groups=runs, cv=GroupKFold(n_runs),
    params={"groups": runs},
)

# %%
# Predictions shrink towards the mean where noise is strong: their slope tells whether the unit can be trusted.
r = np.corrcoef(predicted, rating)[0, 1]
slope = np.polyfit(predicted, rating, 1)[0]
fig, ax = plt.subplots(figsize=(4, 4))
ax.plot(predicted, rating, "o", alpha=0.5)
ax.plot([0, 10], [0, 10], color="grey", linestyle=":")
ax.set(xlabel="predicted rating", ylabel="rating", title=f"r = {r:.2f}, slope {slope:.2f}")
fig.tight_layout()
