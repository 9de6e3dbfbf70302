"""Files of predictions compared with the stimuli of their fold: the true ones, and by chance."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from bids_decoder.evaluation.identification import FoldMatch, stack_matches

_ARRAYS = ("stimulus_of", "single", "averaged", "profiles")


@dataclass(frozen=True, eq=False)
class MatchedFold:
    """Predictions of all models in one fold, under the true pairing or under permuted ones.

    Parameters
    ----------
    fold : int
    models : dict of str to FoldMatch
        Some have the first permutations only.
    exchange : dict
        How stimuli were permuted; empty for the true pairing.
    least_p : float
        Smallest p-value possible with any number of permutations.
    """

    fold: int
    models: dict[str, FoldMatch]
    exchange: dict[str, Any] = field(default_factory=dict)
    least_p: float = np.nan


def save_matches(path: Path, found: MatchedFold) -> Path:
    """Write comparisons of one fold as npz without pickles."""
    arrays = {
        f"{name}/{part}": getattr(match, part)
        for name, match in found.models.items() for part in _ARRAYS
    }
    np.savez_compressed(
        path, fold=found.fold, least_p=found.least_p,
        exchange=np.array(json.dumps(found.exchange)), **arrays,
    )
    return path


def read_matches(path: Path | str) -> MatchedFold:
    """Read what :func:`save_matches` wrote."""
    with np.load(path, allow_pickle=False) as content:
        arrays = dict(content)
    exchange = json.loads(str(arrays.pop("exchange")))
    fold, least_p = int(arrays.pop("fold")), float(arrays.pop("least_p"))
    models = {
        name: FoldMatch(*(arrays[f"{name}/{part}"] for part in _ARRAYS))
        for name in dict.fromkeys(key.split("/")[0] for key in arrays)
    }
    return MatchedFold(fold, models, exchange, least_p)


def null_folds(parts: Sequence[MatchedFold], model: str) -> list[FoldMatch]:
    """Join the parts of one model; empty without refits.

    Parameters
    ----------
    parts : sequence of MatchedFold
        All parts of the first fold in order, then those of the second, ...
    model : str

    Returns
    -------
    list of FoldMatch
        One for each fold.
    """
    folds: dict[int, list[FoldMatch]] = {}
    for part in parts:
        if model in part.models:
            folds.setdefault(part.fold, []).append(part.models[model])
    return [stack_matches(own) for own in folds.values()]
