"""Base classes and readers of the nodes of preprocessing."""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from nipype.interfaces.base import (
    BaseInterfaceInputSpec,
    File,
    SimpleInterface,
    TraitedSpec,
    traits,
)
from threadpoolctl import threadpool_limits

from bids_decoder.preprocessing.registration import Picture
from bids_decoder.preprocessing.resampling import Grid
from bids_decoder.preprocessing.series import usable_values


class Step(SimpleInterface, ABC):
    """Node that uses one thread, since sums over several threads are not reproducible."""

    def _run_interface(self, runtime: Any) -> Any:
        self.folder = Path(runtime.cwd)
        with threadpool_limits(limits=1):
            results = self._compute(self.inputs)
        self._results |= {
            name: str(value) if isinstance(value, Path) else value
            for name, value in results.items()
        }
        return runtime

    @abstractmethod
    def _compute(self, inputs: Any) -> dict[str, Any]:
        """Return the outputs by name."""


def read_image(path: str) -> tuple[np.ndarray, np.ndarray, tuple[str, ...]]:
    """Read values and affine of an image, with notes on corrected values."""
    image = nib.load(path)
    values, notes = usable_values(np.asanyarray(image.dataobj))
    return values, np.asarray(image.affine, dtype=float), notes


def read_mask(path: str) -> np.ndarray:
    """Read a mask; voxels above zero are in it."""
    return np.asarray(nib.load(path).dataobj) > 0


def read_picture(image_file: str, mask_file: str) -> Picture:
    """Read an image and its mask for registration."""
    volume, affine, _ = read_image(image_file)
    return Picture(volume, affine, read_mask(mask_file))


def read_grid(path: str) -> Grid:
    """Read the grid of an image, without its values."""
    image = nib.load(path)
    return Grid(tuple(image.shape[:3]), np.asarray(image.affine, dtype=float))


class SeededSpec(BaseInterfaceInputSpec):
    """Inputs of nodes that call ANTs."""

    seed = traits.Int(1, usedefault=True, desc="seed of ANTs")


class ImageOutput(TraitedSpec):
    """Output of nodes that write one image."""

    out_file = File(exists=True, desc="the result")


class MaskInput(SeededSpec):
    """Inputs of nodes that compute a brain mask."""

    in_file = File(exists=True, mandatory=True, desc="image, bias removed")


class MaskOutput(TraitedSpec):
    """Outputs of nodes that compute a brain mask."""

    mask_file = File(exists=True, desc="brain mask")
    brain_file = File(exists=True, desc="the image, zero outside the brain")


class TwoWaysOutput(TraitedSpec):
    """Transforms between two images, in both directions."""

    forward_file = File(exists=True, desc="resamples the first image to the grid of the second")
    inverse_file = File(exists=True, desc="inverse transform")
