"""Decoders of participants without labelled trials, from maps of other participants.

Where voxels have places in a standard space, the input layers of the source participants, averaged
at the same places, are an input layer for a new participant (anatomical alignment). Each source
participant is decoded in the same way by the others, which calibrates probabilities. Where stimuli
are decoded, those of these trials are held out of the maps of the others and of the target space:
a new participant sees other stimuli than the source participants, and those are found less easily.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from bids_decoder.errors import InputError
from bids_decoder.models.store import Model
from bids_decoder.seeds import derive_seed
from bids_decoder.stimuli.sketch import say_length
from bids_decoder.stimuli.targets import TargetSpace
from bids_decoder.training.common_space import LeftOut, decode_new_stimuli
from bids_decoder.training.decoders import describe_targets
from bids_decoder.training.ensemble import load_decoder
from bids_decoder.training.fitted import (
    FittedDecoder,
    Reference,
    TrainingStatistics,
    restore_calibration,
    score_targets,
)
from bids_decoder.training.fitted_parts import calibrate_scores
from bids_decoder.trials import Person, Targets, VoxelGrid

CARD, CALIBRATION = "zero_shot", "calibration"
"""Entry of the card of a pretrained model, and what it holds."""

N_PARTS = 4
"""Parts of the stimuli; each is decoded by maps that were learned from the other parts."""

MOST_CANDIDATES = 300
"""Stimuli of a part."""

ENOUGH_STIMULI = 100
"""Held-out stimuli from which no further part is decoded, for which all participants are fitted
again. Fewer of them vary too much in how easily they are told apart."""

LEAST_STIMULI = 8
"""Stimuli below which parts are too small: a model of fewer has no calibration."""

Scored = tuple[np.ndarray, np.ndarray, np.ndarray]
"""Scores (n_trials, n_candidates), column of the right answer, and participant, of each trial."""


def describe_zero_shot(
    people: Iterable[Person], targets: Targets, left_out: Sequence[LeftOut],
    rows: Sequence[np.ndarray], space_of: Callable[[list[np.ndarray]], TargetSpace], seed: int,
    folder: Path | None = None,
) -> dict[str, Any]:
    """Describe how well source participants are decoded by the maps of the others.

    Parameters
    ----------
    people : iterable of Person
        Source participants, training trials only.
    targets : Targets
    left_out : sequence of LeftOut
        For labels: participants decoded by the maps of the others. Stimuli are decoded here.
    rows : sequence of ndarray of int
        Target of each trial, by participant.
    space_of : callable
        Fits the target space on the targets of trials.
    seed : int
        Decides which stimuli are held out together.
    folder : Path or None
        See :class:`.KeptFits`.

    Returns
    -------
    dict
        JSON-able: ``calibration`` (of :class:`.fitted.Calibration`; None with one participant).
    """
    found: list[Scored] = []
    if len(rows) < 2:
        return {CALIBRATION: None}
    if targets.over_runs:
        vectors = space_of(list(rows)).transform(targets.vectors)
        found += _score(left_out, targets.kind, vectors, np.arange(len(vectors)))
    else:
        for part in _parts(np.unique(np.concatenate(rows)), seed):
            space = space_of([own[~np.isin(own, part)] for own in rows])
            vectors = space.transform(targets.vectors)
            decoded = decode_new_stimuli(people, vectors, part, folder)
            found += _score(decoded, targets.kind, vectors, part)
    if not found:
        return {CALIBRATION: None}
    scores, true, who = (np.concatenate(values) for values in zip(*found, strict=True))
    return {CALIBRATION: asdict(calibrate_scores(scores, true, who, "other participants"))}


def _parts(stimuli: np.ndarray, seed: int) -> list[np.ndarray]:
    """Draw parts of equal size of the stimuli; none where there are too few."""
    if len(stimuli) < LEAST_STIMULI:
        return []
    size = min(len(stimuli) // N_PARTS, MOST_CANDIDATES)
    drawn = np.random.default_rng(derive_seed(seed, "zero-shot")).permutation(stimuli)
    n_parts = min(N_PARTS, -(-ENOUGH_STIMULI // size))
    return [np.sort(drawn[k * size:(k + 1) * size]) for k in range(n_parts)]


def _score(
    decoded: Iterable[LeftOut], kind: str, vectors: np.ndarray, candidates: np.ndarray
) -> list[Scored]:
    """Score the candidates, sorted rows of *vectors*, for the trials of each participant."""
    return [
        (
            score_targets(kind, one.latents, vectors[candidates]),
            np.searchsorted(candidates, one.target_rows),
            np.full(len(one.target_rows), one.label),
        )
        for one in decoded
    ]


def why_not(card: Mapping[str, Any], space: str) -> tuple[str, str] | None:
    """Return why a pretrained model cannot decode voxels without labelled trials.

    Parameters
    ----------
    card : mapping
        Of the pretrained model.
    space : str
        Standard space of the voxels; empty for coordinates of the participant's own brain, and
        for voxels without positions.

    Returns
    -------
    why, fix : str
        None where it can.
    """
    needs = (
        "give all data in one standard space (--output-spaces, or derivatives with space- in their "
        "names), or decode the participant with labelled trials: --pretrained"
    )
    common = card.get("common")
    if not common:
        return (
            "its source participants share no standard space, so that it has no weights for the "
            "voxels of a participant without labelled trials", needs,
        )
    if CARD not in card:
        return ("an earlier version wrote it", "pretrain again with this version")
    if space != common["space"]:
        return (
            f"its maps are in the space {common['space']}, and these responses are in "
            f"{space or 'no standard space'}", needs,
        )
    return None


def candidates_of(model: Model) -> Targets:
    """Return the labels among which a pretrained model chooses, as candidates.

    Raises
    ------
    InputError
        If it decodes stimuli: their vectors are not part of it.
    """
    kind, labels = model.card["targets"]["kind"], tuple(model.card["targets"]["labels"])
    if kind != "category":
        raise InputError(
            "zero-shot decoding", f"the pretrained model decodes {kind}, and holds no stimuli to "
            "choose among", "give the vectors of the candidates, by the encoder of pretraining",
        )
    return Targets(labels, np.eye(len(labels), dtype=np.float32), kind)


def decoder_without_trials(
    model: Model, grid: VoxelGrid, targets: Targets, facts: dict[str, Any]
) -> FittedDecoder:
    """Return a decoder of a participant of whom no trial is labelled.

    Parameters
    ----------
    model : Model
        Pretrained, with maps in a standard space.
    grid : VoxelGrid
        Voxels of the participant in this space.
    targets : Targets
        Candidates; vectors in the space of those that were pretrained on.
    facts : dict
        As of :class:`~bids_decoder.training.fitted.FittedDecoder`; with ``normalise``, the unit
        within which source participants were z-scored.

    Returns
    -------
    FittedDecoder
        New trials are z-scored by their own statistics.

    Raises
    ------
    InputError
        If the voxels are not where the maps are, or vectors have another length.
    """
    wanted, here = model.card["targets"], describe_targets(targets)
    lengths = [say_length(one["n_dims"], one.get("sketched", 0)) for one in (here, wanted)]
    if lengths[0] != lengths[1]:
        raise InputError(
            "zero-shot decoding", f"vectors of candidates have {lengths[0]} numbers, "
            f"and the model was pretrained on vectors of {lengths[1]}",
            "give vectors of the encoder of pretraining",
        )
    if targets.kind != "category":
        facts = {"seen": list(model.card.get("stimuli_seen", [])), **facts}
    if grid.layout is not None and grid.rows_key != model.card["common"].get("rows_key", ""):
        raise InputError(
            "zero-shot decoding", "the rows of the maps are other grayordinates than those of the "
            "responses", "preprocess all participants with one version and --cifti-output",
        )
    fitted = load_decoder(model.card["decoder"]).without_trials(model, grid)
    weight = fitted.part("input")["weight"]
    if not weight.any():
        raise InputError(
            "zero-shot decoding", f"none of {grid.n_voxels} voxels is where the maps of the source "
            "participants are", "look at the affine of the images and at --region",
        )
    nothing = np.empty((0, grid.n_voxels), dtype=np.float32)
    calibration = model.card[CARD][CALIBRATION]
    return FittedDecoder(
        fitted, targets, grid,
        TrainingStatistics(facts["normalise"], (), nothing, nothing),
        Reference((), (), np.zeros(1), 0.0), {"runs": {}, **facts},
        None if calibration is None else restore_calibration(calibration),
    )
