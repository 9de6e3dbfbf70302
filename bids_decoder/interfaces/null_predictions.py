"""Files of null predictions: all steps fitted again on permuted labels, for one fold."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bids_decoder.evaluation.classification import Refitted


@dataclass(frozen=True, eq=False)
class FoldNulls:
    """Null predictions for the test trials of one fold, under some of the permutations.

    Parameters
    ----------
    fold : int
    true : ndarray of int, shape (n_permutations, n_test)
        Permuted class of each test trial.
    scores : dict of str to ndarray, shape (n_permutations or less, n_test, n_classes)
        By model; some are fitted under the first permutations only.
    exchange : dict
        How labels were permuted.
    """

    fold: int
    true: np.ndarray
    scores: dict[str, np.ndarray]
    exchange: dict[str, Any]


def save_nulls(path: Path, nulls: FoldNulls) -> Path:
    """Write null predictions as npz without pickles."""
    np.savez_compressed(
        path, fold=nulls.fold, true=nulls.true, exchange=np.array(json.dumps(nulls.exchange)),
        **{f"scores/{name}": values for name, values in nulls.scores.items()},
    )
    return path


def read_nulls(path: Path | str) -> FoldNulls:
    """Read what :func:`save_nulls` wrote."""
    with np.load(path, allow_pickle=False) as content:
        arrays = dict(content)
    exchange = json.loads(str(arrays.pop("exchange")))
    fold, true = int(arrays.pop("fold")), arrays.pop("true")
    scores = {k.removeprefix("scores/"): v for k, v in arrays.items()}
    return FoldNulls(fold, true, scores, exchange)


def join_folds(parts: list[FoldNulls], model: str) -> Refitted | None:
    """Join the parts of one model; None without refits.

    Parameters
    ----------
    parts : list of FoldNulls
        All parts of the first fold in order, then those of the second, ...
    model : str

    Returns
    -------
    Refitted or None
        Trials in the order of the folds.
    """
    if not parts or model not in parts[0].scores:
        return None
    folds: dict[int, list[FoldNulls]] = {}
    for part in parts:
        folds.setdefault(part.fold, []).append(part)
    scores = np.concatenate(
        [np.concatenate([part.scores[model] for part in own]) for own in folds.values()], axis=1
    )
    true = np.concatenate(
        [np.concatenate([part.true for part in own]) for own in folds.values()], axis=1
    )
    return Refitted(true[:len(scores)], scores, parts[0].exchange)
