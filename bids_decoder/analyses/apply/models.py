"""Read the cards of the decoders that may be applied."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from bids_decoder.errors import BidsDecoderError
from bids_decoder.models.store import load_card

PATTERN = "*_desc-decoder_model.safetensors"
"""Names of files of decoders."""


PRETRAINED = "*desc-pretrained_model.safetensors"
"""Names of files of pretrained models."""


def read_cards(place: Path) -> list[dict[str, Any]]:
    """Read the cards of all decoders below a path that can be read; others are found later."""
    files: Iterable[Path] = [place]
    if place.is_dir():
        files = sorted({*place.glob(PATTERN), *place.glob(f"*/{PATTERN}"),
                        *place.glob(f"sub-*/model/{PATTERN}"), *place.glob(PRETRAINED),
                        *place.glob(f"group/{PRETRAINED}")})
    cards = []
    for path in files:
        try:
            cards.append(load_card(path))
        except BidsDecoderError:
            continue
    return cards


def unit_of_trials(cards: Iterable[Mapping[str, Any]]) -> str | None:
    """Return the unit of trials that all decoders share; None where they differ."""
    units = {str(card["trial_unit"]) for card in cards if "trial_unit" in card}
    return units.pop() if len(units) == 1 else None
