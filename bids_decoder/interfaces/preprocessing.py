"""Nodes of BOLD preprocessing: read files, call :mod:`bids_decoder.preprocessing`, write files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pandas as pd
from nipype.interfaces.base import (
    BaseInterfaceInputSpec,
    File,
    InputMultiObject,
    TraitedSpec,
    isdefined,
    traits,
)

from bids_decoder.bids.writer import save_nifti, save_table
from bids_decoder.files import atomic_path
from bids_decoder.interfaces.preprocessing_base import (
    ImageOutput,
    MaskInput,
    MaskOutput,
    SeededSpec,
    Step,
    TwoWaysOutput,
    read_grid,
    read_image,
    read_mask,
    read_picture,
)
from bids_decoder.preprocessing import confounds as confounds_
from bids_decoder.preprocessing import masks, motion, region, registration, slice_timing
from bids_decoder.preprocessing.coregistration import align_to_t1w
from bids_decoder.preprocessing.echo_components import read_components
from bids_decoder.preprocessing.reference import given_reference, robust_reference
from bids_decoder.preprocessing.resampling import Grid, resample_volume
from bids_decoder.preprocessing.templates import PACKAGED, OutputSpace, load_template


class EpiBrainMask(Step):
    """Compute the brain mask of a boldref."""

    input_spec = MaskInput
    output_spec = MaskOutput

    def _compute(self, inputs: Any) -> dict[str, Any]:
        volume, affine, _ = read_image(inputs.in_file)
        mask = masks.epi_brain_mask(volume, affine, inputs.seed)
        brain = np.where(mask, volume, 0)
        return {
            "mask_file": save_nifti(self.folder / "mask.nii.gz", mask, affine),
            "brain_file": save_nifti(self.folder / "brain.nii.gz", brain, affine),
        }


class _ReferenceIn(BaseInterfaceInputSpec):
    in_file = File(exists=True, mandatory=True, desc="raw BOLD")
    sbref_file = File(exists=True, desc="single-band reference, if there is one")
    n_dummy = traits.Int(desc="volumes before the steady state; found if absent")


class _ReferenceOut(TraitedSpec):
    out_file = File(exists=True, desc="reference of the run")
    n_dummy = traits.Int(desc="volumes before the steady state")
    notes = traits.List(traits.Str, desc="corrections of the data")


class RunReference(Step):
    """Compute the boldref of a run; see :mod:`bids_decoder.preprocessing.reference`."""

    input_spec = _ReferenceIn
    output_spec = _ReferenceOut

    def _compute(self, inputs: Any) -> dict[str, Any]:
        series, affine, notes = read_image(inputs.in_file)
        n_dummy = inputs.n_dummy if isdefined(inputs.n_dummy) else None
        if isdefined(inputs.sbref_file):
            sbref, _, _ = read_image(inputs.sbref_file)
            found = given_reference(sbref, series, affine, n_dummy=n_dummy)
        else:
            found = robust_reference(series, affine, n_dummy=n_dummy)
        path = save_nifti(self.folder / "boldref.nii.gz", found.image, affine)
        return {"out_file": path, "n_dummy": found.n_dummy, "notes": list(notes)}


class _MotionIn(BaseInterfaceInputSpec):
    in_file = File(exists=True, mandatory=True, desc="raw BOLD")
    boldref_file = File(exists=True, mandatory=True, desc="reference on the same grid")
    mask_file = File(exists=True, mandatory=True, desc="brain mask of the reference")


class _MotionOut(TraitedSpec):
    matrices_file = File(exists=True, desc="reference to volumes, mm, (n_volumes, 4, 4)")
    notes = traits.List(traits.Str, desc="why motion was not estimated")


class HeadMotion(Step):
    """Estimate the rigid alignment of every volume to the boldref of its run."""

    input_spec = _MotionIn
    output_spec = _MotionOut

    def _compute(self, inputs: Any) -> dict[str, Any]:
        series, affine, _ = read_image(inputs.in_file)
        reference, _, _ = read_image(inputs.boldref_file)
        mask = read_mask(inputs.mask_file)
        found = motion.estimate_motion(series, affine, reference, mask)
        path = self.folder / "motion.npy"
        with atomic_path(path) as temporary:
            np.save(temporary, found.matrices, allow_pickle=False)
        return {"matrices_file": path, "notes": list(found.notes)}


class _SliceTimingIn(BaseInterfaceInputSpec):
    in_file = File(exists=True, mandatory=True, desc="raw BOLD")
    slice_times = traits.List(traits.Float, mandatory=True, desc="seconds, one per slice")
    t_r = traits.Float(mandatory=True, desc="seconds between volumes")
    slice_time_ref = traits.Float(0.5, usedefault=True, desc="0 first slice, 1 last")
    direction = traits.Str("k", usedefault=True, desc="SliceEncodingDirection")
    n_skip = traits.Int(0, usedefault=True, desc="volumes left as they are")


class CorrectSliceTiming(Step):
    """Resample all slices in time to one reference time."""

    input_spec = _SliceTimingIn
    output_spec = ImageOutput

    def _compute(self, inputs: Any) -> dict[str, Any]:
        series, affine, _ = read_image(inputs.in_file)
        corrected = slice_timing.correct_slice_timing(
            series, inputs.slice_times, inputs.t_r, slice_time_ref=inputs.slice_time_ref,
            direction=inputs.direction, n_skip=inputs.n_skip,
        )
        path = self.folder / "timed.nii"
        return {"out_file": save_nifti(path, corrected, affine, t_r=inputs.t_r)}


class _RigidIn(SeededSpec):
    in_file = File(exists=True, mandatory=True, desc="first image")
    mask_file = File(exists=True, mandatory=True, desc="its brain mask")
    target_file = File(exists=True, mandatory=True, desc="second image")
    target_mask_file = File(exists=True, mandatory=True, desc="its brain mask")


class _RigidStep(Step):
    input_spec = _RigidIn
    output_spec = TwoWaysOutput

    def _write(self, first_to_second: np.ndarray) -> dict[str, Any]:
        back = np.linalg.inv(first_to_second)
        return {
            "forward_file": registration.save_matrix(self.folder / "forward.txt", back),
            "inverse_file": registration.save_matrix(self.folder / "inverse.txt", first_to_second),
        }


class RegisterRuns(_RigidStep):
    """Align the boldref of a run to the boldref of the participant."""

    def _compute(self, inputs: Any) -> dict[str, Any]:
        run = read_picture(inputs.in_file, inputs.mask_file)
        person = read_picture(inputs.target_file, inputs.target_mask_file)
        return self._write(np.linalg.inv(registration.align_runs(person, run)))


class RegisterToT1w(_RigidStep):
    """Remove the bias field of the participant's boldref and align it to the T1w image."""

    def _compute(self, inputs: Any) -> dict[str, Any]:
        bold = read_picture(inputs.in_file, inputs.mask_file)
        t1w = read_picture(inputs.target_file, inputs.target_mask_file)
        return self._write(align_to_t1w(bold, t1w, inputs.seed))


