"""Nodes that resample runs to an output grid, with all their transforms at once."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from nibabel.affines import apply_affine
from nipype.interfaces.base import (
    BaseInterfaceInputSpec,
    File,
    InputMultiObject,
    TraitedSpec,
    isdefined,
    traits,
)

from bids_decoder.bids.writer import save_nifti
from bids_decoder.interfaces.preprocessing_base import Step, read_grid, read_image, read_mask
from bids_decoder.preprocessing import registration
from bids_decoder.preprocessing.distortion import ShiftMap
from bids_decoder.preprocessing.geometry import grid_points
from bids_decoder.preprocessing.resampling import (
    AxisShift,
    Grid,
    resample_series,
    resample_volume,
)


class ResampleIn(BaseInterfaceInputSpec):
    """Inputs of nodes that resample a run."""

    matrices_file = File(exists=True, mandatory=True, desc="motion")
    boldref_file = File(exists=True, mandatory=True, desc="reference of the run")
    grid_file = File(exists=True, mandatory=True, desc="image on the grid of the output")
    mask_file = File(exists=True, mandatory=True, desc="brain mask of the participant")
    run_file = File(exists=True, desc="transform participant to run; none for the first run")
    space_files = InputMultiObject(
        File(exists=True), desc="transforms from the output grid to the participant, in this order"
    )
    shift_file = File(exists=True, desc="distortion of the run in voxels; none if not corrected")
    shift_axis = traits.Int(desc="phase-encoding axis of the run")
    t_r = traits.Float(mandatory=True, desc="seconds between volumes")
    metadata = traits.Dict(desc="sidecar known beforehand")
    notes = traits.List(traits.Str, desc="added to the sidecar")


class ResampleOut(TraitedSpec):
    """Outputs of nodes that resample a run."""

    out_file = File(exists=True, desc="preprocessed series")
    boldref_file = File(exists=True, desc="reference on the output grid")
    mask_file = File(exists=True, desc="brain inside the field of view of all volumes")
    metadata = traits.Dict(desc="sidecar of the series")


@dataclass(frozen=True, eq=False)
class Resampling:
    """The output grid of a run, and the way of its points to each volume.

    Parameters
    ----------
    grid : Grid
    matrices : ndarray, shape (n_volumes, 4, 4)
    points : ndarray, shape (n_voxels, 3), or None
    shift : AxisShift or None
        See :func:`~bids_decoder.preprocessing.resampling.resample_series`.
    """

    grid: Grid
    matrices: np.ndarray
    points: np.ndarray | None
    shift: AxisShift | None

    def series(self, series: np.ndarray, affine: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Resample all volumes; return them, and the voxels that all of them cover."""
        return resample_series(
            series, affine, self.grid, self.matrices, self.points, self.shift
        )


class ResampleRun(Step):
    """Resample a run to an output grid with all its transforms at once."""

    input_spec = ResampleIn
    output_spec = ResampleOut

    def _compute(self, inputs: Any) -> dict[str, Any]:
        grid = read_grid(inputs.grid_file)
        points = self._person_points(inputs, grid)
        to_run = np.eye(4)
        if isdefined(inputs.run_file):
            to_run = registration.read_matrix(Path(inputs.run_file))
        matrices = np.load(inputs.matrices_file, allow_pickle=False) @ to_run
        shift = self._shift(inputs, grid, to_run, points)
        brain, brain_affine = read_mask(inputs.mask_file), read_grid(inputs.mask_file).affine
        mask = resample_volume(brain.astype(np.uint8), brain_affine, grid, points=points, order=0)
        place = Resampling(grid, matrices, points, shift)
        bold, mask, more = self._series(inputs, place, mask > 0)
        boldref, boldref_affine, _ = read_image(inputs.boldref_file)
        reference = resample_volume(
            boldref, boldref_affine, grid, to_run, points=points, shift=shift
        )
        mask = mask & (bold.max(axis=3) > bold.min(axis=3))
        metadata = dict(inputs.metadata) if isdefined(inputs.metadata) else {}
        if isdefined(inputs.notes) and inputs.notes:
            metadata["Notes"] = list(dict.fromkeys(inputs.notes))
        return more | {
            "out_file": save_nifti(
                self.folder / "bold.nii.gz", bold, grid.affine, t_r=inputs.t_r
            ),
            "boldref_file": save_nifti(self.folder / "boldref.nii.gz", reference, grid.affine),
            "mask_file": save_nifti(self.folder / "mask.nii.gz", mask, grid.affine),
            "metadata": metadata,
        }

    @abstractmethod
    def _series(
        self, inputs: Any, place: Resampling, brain: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, dict[str, Any]]:
        """Return the resampled series, the part of the brain in it, and further outputs."""

    @staticmethod
    def _shift(
        inputs: Any, grid: Grid, to_run: np.ndarray, points: np.ndarray | None
    ) -> AxisShift | None:
        """Return the distortion of the run at each voxel of the output."""
        if not isdefined(inputs.shift_file):
            return None
        voxels, affine, _ = read_image(inputs.shift_file)
        places = grid_points(grid.shape, grid.affine) if points is None else points
        shifts = ShiftMap(voxels, affine, inputs.shift_axis)
        return shifts.at(apply_affine(to_run, places))

    @staticmethod
    def _person_points(inputs: Any, grid: Grid) -> np.ndarray | None:
        if not isdefined(inputs.space_files) or not inputs.space_files:
            return None
        first, *further = inputs.space_files
        points = registration.warped_points(Path(first), grid)
        for path in further:
            points = apply_affine(registration.read_matrix(Path(path)), points)
        return points


class _BoldIn(ResampleIn):
    in_file = File(exists=True, mandatory=True, desc="raw or slice-time corrected BOLD")


class ResampleBold(ResampleRun):
    """Resample a run of one echo."""

    input_spec = _BoldIn

    def _series(
        self, inputs: Any, place: Resampling, brain: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, dict[str, Any]]:
        series, affine, _ = read_image(inputs.in_file)
        bold, covered = place.series(series, affine)
        return bold, brain & covered, {}
