"""Plan of the feature table by which a model of other participants chooses among stimuli."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bids_decoder.analyses.apply.finding import is_zero_shot
from bids_decoder.analyses.study import Study
from bids_decoder.stimuli.features import read_features
from bids_decoder.training.fitted import ENTRY

LEAST_SHOWN = 2
"""Stimuli of the new data in the table without which all of the table are candidates."""


@dataclass(frozen=True)
class Features:
    """Stimuli of a feature table.

    Parameters
    ----------
    table : Path
    ids : tuple of str
        Candidates.
    """

    table: Path
    ids: tuple[str, ...]


def chooses_by_table(card: Mapping[str, Any]) -> bool:
    """Return whether a card is that of a model of other participants that decodes features."""
    return is_zero_shot(card) and card[ENTRY]["targets"]["kind"] == "features"


def candidates_of_table(study: Study) -> tuple[str, ...]:
    """Return the stimuli of the new data that have a vector; all of the table if fewer than two.

    Raises
    ------
    BidsDecoderError
        For a table that cannot be read.
    """
    table = study.settings.trials.features
    if table is None:
        return ()
    ids = read_features(table)[0]
    named = {name for trials in study.tables.values() for name in trials["stimulus"].dropna()}
    shown = tuple(name for name in ids if name in named)
    return shown if len(shown) >= LEAST_SHOWN else ids


def why_no_table(study: Study, card: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield what prevents the use of ``--features``, or its use without."""
    table = study.settings.trials.features
    if not chooses_by_table(card):
        if table is not None:
            yield (
                f"--features {table}: it does not choose among vectors of a table: it decodes "
                f"{card[ENTRY]['targets']['kind']}, or is a decoder of this participant, which "
                "chooses among the stimuli it was fitted with", "leave the option out",
            )
        return
    if table is None:
        yield (
            "it decodes feature vectors, and holds none to choose among",
            "give the vectors of the stimuli, of the kind it was pretrained on: --features",
        )
        return
    n_dims, wanted = read_features(table)[1].shape[1], card["targets"]["n_dims"]
    if n_dims != wanted:
        yield (
            f"--features {table}: its vectors have {n_dims} numbers, and it was pretrained on "
            f"vectors of {wanted}", "give vectors of the same network and layer",
        )
    if len(card[ENTRY]["targets"]["ids"]) < LEAST_SHOWN:
        yield f"--features {table}: there is one stimulus to choose among", "give more vectors"
