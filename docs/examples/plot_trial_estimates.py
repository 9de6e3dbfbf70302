"""
One response per trial
======================

In fast designs responses overlap. :class:`~bids_decoder.TrialEstimator` fits a model with all trials of a run and a penalty for each
voxel (``"ridge"``), or one model for each trial (``"lss"``). Which one is nearer to the truth?
"""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from nilearn.glm.first_level import compute_regressor

from bids_decoder import TrialEstimator

rng = np.random.default_rng(0)
t_r, n_volumes, n_voxels = 2.0, 200, 80
times = np.arange(n_volumes) * t_r

# %%
# A trial every four seconds; each has a response of its own in each voxel.
onsets = np.arange(8.0, 380.0, 4.0)
truth = 1 + rng.standard_normal((len(onsets), n_voxels))
courses = np.column_stack([
    compute_regressor(np.array([[onset], [1.0], [1.0]]), "spm", times)[0][:, 0] for onset in onsets
])
noise = rng.standard_normal((n_volumes, n_voxels))
bold = 100 + 5 * (courses @ truth) + noise
events = pd.DataFrame({"onset": onsets, "duration": 1.0, "trial_type": "picture"})

# %%
# Estimate, and correlate with the truth, voxel by voxel.


def agreement(estimates: np.ndarray) -> np.ndarray:
    """Return the correlation of estimated and true responses in each voxel."""
    return np.array([np.corrcoef(a, b)[0, 1] for a, b in zip(estimates.T, truth.T, strict=True)])


found = {}
for estimator in ("lss", "lsa", "ridge"):
    betas, trials = TrialEstimator(estimator, t_r=t_r, slice_time_ref=0.0).fit_transform(
        [bold], [events]
    )
    found[estimator] = agreement(betas)

fig, ax = plt.subplots(figsize=(5, 3))
ax.boxplot(found.values(), tick_labels=list(found))
ax.set(ylabel="correlation with the true responses", title="Trials 4 s apart")
fig.tight_layout()