class _CommonMaskIn(BaseInterfaceInputSpec):
    in_files = InputMultiObject(
        File(exists=True), mandatory=True, desc="brain masks of all runs, on one grid"
    )


class CommonMask(Step):
    """Intersect the brain masks and fields of view of all runs of a participant."""

    input_spec = _CommonMaskIn
    output_spec = ImageOutput

    def _compute(self, inputs: Any) -> dict[str, Any]:
        grid = read_grid(inputs.in_files[0])
        mask = masks.common_mask([read_mask(path) for path in inputs.in_files])
        return {"out_file": save_nifti(self.folder / "mask.nii.gz", mask, grid.affine)}


class _RegionIn(BaseInterfaceInputSpec):
    # Not checked for existence: the files may be made by the same call, before this node runs.
    grid_file = File(mandatory=True, desc="image on the grid of the beta series")
    space = traits.Str("", usedefault=True, desc="its space entity; empty for none")
    in_file = File(desc="T1w or BOLD reference; not needed in MNI space")
    mask_file = File(desc="its brain mask")
    to_file = File(desc="transform: points of the grid to the T1w; none where they agree")
    key = traits.Str(desc="key of the betas stage: what the files hold")
    after = traits.Any(desc="marker of the stage before; only for the order of nodes")


class OccipitalRegion(Step):
    """Make the occipital mask on a grid; see :mod:`bids_decoder.preprocessing.region`."""

    input_spec = _RegionIn
    output_spec = ImageOutput

    def _compute(self, inputs: Any) -> dict[str, Any]:
        grid = read_grid(inputs.grid_file)
        has_t1w = isdefined(inputs.to_file)
        region.check_grid(
            grid.shape, inputs.space, has_boldref=isdefined(inputs.in_file), has_t1w=has_t1w
        )
        template = load_template(OutputSpace(PACKAGED))
        matrix = None
        if not region.in_mni_space(inputs.space):
            brain = read_picture(inputs.in_file, inputs.mask_file)
            matrix = region.to_template(brain, template)
        if has_t1w and matrix is not None:
            matrix = matrix @ registration.read_matrix(Path(inputs.to_file))
        mask = region.occipital_mask(grid, template, matrix)
        return {"out_file": save_nifti(self.folder / "region.nii.gz", mask, grid.affine)}


