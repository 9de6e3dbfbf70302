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
    """Null predictions for the test trials of one fold.

    Parameters
    ----------
    true : ndarray of int, shape (n_permutations, n_test)
        Permuted class of each test trial.
    scores : dict of str to ndarray, shape (n_permutations, n_test, n_classes)
        By model.
    exchange : dict
        How labels were permuted.
    """

    true: np.ndarray
    scores: dict[str, np.ndarray]
    exchange: dict[str, Any]


def save_nulls(path: Path, nulls: FoldNulls) -> Path:
    """Write null predictions as npz without pickles."""
    np.savez_compressed(
        path, true=nulls.true, exchange=np.array(json.dumps(nulls.exchange)),
        **{f"scores/{name}": values for name, values in nulls.scores.items()},
    )
    return path


def read_nulls(path: Path | str) -> FoldNulls:
    """Read what :func:`save_nulls` wrote."""
    with np.load(path, allow_pickle=False) as content:
        arrays = dict(content)
    exchange = json.loads(str(arrays.pop("exchange")))
    true = arrays.pop("true")
    return FoldNulls(true, {k.removeprefix("scores/"): v for k, v in arrays.items()}, exchange)


def join_nulls(folds: list[FoldNulls], model: str) -> Refitted | None:
    """Join the folds of one model, trials in the order of the folds; None without refits."""
    if not folds or model not in folds[0].scores:
        return None
    return Refitted(
        np.concatenate([fold.true for fold in folds], axis=1),
        np.concatenate([fold.scores[model] for fold in folds], axis=1), folds[0].exchange,
    )
