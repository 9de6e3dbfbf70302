"""Trials whose informative voxels are known, as arrays and as images."""

import nibabel as nib
import numpy as np

SHAPE = (5, 4, 3)
AFFINE = np.diag([3.0, 3.0, 3.0, 1.0])
CLASSES = ("face", "house", "shoe")


def make_mask():
    """A box without one corner."""
    mask = np.ones(SHAPE, np.uint8)
    mask[0, 0, 0] = 0
    return nib.Nifti1Image(mask, AFFINE)


def make_trials(n_runs=4, per_run=15, signal=2.5, seed=0):
    """Betas (n_trials, n_voxels), labels and runs; the first ten voxels have signal."""
    rng = np.random.default_rng(seed)
    n_voxels = int(make_mask().get_fdata().sum())
    y = np.tile(CLASSES, n_runs * per_run // 3)
    patterns = np.random.default_rng(7).standard_normal((3, n_voxels)) * (np.arange(n_voxels) < 10)
    X = 5 + signal * patterns[np.tile([0, 1, 2], len(y) // 3)]
    X += rng.standard_normal((len(y), n_voxels))
    return X.astype(np.float32), y, np.repeat(np.arange(1, n_runs + 1), per_run)


def to_images(X):
    """The same trials as a 4-D image."""
    mask = make_mask().get_fdata() > 0
    volume = np.zeros((*SHAPE, len(X)), np.float32)
    volume[mask] = X.T
    return nib.Nifti1Image(volume, AFFINE)
