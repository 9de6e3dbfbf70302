"""Plan of the feature vectors by which a model of other participants chooses among stimuli."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bids_decoder.analyses.apply.finding import is_zero_shot
from bids_decoder.analyses.study import Study
from bids_decoder.bids.event_columns import UNLABELLED
from bids_decoder.stimuli.sketch import say_length
from bids_decoder.training.fitted import ENTRY

LEAST_SHOWN = 2
"""Stimuli of the new data with vectors without which all of a table are candidates."""


@dataclass(frozen=True)
class Features:
    """Stimuli with feature vectors.

    Parameters
    ----------
    source : Path
        Feature table, or folder of a text encoder.
    ids : tuple of str
        Candidates.
    """

    source: Path
    ids: tuple[str, ...]


def chooses_by_vectors(card: Mapping[str, Any]) -> bool:
    """Return whether a card is that of a model of other participants that decodes features."""
    return is_zero_shot(card) and card[ENTRY]["targets"]["kind"] == "features"


def candidates_of_vectors(study: Study) -> tuple[str, ...]:
    """Return the stimuli of the new data that have a vector; all of a table if fewer than two.

    Raises
    ------
    BidsDecoderError
        For a table that cannot be read, and for names without a word that a text encoder knows.
    """
    vectors = study.trials.vectors
    if vectors is None:
        return ()
    named = {name for trials in study.tables.values() for name in trials["stimulus"].dropna()}
    named.discard(UNLABELLED)
    ids = vectors.of(sorted(named)).ids
    shown = tuple(name for name in ids if name in named)
    return shown if len(shown) >= LEAST_SHOWN else ids


def why_no_vectors(study: Study, card: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield what prevents the use of ``--features``, or the use of a model without it."""
    vectors = study.trials.vectors
    if not chooses_by_vectors(card):
        if vectors is not None:
            yield (
                f"--features {vectors.source}: it does not choose among given vectors: it decodes "
                f"{card[ENTRY]['targets']['kind']}, or is a decoder of this participant, which "
                "chooses among the stimuli it was fitted with", "leave the option out",
            )
        return
    if vectors is None:
        yield (
            "it decodes feature vectors, and holds none to choose among",
            "give the vectors of the stimuli, of the kind it was pretrained on: --features",
        )
        return
    ids, where = card[ENTRY]["targets"]["ids"], f"--features {vectors.source}"
    if len(ids) < LEAST_SHOWN:
        yield (
            f"{where}: number of stimuli to choose among: {len(ids)}",
            "name the stimuli of the new trials, whose words are encoded" if vectors.are_words
            else "give more vectors",
        )
        return
    here, there = vectors.identity, card["targets"].get("encoder") or ""
    if here != there:
        yield (
            f"{where}: vectors are from {here or 'a table'}, and it was pretrained on those from "
            f"{there or 'a table'}", "give the table or the text encoder of pretraining",
        )
        return
    table, told = vectors.of(ids), card["targets"]
    n_dims = say_length(table.vectors.shape[1], table.sketched)
    wanted = say_length(told["n_dims"], told.get("sketched", 0))
    if n_dims != wanted:
        yield (
            f"{where}: its vectors have {n_dims} numbers, and it was pretrained on "
            f"vectors of {wanted}", "give vectors of the same network and layer",
        )
