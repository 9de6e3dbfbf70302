"""Maps of decisions on held-out trials, between the nodes that make and that write them."""

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


def join_relevance(folds: list[Relevance | None]) -> Relevance | None:
    """Average over folds: maps by number of trials, numbers in the notes alike.

    Parameters
    ----------
    folds : list of Relevance or None

    Returns
    -------
    Relevance or None
        None when no fold has maps.
    """
    made = [fold for fold in folds if fold is not None]
    if not made:
        return None
    labels = list(dict.fromkeys(label for fold in made for label in fold.maps))
    counts = {label: sum(fold.counts.get(label, 0) for fold in made) for label in labels}
    maps = {
        label: sum(
            fold.maps[label] * (fold.counts[label] / counts[label])
            for fold in made if label in fold.maps
        ).astype(np.float32)
        for label in labels
    }
    notes = dict(made[0].notes)
    for name, value in notes.items():
        if isinstance(value, float):
            notes[name] = round(float(np.mean([fold.notes[name] for fold in made])), 4)
    return Relevance(maps, counts, notes)
