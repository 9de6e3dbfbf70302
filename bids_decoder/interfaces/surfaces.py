"""Nodes on BOLD on surfaces."""

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
)

from bids_decoder.bids.names import sidecar_path
from bids_decoder.bids.surfaces import (
    load_series,
    read_meshes,
    save_hemispheres,
    save_surfaces,
    surface_names,
)
from bids_decoder.bids.writer import save_nifti
from bids_decoder.files import read_json
from bids_decoder.interfaces.preprocessing_base import ImageOutput, Step
from bids_decoder.preprocessing.masks import common_mask


class _VertexMaskIn(BaseInterfaceInputSpec):
    in_files = InputMultiObject(
        File(exists=True), mandatory=True, desc="series of the left hemisphere, one per run"
    )


class VertexMask(Step):
    """Find the vertices that vary in all runs of a participant, as a mask of shape (n, 1, 1)."""

    input_spec = _VertexMaskIn
    output_spec = ImageOutput

    def _compute(self, inputs: Any) -> dict[str, Any]:
        vary = []
        for path in inputs.in_files:
            values = np.asarray(load_series(Path(path)).dataobj)
            vary.append(np.isfinite(values).all(axis=-1) & (np.ptp(values, axis=-1) > 0))
        mask = common_mask(vary)
        return {"out_file": save_nifti(self.folder / "mask.nii.gz", mask, np.eye(4))}


class _HemisphereMapsIn(BaseInterfaceInputSpec):
    in_files = InputMultiObject(
        File(exists=True), mandatory=True, desc="maps in the derivatives, with sidecars"
    )
    mesh_files = InputMultiObject(
        File(exists=True), mandatory=True, desc="surfaces; see bids.surfaces.find_meshes"
    )


class _HemisphereMapsOut(TraitedSpec):
    out_file = OutputMultiObject(File(exists=True), desc="GIFTI files and their sidecars")


class HemisphereMaps(SimpleInterface):
    """Write maps of vertices as GIFTI files beside their images, and the surfaces they are on."""

    input_spec = _HemisphereMapsIn
    output_spec = _HemisphereMapsOut
    _always_run = True

    def _run_interface(self, runtime: Any) -> Any:
        points, triangles, n_left = read_meshes(tuple(map(Path, self.inputs.mesh_files)))
        maps = [Path(path) for path in self.inputs.in_files]
        written = save_surfaces(surface_names(maps[0]), points, triangles, n_left)
        for path in maps:
            values, card = np.asarray(nib.load(path).dataobj), read_json(sidecar_path(path))
            written += save_hemispheres(path, values, n_left, card)
        self._results["out_file"] = list(map(str, written))
        return runtime
