"""The node that applies a decoder: read files, call ``training`` and ``evaluation``, write."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from nipype.interfaces.base import Directory, File, traits

from bids_decoder.analyses.apply.answers import NewTrials, answer
from bids_decoder.analyses.apply.gallery import search, write_searched
from bids_decoder.analyses.apply.outputs import write_answers
from bids_decoder.analyses.apply.reconstruction import Request, reconstruct, write_reconstructed
from bids_decoder.config import Evaluation
from bids_decoder.errors import InputError
from bids_decoder.interfaces.person_outputs import PersonOutputs, WriteInputSpec, WriteInterface
from bids_decoder.interfaces.pictures import ReconstructionPlan
from bids_decoder.interfaces.response_grids import read_grid
from bids_decoder.interfaces.responses import ARRAY, TABLE, groups_of, read_trials
from bids_decoder.interfaces.targets import read_targets
from bids_decoder.models.store import load_card, load_model
from bids_decoder.preprocessing.registration import Picture, align_runs
from bids_decoder.preprocessing.transfer import transfer_responses
from bids_decoder.training.fitted import ENTRY, FittedDecoder, load_fitted
from bids_decoder.training.painter import Painter
from bids_decoder.training.zero_shot import candidates_of, decoder_without_trials
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
    gallery_file = File(exists=True, desc="vectors of images that are searched")
    stimuli_file = File(exists=True, desc="vectors of stimuli to choose among, without training")
    images = traits.Dict(traits.Str(), traits.Str(), desc="image file of each of them")
    painter_file = File(exists=True, desc="what reconstructs images from these voxels")
    reconstruction = traits.Dict(desc="fields of ReconstructionPlan")
    shown = traits.Dict(traits.Str(), traits.Str(), desc="image file of each stimulus")
    trained = traits.Dict(traits.Str(), traits.Str(), desc="image file of each training stimulus")
    device = traits.Str("cpu", usedefault=True)
    use_gpu = traits.Bool(False, usedefault=True, desc="read by the scheduler")
    facts = traits.Dict(mandatory=True, desc="participant, dataset, normalise: for zero-shot")
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
        folder = Path(inputs.folder)
        among = inputs.stimuli_file or inputs.gallery_file
        fitted = read_decoder(
            Path(inputs.model_file), folder, dict(inputs.facts), Path(among) if among else None
        )
        boldref = Path(inputs.boldref_file) if inputs.boldref_file else None
        betas, covered, facts = bring_to_decoder(fitted, folder, boldref)
        trials = read_trials(folder / TABLE)
        groups = groups_of(trials, fitted.training.unit)
        scaled = fitted.scale(betas, groups, inputs.scaling)
        # By statistics of one session the mean of all training trials is not zero.
        scaled[:, ~covered] = 0
        outputs.card |= facts
        new = NewTrials(betas, scaled, groups, trials, inputs.are_volumes)
        settings = Evaluation(**inputs.evaluation)
        write_answers(outputs, fitted, answer(fitted, new, settings, inputs.seed))
        if inputs.gallery_file:
            gallery = read_targets(inputs.gallery_file)
            images = {name: Path(path) for name, path in inputs.images.items()}
            write_searched(outputs, search(fitted, new, gallery, settings, inputs.seed), images)
        if inputs.painter_file:
            self._reconstruct(outputs, fitted, new, settings)

    def _reconstruct(
        self, outputs: PersonOutputs, fitted: FittedDecoder, new: NewTrials, settings: Evaluation
    ) -> None:
        inputs = self.inputs
        model = load_model(Path(inputs.painter_file))
        plan = ReconstructionPlan(**inputs.reconstruction)
        shown, trained = (
            {name: Path(path) for name, path in images.items()}
            for images in (inputs.shown, inputs.trained)
        )
        request = Request(plan, shown, trained, settings, inputs.device, inputs.seed)
        found = reconstruct(fitted, Painter.restore(model), new, request)
        write_reconstructed(outputs, found, request, {
            "Method": plan.method, "PainterSHA256": model.card["sha256"],
            "n_training_trials": model.card["n_training_trials"],
            **({"PipelineSHA256": plan.pipeline_sha256} if plan.method == "unclip" else {}),
        })


def read_decoder(
    path: Path, folder: Path, facts: dict[str, Any], among: Path | None = None
) -> FittedDecoder:
    """Read the decoder of a participant, or make one of a model of other participants.

    Parameters
    ----------
    path : Path
        Of either.
    folder : Path
        Of ``CollectResponses``, of the new data.
    facts : dict
        See :func:`~bids_decoder.training.zero_shot.decoder_without_trials`.
    among : Path, optional
        Vectors of the stimuli among which a model of other participants chooses.
    """
    if ENTRY in load_card(path):
        return load_fitted(path)
    model = load_model(path)
    is_category = model.card["targets"]["kind"] == "category"
    targets = candidates_of(model) if is_category or among is None else read_targets(among)
    return decoder_without_trials(model, read_grid(folder), targets, facts)


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
        Voxels with responses; without training trials, those where the maps of others are.
    facts : dict
        For sidecars: how they were aligned, and the share of voxels that have responses.

    Raises
    ------
    InputError
        When fewer than :data:`LEAST_COVERED` of the voxels have responses.
    """
    source, betas = read_grid(folder), np.load(folder / ARRAY, mmap_mode="r")
    if not fitted.training.are_known:
        covered = fitted.model.part("input")["weight"].any(axis=1)
        values = np.asarray(betas, dtype=np.float32)
        return values, covered, {"CoveredShare": round(float(covered.mean()), 4), "Aligned": False}
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