class _ConfoundsIn(BaseInterfaceInputSpec):
    in_file = File(exists=True, mandatory=True, desc="preprocessed series")
    mask_file = File(exists=True, mandatory=True, desc="brain mask on its grid")
    matrices_file = File(exists=True, mandatory=True, desc="motion")
    run_boldref_file = File(exists=True, mandatory=True, desc="grid of the raw run")
    dseg_file = File(exists=True, desc="tissues on the T1w grid")
    to_t1w_file = File(exists=True, desc="transform: points of the participant's BOLD to T1w")
    mixing_file = File(exists=True, desc="components of a multi-echo run, with metrics_file")
    metrics_file = File(exists=True, desc="their classification")
    n_dummy = traits.Int(0, usedefault=True, desc="volumes before the steady state")
    t_r = traits.Float(mandatory=True, desc="seconds between volumes")
    fd_threshold = traits.Float(0.5, usedefault=True, desc="mm")
    dvars_threshold = traits.Float(1.5, usedefault=True, desc="standardised")


class _ConfoundsOut(TraitedSpec):
    out_file = File(exists=True, desc="table")
    metadata = traits.Dict(desc="sidecar")


class Confounds(Step):
    """Compute the confounds of a run."""

    input_spec = _ConfoundsIn
    output_spec = _ConfoundsOut

    def _compute(self, inputs: Any) -> dict[str, Any]:
        bold, affine, _ = read_image(inputs.in_file)
        brain = read_mask(inputs.mask_file)
        raw = read_grid(inputs.run_boldref_file)
        matrices = np.load(inputs.matrices_file, allow_pickle=False)
        tissues = None
        if isdefined(inputs.dseg_file) and isdefined(inputs.to_t1w_file):
            labels = np.asarray(nib.load(inputs.dseg_file).dataobj)
            to_t1w = registration.read_matrix(Path(inputs.to_t1w_file))
            grid = Grid(brain.shape, affine)
            dseg = resample_volume(
                labels, read_grid(inputs.dseg_file).affine, grid, to_t1w, order=0
            )
            tissues = confounds_.tissue_masks(dseg, brain, affine)
        table, metadata = confounds_.confounds_table(
            bold, brain, motion.motion_parameters(matrices, raw.shape, raw.affine), inputs.t_r,
            n_dummy=inputs.n_dummy, tissues=tissues, fd_threshold=inputs.fd_threshold,
            dvars_threshold=inputs.dvars_threshold,
        )
        if isdefined(inputs.mixing_file):
            components = read_components(Path(inputs.mixing_file), Path(inputs.metrics_file))
            table = pd.concat([table, components.rejected], axis=1)
            metadata |= components.described
        return {
            "out_file": save_table(self.folder / "confounds.tsv", table), "metadata": metadata,
        }
