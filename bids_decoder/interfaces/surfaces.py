"""Nodes on BOLD of vertices and grayordinates."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from nipype.interfaces.base import (
    BaseInterfaceInputSpec,
    File,
    InputMultiObject,
    OutputMultiObject,
    SimpleInterface,
    TraitedSpec,
    traits,
)

from bids_decoder.bids.map_files import read_layout, save_beside, save_layout
from bids_decoder.bids.names import sidecar_path
from bids_decoder.bids.series import load_series
from bids_decoder.bids.writer import save_nifti
from bids_decoder.files import read_json
from bids_decoder.interfaces.preprocessing_base import ImageOutput, Step
from bids_decoder.preprocessing.masks import common_mask


class _RowMaskIn(BaseInterfaceInputSpec):
    in_files = InputMultiObject(
        File(exists=True), mandatory=True, desc="series (GIFTI: left hemisphere), one per run"
    )


class RowMask(Step):
    """Find the vertices or grayordinates that vary in all runs, as a mask of shape (n, 1, 1)."""

    input_spec = _RowMaskIn
    output_spec = ImageOutput

    def _compute(self, inputs: Any) -> dict[str, Any]:
        vary = []
        for path in inputs.in_files:
            values = np.asarray(load_series(Path(path)).dataobj)
            vary.append(np.isfinite(values).all(axis=-1) & (np.ptp(values, axis=-1) > 0))
        mask = common_mask(vary)
        return {"out_file": save_nifti(self.folder / "mask.nii.gz", mask, np.eye(4))}


class _LayoutMapsIn(BaseInterfaceInputSpec):
    in_files = InputMultiObject(
        File(exists=True), mandatory=True, desc="maps in the derivatives, with sidecars"
    )
    series_file = File(exists=True, mandatory=True, desc="a series on the same rows")
    mesh_files = traits.List(File(exists=True), desc="surfaces; see bids.series.find_meshes")


class _LayoutMapsOut(TraitedSpec):
    out_file = OutputMultiObject(File(exists=True), desc="GIFTI or CIFTI files and sidecars")


class LayoutMaps(SimpleInterface):
    """Write maps as GIFTI or CIFTI files beside their images, and the surfaces they are on."""

    input_spec = _LayoutMapsIn
    output_spec = _LayoutMapsOut
    _always_run = True

    def _run_interface(self, runtime: Any) -> Any:
        layout = read_layout(
            Path(self.inputs.series_file), [Path(file) for file in self.inputs.mesh_files or []]
        )
        maps = [Path(path) for path in self.inputs.in_files]
        written = save_layout(maps[0], layout)
        for path in maps:
            values, card = np.asarray(nib.load(path).dataobj), read_json(sidecar_path(path))
            written += save_beside(layout, path, values, card)
        self._results["out_file"] = list(map(str, written))
        return runtime
