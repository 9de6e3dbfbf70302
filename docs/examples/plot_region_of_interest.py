"""
Which voxels carry the information
==================================

With positions of voxels (``mask_img``), neighbours help each other: where they carry signal, a voxel is more likely to do so.
"""

import matplotlib.pyplot as plt
import nibabel as nib
import numpy as np

from bids_decoder import TROIDecoder

rng = np.random.default_rng(2)
shape = (14, 14, 3)
mask = nib.Nifti1Image(np.ones(shape, np.uint8), np.diag([3.0, 3.0, 3.0, 1.0]))
place = np.argwhere(np.ones(shape))
truth = np.linalg.norm(place - [9, 5, 1], axis=1) < 3.2

# %%
# Four labels in eight runs; only voxels in a ball respond.
labels, runs = np.tile(list("abcd") * 3, 8), np.repeat(np.arange(8), 12)
patterns = {name: 0.7 * rng.standard_normal(truth.size) * truth for name in "abcd"}
betas = np.array([patterns[name] for name in labels]) + rng.standard_normal((96, truth.size))

with_places = TROIDecoder(mask_img=mask, calibration_folds=0, random_state=0)
with_places.fit(betas, labels, groups=runs)
without = TROIDecoder(calibration_folds=0, random_state=0).fit(betas, labels, groups=runs)

# %%
# The middle slice: truth, and the voxels chosen with and without positions.
fig, axes = plt.subplots(1, 3, figsize=(8, 3))
shown = {"truth": truth, "with positions": with_places.voxels_, "without": without.voxels_}
for ax, (title, voxels) in zip(axes, shown.items(), strict=True):
    ax.imshow(np.asarray(voxels).reshape(shape)[:, :, 1].T, origin="lower", cmap="gray_r")
    ax.set(title=f"{title}: {int(np.sum(voxels))} voxels", xticks=[], yticks=[])
fig.tight_layout()
