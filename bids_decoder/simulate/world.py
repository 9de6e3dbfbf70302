"""What simulated participants of a group share."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class ResponseSettings:
    """Settings of simulated brains and scanners. Widths are FWHM in voxels.

    Parameters
    ----------
    shape : tuple of int
        Box of voxels; axis 1 runs from posterior to anterior. The brain is the inscribed
        ellipsoid.
    voxel_size : float
        Millimetres.
    n_roi : int
        Number of responsive voxels.
    median_ncsnr : float
        Median ratio of signal to noise standard deviation of a single trial in these voxels.
    n_features : int
        Dimensions of a picture that brains respond to; the strength of number *k* is
        proportional to ``k ** -0.5``.
    n_embedding : int
        Dimensions of the target embedding, at least ``n_features``.
    own : float
        Share of the variance of the embedding that no brain responds to; it caps decoding.
    roi_fwhm, tuning_fwhm : float
        Smoothness of the region's outline (small: fragmented) and of the tuning.
    similarity : float
        Correlation of the tuning of the same voxel between two participants before their regions
        are cut.
    noise_fwhm : float
        Smoothness of the spatially correlated half of the noise.
    suppressor_fraction : float
        Share of the voxels outside the region that contain mostly the correlated noise of a
        voxel inside: informative only in combination with it.
    drift_sd : float
        Standard deviation of the session offset, and of the linear and the quadratic drift
        within runs.
    whole_box : bool
        Return all voxels of the box; those outside the brain contain white noise only.
    n_distractor : int
        Size of an anterior region that follows arousal, which is independent of the picture.
    """

    shape: tuple[int, int, int] = (60, 40, 40)
    voxel_size: float = 1.8
    n_roi: int = 6000
    median_ncsnr: float = 0.26
    n_features: int = 128
    n_embedding: int = 256
    own: float = 0.3
    roi_fwhm: float = 8.0
    tuning_fwhm: float = 4.0
    similarity: float = 0.7
    noise_fwhm: float = 2.0
    suppressor_fraction: float = 0.0
    drift_sd: float = 0.3
    whole_box: bool = False
    n_distractor: int = 0


@dataclass(frozen=True, eq=False)
class World:
    """Properties that all participants of one group share.

    Parameters
    ----------
    settings : ResponseSettings
    group_seed : int
    brain : ndarray of bool, shape ``settings.shape``
    roi_field : ndarray of float32, shape ``settings.shape``
        Shared part of the location of the region.
    tuning_fields : ndarray of float32, shape (n_features, n_brain_voxels)
    seen, unseen : ndarray of float32, shape (n_embedding, n_features)
        Orthonormal columns that carry the two parts of the embedding.
    """

    settings: ResponseSettings
    group_seed: int
    brain: np.ndarray
    roi_field: np.ndarray
    tuning_fields: np.ndarray
    seen: np.ndarray
    unseen: np.ndarray

    @property
    def spectrum(self) -> np.ndarray:
        """Strength of each feature, shape (n_features,)."""
        return (np.arange(1, self.settings.n_features + 1) ** -0.5).astype(np.float32)
