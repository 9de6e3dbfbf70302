"""Nodes on BOLD on surfaces."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from nipype.interfaces.base import BaseInterfaceInputSpec, File, InputMultiObject

from bids_decoder.bids.surfaces import load_series
from bids_decoder.bids.writer import save_nifti
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
