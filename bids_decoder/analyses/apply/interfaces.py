"""The node that applies a decoder: read files, call ``training`` and ``evaluation``, write."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from nipype.interfaces.base import Directory, File, traits

from bids_decoder.analyses.apply.answers import NewTrials, answer
from bids_decoder.analyses.apply.outputs import write_answers
from bids_decoder.config import Evaluation
from bids_decoder.errors import InputError
from bids_decoder.interfaces.person_outputs import (
    PersonOutputs,
    WriteInputSpec,
    WriteInterface,
    read_grid,
)
from bids_decoder.interfaces.responses import ARRAY, TABLE, groups_of, read_trials
from bids_decoder.preprocessing.registration import Picture, align_runs
from bids_decoder.preprocessing.transfer import transfer_responses
from bids_decoder.training.fitted import FittedDecoder, load_fitted
from bids_decoder.trials import VoxelGrid

LEAST_COVERED = 0.5
"""Share of the voxels of the decoder without which it is not applied."""


class _ApplyInputSpec(WriteInputSpec):
    model_file = File(exists=True, mandatory=True, desc="decoder of the participant")
    folder = Directory(exists=True, mandatory=True, desc="of CollectResponses, of the new data")
    # Path as text: the file may be made by the same call, before this node runs.
    boldref_file = traits.Str(desc="reference image of new data that are aligned to the decoder's")
    scaling = traits.Enum("own", "training", usedefault=True)
    evaluation = traits.Dict(mandatory=True, desc="fields of config.Evaluation")
    are_volumes = traits.Bool(False, usedefault=True, desc="trials are single volumes")
    seed = traits.Int(mandatory=True)
    n_threads = traits.Int(1, usedefault=True, desc="threads of the numerical libraries")


class ApplyDecoder(WriteInterface):
    """Decode new trials with a decoder that was fitted before, and write what it says."""

    input_spec = _ApplyInputSpec

    def _write(self, outputs: PersonOutputs) -> None:
        import torch

        inputs = self.inputs
        torch.set_num_threads(inputs.n_threads)
        fitted, folder = load_fitted(Path(inputs.model_file)), Path(inputs.folder)
        boldref = Path(inputs.boldref_file) if inputs.boldref_file else None
        betas, covered, facts = bring_to_decoder(fitted, folder, boldref)
        trials = read_trials(folder / TABLE)
        groups = groups_of(trials, fitted.training.unit)
        scaled = fitted.scale(betas, groups, inputs.scaling)
        # By statistics of one session the mean of all training trials is not zero.
        scaled[:, ~covered] = 0
        outputs.card |= facts
        new = NewTrials(betas, scaled, groups, trials, inputs.are_volumes)
        write_answers(outputs, fitted, answer(
            fitted, new, Evaluation(**inputs.evaluation), inputs.seed
        ))


def bring_to_decoder(
    fitted: FittedDecoder, folder: Path, boldref: Path | None
) -> tuple[np.ndarray, np.ndarray, dict[str, Any]]:
    """Return new responses at the voxels of a decoder.

    Parameters
    ----------
    fitted : FittedDecoder
    folder : Path
        Of ``CollectResponses``.
    boldref : Path or None
        Reference image of the new data, which is aligned to that of the decoder.

    Returns
    -------
    betas : ndarray of float32, shape (n_trials, n_voxels)
        Voxels without responses have the mean of training.
    covered : ndarray of bool, shape (n_voxels,)
        Voxels with responses.
    facts : dict
        For sidecars: how they were aligned, and the share of voxels that have responses.

    Raises
    ------
    InputError
        When fewer than :data:`LEAST_COVERED` of the voxels have responses.
    """
    source, betas = read_grid(folder), np.load(folder / ARRAY, mmap_mode="r")
    matrix = None if boldref is None else _align(fitted, source, boldref)
    values, covered = transfer_responses(betas, source, fitted.grid, matrix)
    share = float(covered.mean())
    if share < LEAST_COVERED:
        raise InputError(
            f"responses in {folder}", f"{share:.0%} of the {len(covered)} voxels of the decoder "
            "have responses", "look at the reference images: the field of view or the head "
            "position differs too much from that of training",
        )
    values[:, ~covered] = fitted.training.means[0][~covered]
    facts: dict[str, Any] = {"CoveredShare": round(share, 4), "Aligned": matrix is not None}
    if matrix is not None:
        facts["TransformToNewData"] = np.round(matrix, 6).tolist()
    return values, covered, facts


def _align(fitted: FittedDecoder, source: VoxelGrid, boldref: Path) -> np.ndarray:
    """Return the rigid transform from points of the decoder's image to those of the new one."""
    image = nib.load(boldref)
    volume = np.asarray(image.dataobj, dtype=np.float32).reshape(source.mask.shape)
    there = Picture(fitted.boldref, fitted.grid.affine, fitted.grid.mask)
    return align_runs(there, Picture(volume, image.affine, source.mask))
