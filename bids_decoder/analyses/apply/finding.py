"""Find the decoder that is applied to a participant: their own, or a pretrained model."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bids_decoder.analyses.apply.models import PATTERN
from bids_decoder.bids.pretrained_files import find_pretrained, holds_pretrained
from bids_decoder.errors import InputError, MissingInputError, UsageError, name_some
from bids_decoder.models.store import load_card
from bids_decoder.training.fitted import ENTRY, check_usable


def is_zero_shot(card: Mapping[str, Any]) -> bool:
    """Return whether a card is that of a model of other participants."""
    return "participants" in card


def find_decoder(place: Path, label: str) -> Path:
    """Find the decoder of a participant, or else a model that was pretrained on others.

    Parameters
    ----------
    place : Path
        File of a decoder or of a pretrained model, its folder, or a folder of results.
    label : str
        Of the participant.

    Returns
    -------
    Path

    Raises
    ------
    MissingInputError
        If there is none.
    UsageError
        If there are several, as of several spaces.
    """
    if place.is_file() or place.suffix == ".safetensors":
        return place
    folders = (place / f"sub-{label}" / "model", place / "model", place)
    found = next((files for folder in folders if (files := sorted(folder.glob(PATTERN)))), [])
    if not found and holds_pretrained(place):
        return find_pretrained(place, label)
    if not found:
        raise MissingInputError(
            f"--apply {place}", f"no decoder of sub-{label} is there: no {PATTERN} in "
            f"{folders[0]}, {folders[1]} or the folder itself; and no pretrained model",
            "give the folder of results of a call that decoded this participant, or pretrained on "
            "others",
        )
    if len(found) > 1:
        raise UsageError(
            f"--apply {place}", f"holds {len(found)} decoders of sub-{label}: "
            f"{name_some([path.name for path in found])}", "give the path of one file",
        )
    return found[0]


def read_decoder_card(path: Path, label: str, dataset: str) -> dict[str, Any]:
    """Read the card of a decoder that must be of this participant, or of a pretrained model.

    Parameters
    ----------
    path : Path
    label : str
        Of the participant.
    dataset : str
        Name of the dataset.

    Returns
    -------
    dict
        That of a pretrained model has an entry like that of a decoder.

    Raises
    ------
    BidsDecoderError
        If the file is absent or no decoder, of another participant, or pretrained on this one.
    """
    card = load_card(path)
    if is_zero_shot(card) and ENTRY not in card:
        return _as_decoder(path, card, label, dataset)
    check_usable(path, card)
    whose = card[ENTRY].get("participant")
    if not whose:
        raise InputError(
            f"--apply {path}", "was fitted in Python to arrays, and does not say how responses "
            "were made of images", "apply it in Python, or decode the participant with the program",
        )
    if whose != label:
        raise InputError(
            f"--apply {path}", f"is the decoder of sub-{whose}, and these data are of sub-{label}: "
            "voxels of two participants do not correspond",
            f"choose data with --participant-label {whose}, or decode sub-{label} first",
        )
    return card


def _as_decoder(
    path: Path, card: Mapping[str, Any], label: str, dataset: str
) -> dict[str, Any]:
    """Add to the card of a pretrained model what the plan reads of that of a decoder."""
    if label in card["participants"] and card["dataset"] == dataset:
        raise InputError(
            f"--apply {path}", f"it was pretrained on sub-{label}",
            f"decode them with labelled trials, or pretrain with 'group --holdout-label {label}'",
        )
    absent = [name for name in ("source", "glm", "trial_unit", "targets") if name not in card]
    if absent:
        raise InputError(
            f"--apply {path}", f"its card does not say: {', '.join(absent)}",
            "pretrain with this version of the program",
        )
    return {**card, ENTRY: {
        "participant": label, "runs": {}, "signatures": card.get("signatures", {}),
        "targets": {"kind": card["targets"]["kind"], "ids": card["targets"]["labels"]},
        "encoder": card.get("encoder"),
        **{name: card[name] for name in ("dataset", "source", "glm")},
    }}
