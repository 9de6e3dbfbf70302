"""
A searchlight with corrected p-values
=====================================

:class:`~bids_decoder.Searchlight` decodes around every voxel. Permutations fit all spheres again; their largest values correct for the
number of spheres.
"""

import matplotlib.pyplot as plt
import nibabel as nib
import numpy as np

from bids_decoder import Searchlight

rng = np.random.default_rng(3)
shape = (12, 12, 4)
mask = nib.Nifti1Image(np.ones(shape, np.uint8), np.diag([3.0, 3.0, 3.0, 1.0]))
truth = np.linalg.norm(np.argwhere(np.ones(shape)) - [4, 7, 1], axis=1) < 2.5
labels, runs = np.tile(["left", "right"] * 4, 6), np.repeat(np.arange(6), 8)
pattern = rng.standard_normal(truth.size) * truth
betas = np.where(labels == "left", 0.5, -0.5)[:, None] * pattern
betas += rng.standard_normal(betas.shape)

search = Searchlight(mask, radius=6, n_permutations=49, random_state=0)
search.fit(betas, labels, groups=runs)

# %%
# Accuracy, and where it is significant at .05 corrected for all spheres.
accuracy = search.scores_img_.get_fdata()
significant = (search.p_values_max_ <= 0.05).reshape(shape)
fig, axes = plt.subplots(1, 2, figsize=(7, 3))
view = axes[0].imshow(accuracy[:, :, 1].T, origin="lower", vmin=0.5, vmax=1, cmap="viridis")
fig.colorbar(view, ax=axes[0], label="balanced accuracy")
axes[1].imshow(significant[:, :, 1].T, origin="lower", cmap="gray_r")
axes[1].contour(truth.reshape(shape)[:, :, 1].T, levels=[0.5], colors="red")
for ax, title in zip(axes, ("accuracy", "corrected p ≤ .05 (red: truth)"), strict=True):
    ax.set(title=title, xticks=[], yticks=[])
fig.tight_layout()
