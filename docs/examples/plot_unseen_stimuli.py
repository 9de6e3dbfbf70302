"""
Stimuli that were never seen in training
========================================

With a vector for each stimulus (``embeddings``), the decoder predicts vectors, and finds stimuli without training trials.
"""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from bids_decoder import TROIDecoder

rng = np.random.default_rng(5)
n_stimuli, n_dims, n_voxels = 300, 12, 400
vectors = pd.DataFrame(
    rng.standard_normal((n_stimuli, n_dims)), index=[f"picture{k:03}" for k in range(n_stimuli)]
)
tuning = rng.standard_normal((n_dims, n_voxels)) * (np.arange(n_voxels) < 120)
betas = vectors.to_numpy() @ tuning / 3 + 3.5 * rng.standard_normal((n_stimuli, n_voxels))
runs = np.repeat(np.arange(10), 30)

# %%
# Eight runs to train on; the 60 stimuli of the others are new. Chance is 1 in 60, if only they are candidates.
names, train = vectors.index.to_numpy(), runs < 8
decoder = TROIDecoder(embeddings=vectors, calibration_folds=0, random_state=0)
decoder.fit(betas[train], names[train], groups=runs[train])
evidence = decoder.decision_function(betas[~train])
candidates = evidence[:, np.flatnonzero(np.isin(decoder.classes_, names[~train]))]
rank = (candidates > np.diag(candidates)[:, None]).sum(axis=1) + 1

fig, ax = plt.subplots(figsize=(4.5, 3))
ax.hist(rank, bins=np.arange(0.5, 61), color="tab:blue")
ax.set(xlabel="rank of the right one among 60", ylabel="trials",
       title=f"first in {np.mean(rank == 1):.0%} (chance {1 / 60:.1%})")
fig.tight_layout()
