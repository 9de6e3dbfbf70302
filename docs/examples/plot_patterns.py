"""
Patterns, not weights
=====================

The weights of a linear decoder are not a map of where information is: a voxel that only carries noise gets a large weight when it
helps to remove the noise of others (Haufe et al. 2014). The activation pattern shows where the signal is. Reports of the app show patterns.
"""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.linear_model import Ridge

from bids_decoder.training.patterns import activation_patterns

rng = np.random.default_rng(14)
n_trials, shape = 800, (10, 20)
where = np.zeros(shape, dtype=bool)
where[3:7, 3:7] = True
noisy = np.zeros(shape, dtype=bool)
noisy[3:7, 13:17] = True

# %%
# Signal lies in the left square. The same fluctuation, noise of no interest, lies in both squares.
target = rng.standard_normal(n_trials)
fluctuation = rng.standard_normal(n_trials)
betas = 0.3 * rng.standard_normal((n_trials, where.size))
betas += np.outer(target, where.ravel()) + np.outer(fluctuation, (where | noisy).ravel())
weight = Ridge(alpha=10.0).fit(betas, target).coef_[:, None]
pattern = activation_patterns(betas, weight, np.full(n_trials, "run 1"))[0]

# %%
# The weights are as large (and negative) in the right square, where no signal is.
fig, axes = plt.subplots(1, 2, figsize=(7, 2.4))
for ax, values, title in zip(axes, (weight[:, 0], pattern), ("weights", "activation pattern"), strict=True):
    largest = np.abs(values).max()
    view = ax.imshow(values.reshape(shape), cmap="RdBu_r", vmin=-largest, vmax=largest)
    fig.colorbar(view, ax=ax, fraction=0.025)
    ax.set(title=title, xticks=[], yticks=[])
fig.tight_layout()
