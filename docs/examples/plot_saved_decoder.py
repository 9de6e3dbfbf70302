"""
A decoder that is used again
============================

A fitted decoder is saved, loaded and applied to another session. Responses of a new session have other means and scales, so that its
trials are z-scored by themselves, without their labels, unless ``scaling="training"`` asks for the numbers of the training trials.
"""

import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

from bids_decoder import TROIDecoder, load_decoder

rng = np.random.default_rng(12)
names, n_voxels = np.array(["face", "house", "shoe", "cat"]), 200
patterns = {name: 0.6 * rng.standard_normal(n_voxels) * (np.arange(n_voxels) < 50) for name in names}


def session(n_runs: int, offset: np.ndarray | float = 0.0) -> tuple[np.ndarray, ...]:
    """Simulate responses, labels and runs of one session."""
    labels, runs = np.tile(np.repeat(names, 3), n_runs), np.repeat(np.arange(n_runs), 12)
    betas = np.array([patterns[name] for name in labels])
    return betas + rng.standard_normal(betas.shape) + offset, labels, runs


betas, labels, runs = session(8)
decoder = TROIDecoder(calibration_folds=4, random_state=0).fit(betas, labels, groups=runs)
path = Path(tempfile.mkdtemp()) / "decoder.safetensors"
decoder.save(path)

# %%
# The loaded decoder gives the same answers as the fitted one. The file holds numbers, no code.
new_betas, new_labels, _ = session(4)
loaded = load_decoder(path, scaling="training")
assert np.array_equal(loaded.predict(new_betas), decoder.predict(new_betas))

# %%
# An offset between sessions that differs from voxel to voxel costs accuracy, unless the new session is z-scored by itself. This looks at
# all trials of the session together: report it, and use it where classes are about equally frequent in each session.
offsets, direction = np.linspace(0, 3, 7), rng.standard_normal(n_voxels)
accuracy = {"training": [], "own": []}
for size in offsets:
    shifted, truth, _ = session(8, size * direction)
    for scaling, values in accuracy.items():
        values.append(load_decoder(path, scaling=scaling).score(shifted, truth))

fig, ax = plt.subplots(figsize=(4.5, 3))
for scaling, values in accuracy.items():
    ax.plot(offsets, values, "o-", label=f"scaling {scaling}")
ax.axhline(1 / len(names), color="grey", linestyle=":")
ax.set(xlabel="offset between sessions (sd of the noise)", ylabel="accuracy", ylim=(0, 1.02))
ax.legend()
fig.tight_layout()
