"""Nodes of distortion correction: fields, shift maps, and how well tissue boundaries agree."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pandas as pd
from nipype.interfaces.base import (
    File,
    InputMultiObject,
    TraitedSpec,
    isdefined,
    traits,
)

from bids_decoder.bids.writer import save_nifti, save_table
from bids_decoder.interfaces.preprocessing_base import (
    SeededSpec,
    Step,
    read_grid,
    read_image,
    read_mask,
    read_picture,
)
from bids_decoder.interfaces.progress import LOGGER
from bids_decoder.preprocessing import fieldmaps, masks, registration
from bids_decoder.preprocessing.boundary import boundary_contrast, boundary_points
from bids_decoder.preprocessing.coregistration import align_to_t1w
from bids_decoder.preprocessing.distortion import (
    Epi,
    EstimatedField,
    PhaseEncoding,
    ShiftMap,
    fill_field,
    shift_map,
)
from bids_decoder.preprocessing.field_of_t1w import Tissues, field_of_t1w
from bids_decoder.preprocessing.opposite_phases import field_of_pair
from bids_decoder.preprocessing.reference import N_REFERENCE, robust_reference
from bids_decoder.preprocessing.registration import Picture
from bids_decoder.preprocessing.resampling import Grid, resample_volume
from bids_decoder.preprocessing.series import usable_values


class _FieldOut(TraitedSpec):
    field_file = File(exists=True, desc="field in Hz, defined everywhere")
    reference_file = File(exists=True, desc="head on the same grid, without distortion")
    mask_file = File(exists=True, desc="its brain mask")
    metadata = traits.Dict(desc="for the sidecar of the field")


class _PairIn(SeededSpec):
    in_files = InputMultiObject(File(exists=True), mandatory=True, desc="two EPI images")
    axes = traits.List(traits.Int, mandatory=True, desc="phase-encoding axes")
    signs = traits.List(traits.Int, mandatory=True, desc="1 or -1")
    readouts = traits.List(traits.Float, mandatory=True, desc="seconds")


class _FieldStep(Step):
    output_spec = _FieldOut

    def _write(
        self, field: np.ndarray, reference: np.ndarray, mask: np.ndarray, affine: np.ndarray,
        metadata: dict[str, Any],
    ) -> dict[str, Any]:
        return {
            "field_file": save_nifti(self.folder / "field.nii.gz", field, affine),
            "reference_file": save_nifti(self.folder / "reference.nii.gz", reference, affine),
            "mask_file": save_nifti(self.folder / "mask.nii.gz", mask, affine),
            "metadata": metadata,
        }

    def _write_estimate(
        self, found: EstimatedField, affine: np.ndarray, seed: int
    ) -> dict[str, Any]:
        """Write a field that was found by the agreement of two images."""
        mask = masks.epi_brain_mask(np.clip(found.corrected, 0, None), affine, seed)
        before, after = found.agreement
        return self._write(found.field, found.corrected, mask, affine, {
            "CorrelationBefore": round(before, 4), "CorrelationAfter": round(after, 4),
        })


class FieldOfPair(_FieldStep):
    """Estimate the field from two images with opposite phase encoding."""

    input_spec = _PairIn

    def _compute(self, inputs: Any) -> dict[str, Any]:
        ways = zip(inputs.axes, inputs.signs, inputs.readouts, strict=True)
        epis = [
            Epi(*_read_reference(path), PhaseEncoding(*way))
            for path, way in zip(inputs.in_files, ways, strict=True)
        ]
        return self._write_estimate(field_of_pair(*epis), epis[0].affine, inputs.seed)


def _read_reference(path: str) -> tuple[np.ndarray, np.ndarray]:
    """Read an image, or the reference of the first volumes of a series."""
    image = nib.load(path)
    affine = np.asarray(image.affine, dtype=float)
    stored = image.dataobj if image.ndim < 4 else image.dataobj[..., :N_REFERENCE]
    values, _ = usable_values(np.asanyarray(stored))
    if values.ndim < 4 or values.shape[3] == 1:
        return values.reshape(values.shape[:3]), affine
    return robust_reference(values, affine).image, affine


class _BoldrefIn(SeededSpec):
    in_file = File(exists=True, mandatory=True, desc="boldref of a run")
    brain_file = File(exists=True, mandatory=True, desc="its brain mask")
    axis = traits.Int(mandatory=True, desc="phase-encoding axis of the run")
    sign = traits.Int(mandatory=True, desc="1 or -1")
    readout = traits.Float(mandatory=True, desc="seconds")


class _T1wIn(_BoldrefIn):
    t1w_file = File(exists=True, mandatory=True, desc="T1w brain")
    t1w_mask_file = File(exists=True, mandatory=True, desc="its brain mask")
    dseg_file = File(exists=True, mandatory=True, desc="tissues on the T1w grid")


class FieldOfT1w(_FieldStep):
    """Estimate the field from the differences of a boldref to the T1w image."""

    input_spec = _T1wIn

    def _compute(self, inputs: Any) -> dict[str, Any]:
        boldref = read_picture(inputs.in_file, inputs.brain_file)
        epi = Epi(
            boldref.volume, boldref.affine, PhaseEncoding(inputs.axis, inputs.sign, inputs.readout)
        )
        tissues = Tissues(
            read_picture(inputs.t1w_file, inputs.t1w_mask_file),
            np.asarray(nib.load(inputs.dseg_file).dataobj),
        )
        found = field_of_t1w(epi, boldref.mask, tissues, inputs.seed)
        return self._write_estimate(found, epi.affine, inputs.seed)


class _MagnitudeIn(SeededSpec):
    magnitude_file = File(exists=True, mandatory=True, desc="magnitude image")
    in_files = InputMultiObject(
        File(exists=True), mandatory=True, desc="field map, phase difference, or two phases"
    )
    echo_gap = traits.Float(desc="seconds between the echoes of phases")
    units = traits.Str(desc="units of a field map; absent for phases")


class FieldOfGradientEchoes(_FieldStep):
    """Compute the field from phase images, or bring a measured map to Hz."""

    input_spec = _MagnitudeIn

    def _compute(self, inputs: Any) -> dict[str, Any]:
        values, affine, _ = read_image(inputs.in_files[0])
        values = _first_volume(values)
        grid = Grid(values.shape, affine)
        magnitude, magnitude_affine, _ = read_image(inputs.magnitude_file)
        head = resample_volume(_first_volume(magnitude), magnitude_affine, grid, order=1)
        head = np.clip(head, 0, None)
        mask = masks.epi_brain_mask(head, affine, inputs.seed)
        if isdefined(inputs.units):
            hertz = values * np.float32(fieldmaps.HZ_PER_UNIT[inputs.units])
            return self._write(fill_field(hertz, mask, affine), head, mask, affine, {})
        difference, metadata = self._difference(inputs, values)
        field = fieldmaps.field_of_phase(difference, mask, inputs.echo_gap, affine)
        return self._write(field, head, mask, affine, metadata)

    @staticmethod
    def _difference(inputs: Any, first: np.ndarray) -> tuple[np.ndarray, dict[str, Any]]:
        images = [first, *(_first_volume(read_image(path)[0]) for path in inputs.in_files[1:])]
        scale = fieldmaps.find_phase_scale(*images)
        if not scale.is_certain:
            LOGGER.warning(
                "%s: values span %.0f %% of a turn, if they are %s with zero phase at %g, which "
                "is assumed; check the field map in the report", Path(inputs.in_files[0]).name,
                100 * scale.filled, scale.units, scale.zero,
            )
        phases = [scale.to_radians(image) for image in images]
        difference = phases[0] if len(phases) == 1 else fieldmaps.phase_difference(*phases)
        return difference, {"PhaseUnits": scale.units, "PhaseZero": scale.zero}


def _first_volume(values: np.ndarray) -> np.ndarray:
    return values if values.ndim < 4 else values[..., 0]


class _UnwarpIn(_BoldrefIn):
    field_file = File(exists=True, mandatory=True, desc="field in Hz")
    reference_file = File(exists=True, mandatory=True, desc="head on the grid of the field")
    field_mask_file = File(exists=True, mandatory=True, desc="its brain mask")


class _UnwarpOut(TraitedSpec):
    out_file = File(exists=True, desc="corrected boldref")
    mask_file = File(exists=True, desc="its brain mask")
    shift_file = File(exists=True, desc="shift along the phase-encoding axis in voxels")
    metadata = traits.Dict(desc="sidecar of the shifts")
    matrix_file = File(exists=True, desc="resamples the boldref to the grid of the field")


def _voxel_mm(shifts: ShiftMap) -> float:
    return float(np.linalg.norm(shifts.affine[:3, shifts.axis]))


class CorrectReference(Step):
    """Correct a boldref with a field, which is first aligned to it.

    The distorted boldref gives a first alignment, the corrected one the final one.
    """

    input_spec = _UnwarpIn
    output_spec = _UnwarpOut

    def _compute(self, inputs: Any) -> dict[str, Any]:
        boldref, affine, _ = read_image(inputs.in_file)
        field, field_affine, _ = read_image(inputs.field_file)
        head = read_picture(inputs.reference_file, inputs.field_mask_file)
        encoding = PhaseEncoding(inputs.axis, inputs.sign, inputs.readout)
        grid = Grid(boldref.shape, affine)
        picture = Picture(boldref, affine, read_mask(inputs.brain_file))
        matrix = registration.register_rigid(picture, head)
        first = shift_map(field, field_affine, encoding, grid, matrix).correct(boldref)
        brain = masks.epi_brain_mask(np.clip(first, 0, None), affine, inputs.seed)
        matrix = registration.register_rigid(Picture(first, affine, brain), head)
        shifts = shift_map(field, field_affine, encoding, grid, matrix)
        return self._write(shifts, boldref, inputs.seed) | {
            "matrix_file": registration.save_matrix(
                self.folder / "to_field.txt", np.linalg.inv(matrix)
            ),
        }

    def _write(self, shifts: ShiftMap, boldref: np.ndarray, seed: int) -> dict[str, Any]:
        corrected = shifts.correct(boldref)
        mask = masks.epi_brain_mask(np.clip(corrected, 0, None), shifts.affine, seed)
        moves = np.abs(shifts.voxels * _voxel_mm(shifts))[mask]
        return {
            "out_file": save_nifti(self.folder / "boldref.nii.gz", corrected, shifts.affine),
            "mask_file": save_nifti(self.folder / "mask.nii.gz", mask, shifts.affine),
            "shift_file": save_nifti(self.folder / "shift.nii.gz", shifts.voxels, shifts.affine),
            "metadata": {
                "MedianShiftMM": round(float(np.median(moves)), 3),
                "LargestShiftMM": round(float(np.percentile(moves, 99)), 3),
            },
        }


class _BoundaryIn(SeededSpec):
    distorted_file = File(exists=True, mandatory=True, desc="boldref before correction")
    distorted_mask_file = File(exists=True, mandatory=True, desc="its brain mask")
    corrected_file = File(exists=True, mandatory=True, desc="boldref after correction")
    to_t1w_file = File(
        exists=True, mandatory=True, desc="of the corrected boldref: points of T1w to its points"
    )
    t1w_file = File(exists=True, mandatory=True, desc="T1w brain")
    t1w_mask_file = File(exists=True, mandatory=True, desc="its brain mask")
    dseg_file = File(exists=True, mandatory=True, desc="tissues on the T1w grid")


class _BoundaryOut(TraitedSpec):
    out_file = File(exists=True, desc="table: image, contrast, share, points")


class BoundaryAgreement(Step):
    """Measure the contrast across the grey-white boundary of the T1w, before and after.

    The distorted image has its own rigid alignment, made as that of the corrected one, so that
    only distortion is compared.
    """

    input_spec = _BoundaryIn
    output_spec = _BoundaryOut

    def _compute(self, inputs: Any) -> dict[str, Any]:
        distorted = read_picture(inputs.distorted_file, inputs.distorted_mask_file)
        t1w = read_picture(inputs.t1w_file, inputs.t1w_mask_file)
        labels = np.asarray(nib.load(inputs.dseg_file).dataobj)
        points = boundary_points(labels, read_grid(inputs.dseg_file).affine)
        own = np.linalg.inv(align_to_t1w(distorted, t1w, inputs.seed))
        corrected, affine, _ = read_image(inputs.corrected_file)
        shared = registration.read_matrix(Path(inputs.to_t1w_file))
        rows = []
        for name, volume, matrix in (
            ("distorted", distorted.volume, own), ("corrected", corrected, shared),
        ):
            found = boundary_contrast(volume, affine, points, matrix)
            rows.append({
                "image": name, "contrast": found.contrast, "share": found.share,
                "n_points": found.n_points,
            })
        table = pd.DataFrame(rows)
        return {"out_file": save_table(self.folder / "boundary.tsv", table)}
