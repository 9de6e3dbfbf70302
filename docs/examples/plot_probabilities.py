"""
Calibrated probabilities
========================

``predict_proba`` is calibrated on training runs that were left out. On new trials, of those decoded with a probability of 70 %, about 70 % should
be right.
"""

import matplotlib.pyplot as plt
import numpy as np

from bids_decoder import TROIDecoder

rng = np.random.default_rng(4)
n_runs, n_voxels, names = 30, 100, np.array(["a", "b", "c"])
labels, runs = np.tile(np.repeat(names, 5), n_runs), np.repeat(np.arange(n_runs), 15)
patterns = {name: 0.25 * rng.standard_normal(n_voxels) for name in names}
betas = np.array([patterns[name] for name in labels]) + rng.standard_normal((len(labels), n_voxels))

train = runs < 8
decoder = TROIDecoder(random_state=0).fit(betas[train], labels[train], groups=runs[train])
probability = decoder.predict_proba(betas[~train])
right = decoder.classes_[probability.argmax(axis=1)] == labels[~train]

# %%
# Reliability diagram: stated against observed share of right trials.
stated = probability.max(axis=1)
edges = np.quantile(stated, np.linspace(0, 1, 6))
part = np.clip(np.searchsorted(edges, stated, side="right") - 1, 0, 4)
fig, ax = plt.subplots(figsize=(3.5, 3.5))
ax.plot([1 / 3, 1], [1 / 3, 1], color="grey", linestyle=":")
ax.plot([stated[part == k].mean() for k in range(5)], [right[part == k].mean() for k in range(5)], "o-")
ax.set(xlabel="stated probability", ylabel="share of right trials", xlim=(0.3, 1), ylim=(0.3, 1))
fig.tight_layout()
