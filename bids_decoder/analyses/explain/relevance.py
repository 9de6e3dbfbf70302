"""Files of relevance maps of held-out trials, exchanged between nodes."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from bids_decoder.files import read_json, write_json
from bids_decoder.training.decoders import Relevance


def save_relevance(path: Path, relevance: Relevance | None) -> Path:
    """Write maps as npz without pickles, counts and notes as JSON beside it."""
    maps = [] if relevance is None else list(relevance.maps.values())
    np.savez(path, **{str(number): values for number, values in enumerate(maps)})
    write_json(path.with_suffix(".json"), None if relevance is None else {
        "labels": list(relevance.maps), "counts": relevance.counts, "notes": relevance.notes,
    })
    return path


def read_relevance(path: Path | str) -> Relevance | None:
    """Read what :func:`save_relevance` wrote."""
    card = read_json(Path(path).with_suffix(".json"))
    if card is None:
        return None
    with np.load(path, allow_pickle=False) as content:
        maps = {label: content[str(number)] for number, label in enumerate(card["labels"])}
    return Relevance(maps, card["counts"], card["notes"])
