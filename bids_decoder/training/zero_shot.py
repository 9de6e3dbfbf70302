"""Decoders of participants without labelled trials, from maps of other participants.

Where voxels have places in a standard space, the input layers of the source participants, averaged
at the same places, are an input layer for a new participant (anatomical alignment). Each source
participant is decoded in the same way by the others, which calibrates probabilities.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, replace
from typing import Any

import numpy as np
import pandas as pd

from bids_decoder.errors import InputError
from bids_decoder.models.store import Model
from bids_decoder.training.common_space import LeftOut
from bids_decoder.training.ensemble import load_decoder
from bids_decoder.training.fitted import (
    FittedDecoder,
    Reference,
    TrainingStatistics,
    restore_calibration,
)
from bids_decoder.training.fitted_parts import HeldoutFold, calibrate
from bids_decoder.trials import KINDS, Targets, VoxelGrid

CARD = "zero_shot"
"""Entry of the card of a pretrained model."""


def describe_zero_shot(
    left_out: Iterable[LeftOut], targets: Targets, vectors: np.ndarray
) -> dict[str, Any]:
    """Describe how well source participants are decoded by the maps of the others.

    Parameters
    ----------
    left_out : iterable of LeftOut
    targets : Targets
    vectors : ndarray, shape (n_ids, n_latents)
        Targets in the target space.

    Returns
    -------
    dict
        JSON-able: ``calibration`` (of :class:`.fitted.Calibration`; None with one participant).
    """
    ids, column = np.array(targets.ids), KINDS[targets.kind].column
    folds = [
        HeldoutFold(
            pd.DataFrame({column: ids[one.target_rows], "run_group": one.label}),
            one.latents, vectors,
        )
        for one in left_out
    ]
    found = calibrate(targets, folds)
    if found is not None:
        found = replace(found, source="other participants")
    return {"calibration": None if found is None else asdict(found)}


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
    wanted = model.card["targets"]["n_dims"]
    if targets.vectors.shape[1] != wanted:
        raise InputError(
            "zero-shot decoding", f"vectors of candidates have {targets.vectors.shape[1]} numbers, "
            f"and the model was pretrained on vectors of {wanted}",
            "give vectors of the encoder of pretraining",
        )
    if targets.kind != "category":
        facts = {"seen": list(model.card.get("stimuli_seen", [])), **facts}
    fitted = load_decoder(model.card["decoder"]).without_trials(model, grid)
    weight = fitted.part("input")["weight"]
    if not weight.any():
        raise InputError(
            "zero-shot decoding", f"none of {grid.n_voxels} voxels is where the maps of the source "
            "participants are", "look at the affine of the images and at --region",
        )
    nothing = np.empty((0, grid.n_voxels), dtype=np.float32)
    calibration = model.card[CARD]["calibration"]
    return FittedDecoder(
        fitted, targets, grid,
        TrainingStatistics(facts["normalise"], (), nothing, nothing),
        Reference((), (), np.zeros(1), 0.0), {"runs": {}, **facts},
        None if calibration is None else restore_calibration(calibration),
    )
