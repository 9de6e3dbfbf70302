"""Reproducible use of the ITK libraries: one thread, a fixed seed."""

from __future__ import annotations

import os
from types import ModuleType

import numpy as np
from nibabel.affines import voxel_sizes

from bids_decoder.preprocessing.geometry import LPS_FROM_RAS, nearest_rotation


def start_ants(seed: int) -> ModuleType:
    """Import antspyx with one ITK thread and *seed* for its sampling.

    ITK reads the number of threads once, on first use. Sums over several threads are added in
    an order that changes, and with it the last bits of every registration.
    """
    os.environ["ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS"] = "1"
    os.environ["ANTS_RANDOM_SEED"] = str(max(seed, 1))
    import ants

    return ants


def start_sitk() -> ModuleType:
    """Import SimpleITK with one thread."""
    os.environ.setdefault("ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS", "1")
    import SimpleITK as sitk

    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(1)
    return sitk


def to_ants(volume: np.ndarray, affine: np.ndarray, ants: ModuleType) -> object:
    """Convert a volume, shape (i, j, k), to an ANTs image with its geometry."""
    lps, zooms = LPS_FROM_RAS @ affine, voxel_sizes(affine)
    return ants.from_numpy(
        np.ascontiguousarray(volume, dtype=np.float32), origin=[float(v) for v in lps[:3, 3]],
        spacing=[float(v) for v in zooms], direction=nearest_rotation(lps[:3, :3] / zooms),
    )
