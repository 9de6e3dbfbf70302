"""
How much data is enough
=======================

Estimators work with the tools of scikit-learn. Here the number of training runs grows; the app does this with
``--learning-curve``, with intervals and the minutes that are missing.
"""

import matplotlib.pyplot as plt
import numpy as np

from bids_decoder import TROIDecoder

rng = np.random.default_rng(8)
n_runs, n_voxels, names = 16, 300, np.array(list("abcde"))
labels, runs = np.tile(np.repeat(names, 2), n_runs), np.repeat(np.arange(n_runs), 10)
patterns = {name: 0.45 * rng.standard_normal(n_voxels) * (np.arange(n_voxels) < 60) for name in names}
betas = np.array([patterns[name] for name in labels]) + rng.standard_normal((len(labels), n_voxels))
test = runs >= 10

# %%
# Five draws of training runs for each number of them; test runs stay the same.
numbers = [1, 2, 3, 4, 6, 8, 10]
accuracy = []
for number in numbers:
    draws = []
    for _ in range(5):
        train = np.isin(runs, rng.choice(10, number, replace=False))
        decoder = TROIDecoder(calibration_folds=0, random_state=0)
        decoder.fit(betas[train], labels[train], groups=runs[train])
        draws.append(decoder.score(betas[test], labels[test]))
    accuracy.append(draws)
accuracy = np.array(accuracy)

fig, ax = plt.subplots(figsize=(4.5, 3))
ax.plot(numbers, accuracy, "o", color="tab:blue", alpha=0.3)
ax.plot(numbers, accuracy.mean(axis=1), color="tab:blue")
ax.axhline(0.2, color="grey", linestyle=":")
ax.set(xlabel="training runs", ylabel="accuracy on test runs", ylim=(0, 1))
fig.tight_layout()
