"""Nodes of T1w preprocessing: read files, call :mod:`bids_decoder.preprocessing`, write files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from nipype.interfaces.base import (
    BaseInterfaceInputSpec,
    File,
    InputMultiObject,
    traits,
)

from bids_decoder.bids.writer import save_nifti
from bids_decoder.interfaces.preprocessing_base import (
    ImageOutput,
    MaskInput,
    MaskOutput,
    SeededSpec,
    Step,
    TwoWaysOutput,
    read_grid,
    read_image,
    read_picture,
)
from bids_decoder.interfaces.progress import LOGGER
from bids_decoder.preprocessing import masks, registration
from bids_decoder.preprocessing.averages import average_heads
from bids_decoder.preprocessing.bias import correct_bias
from bids_decoder.preprocessing.registration import Picture
from bids_decoder.preprocessing.resampling import Grid, resample_volume
from bids_decoder.preprocessing.templates import OutputSpace, load_template

_LEAST_AGREEMENT = 0.5


class _CorrectBiasIn(SeededSpec):
    in_file = File(exists=True, mandatory=True, desc="T1w or BOLD reference")


class CorrectBias(Step):
    """Remove the bias field; see :func:`bids_decoder.preprocessing.bias.correct_bias`."""

    input_spec = _CorrectBiasIn
    output_spec = ImageOutput

    def _compute(self, inputs: Any) -> dict[str, Any]:
        volume, affine, _ = read_image(inputs.in_file)
        volume = volume[..., 0] if volume.ndim == 4 else volume
        corrected = correct_bias(np.clip(volume, 0, None), affine, inputs.seed)
        return {"out_file": save_nifti(self.folder / "corrected.nii.gz", corrected, affine)}


class _AverageIn(SeededSpec):
    in_files = InputMultiObject(File(exists=True), mandatory=True, desc="T1w, bias removed")


class _AverageOut(ImageOutput):
    metadata = traits.Dict(desc="agreement of the images, for the sidecar")


class AverageT1w(Step):
    """Average the T1w images of a participant on the grid of the first; keep a single one.

    See :func:`bids_decoder.preprocessing.averages.average_heads`.
    """

    input_spec = _AverageIn
    output_spec = _AverageOut

    def _compute(self, inputs: Any) -> dict[str, Any]:
        images = [read_image(path)[:2] for path in inputs.in_files]
        (volume, affine), metadata = images[0], {}
        if len(images) > 1:
            volume, agreement = average_heads([
                Picture(*image, masks.t1w_brain_mask(*image, inputs.seed)) for image in images
            ])
            metadata = {"CorrelationsWithFirst": [round(value, 3) for value in agreement]}
            if min(agreement) < _LEAST_AGREEMENT:
                LOGGER.warning(
                    "T1w images of one participant differ much: their correlations with the first "
                    "in the brain are %s; leave out images of another head, and spoiled ones, "
                    "with --bids-filter-file", metadata["CorrelationsWithFirst"],
                )
        path = save_nifti(self.folder / "T1w.nii.gz", volume, affine)
        return {"out_file": path, "metadata": metadata}


class T1wBrainMask(Step):
    """Compute the brain mask of a T1w image."""

    input_spec = MaskInput
    output_spec = MaskOutput

    def _compute(self, inputs: Any) -> dict[str, Any]:
        volume, affine, _ = read_image(inputs.in_file)
        mask = masks.t1w_brain_mask(volume, affine, inputs.seed)
        brain = np.where(mask, np.clip(volume, 0, None), 0)
        return {
            "mask_file": save_nifti(self.folder / "mask.nii.gz", mask, affine),
            "brain_file": save_nifti(self.folder / "brain.nii.gz", brain, affine),
        }


class _BrainIn(BaseInterfaceInputSpec):
    in_file = File(exists=True, mandatory=True, desc="T1w brain, bias removed")


class SegmentTissues(Step):
    """Label CSF, grey and white matter in a T1w brain."""

    input_spec = _BrainIn
    output_spec = ImageOutput

    def _compute(self, inputs: Any) -> dict[str, Any]:
        brain, affine, _ = read_image(inputs.in_file)
        labels = masks.segment_tissues(brain, affine)
        return {"out_file": save_nifti(self.folder / "dseg.nii.gz", labels, affine)}


class _TemplateIn(SeededSpec):
    in_file = File(exists=True, mandatory=True, desc="T1w brain")
    mask_file = File(exists=True, mandatory=True, desc="brain mask of the T1w")
    space = traits.Str(mandatory=True, desc="name of the template")
    resolution = traits.Int(2, usedefault=True, desc="TemplateFlow's res")


class RegisterToTemplate(Step):
    """Register a T1w brain to a template."""

    input_spec = _TemplateIn
    output_spec = TwoWaysOutput

    def _compute(self, inputs: Any) -> dict[str, Any]:
        template = load_template(OutputSpace(inputs.space, inputs.resolution))
        found = {
            "forward_file": self.folder / "forward.h5", "inverse_file": self.folder / "inverse.h5",
        }
        t1w = read_picture(inputs.in_file, inputs.mask_file)
        registration.register_template(t1w, template, *found.values(), seed=inputs.seed)
        return found


class _WarpT1wIn(BaseInterfaceInputSpec):
    in_file = File(exists=True, mandatory=True, desc="T1w, bias removed")
    transform_file = File(exists=True, mandatory=True, desc="T1w to template")
    space = traits.Str(mandatory=True, desc="name of the template")
    resolution = traits.Int(2, usedefault=True, desc="TemplateFlow's res")


class WarpT1w(Step):
    """Resample a T1w image to the grid of a template."""

    input_spec = _WarpT1wIn
    output_spec = ImageOutput

    def _compute(self, inputs: Any) -> dict[str, Any]:
        template = load_template(OutputSpace(inputs.space, inputs.resolution))
        grid = Grid(template.mask.shape, template.affine)
        volume, affine, _ = read_image(inputs.in_file)
        points = registration.warped_points(Path(inputs.transform_file), grid)
        warped = np.clip(resample_volume(volume, affine, grid, points=points), 0, None)
        return {"out_file": save_nifti(self.folder / "T1w.nii.gz", warped, grid.affine)}


class _TemplateGridIn(BaseInterfaceInputSpec):
    space = traits.Str(mandatory=True, desc="name of the template")
    resolution = traits.Int(2, usedefault=True, desc="TemplateFlow's res")


class TemplateGrid(Step):
    """Write the brain of a template, which sets the grid of the outputs."""

    input_spec = _TemplateGridIn
    output_spec = ImageOutput

    def _compute(self, inputs: Any) -> dict[str, Any]:
        template = load_template(OutputSpace(inputs.space, inputs.resolution))
        path = self.folder / "template.nii.gz"
        return {"out_file": save_nifti(path, template.volume, template.affine)}


class _T1wGridIn(BaseInterfaceInputSpec):
    t1w_file = File(exists=True, mandatory=True, desc="box of the grid")
    boldref_file = File(exists=True, mandatory=True, desc="voxel sizes of the grid")


class T1wGrid(Step):
    """Write a grid with the field of view of the T1w image and the voxel sizes of the BOLD."""

    input_spec = _T1wGridIn
    output_spec = ImageOutput

    def _compute(self, inputs: Any) -> dict[str, Any]:
        volume, affine, _ = read_image(inputs.t1w_file)
        grid = Grid(volume.shape, affine).as_fine_as(read_grid(inputs.boldref_file))
        small = resample_volume(volume, affine, grid, order=1)
        return {"out_file": save_nifti(self.folder / "grid.nii.gz", small, grid.affine)}
