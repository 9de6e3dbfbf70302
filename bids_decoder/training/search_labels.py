"""Labels of searchlights in one fold: the true ones, and those exchanged under the null."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from bids_decoder.evaluation.nulls import Exchange, find_exchange
from bids_decoder.evaluation.search_maps import class_weights
from bids_decoder.training.refit import permute_fold
from bids_decoder.trials import Person


@dataclass(frozen=True, eq=False)
class FoldLabels:
    """Labellings of the trials of one fold; the first one is true.

    Parameters
    ----------
    train : ndarray of int, shape (1 + n_permutations, n_train) or (1, n_train)
        Only the true ones where predictions stay.
    test : ndarray of int, shape (1 + n_permutations, n_test)
    weights : ndarray, shape (1 + n_permutations, n_classes)
        What a hit adds to balanced accuracy over all folds.
    exchange : Exchange
    """

    train: np.ndarray
    test: np.ndarray
    weights: np.ndarray
    exchange: Exchange

    @property
    def n_tested(self) -> int:
        """Number of classes with held-out trials in any fold."""
        return int((self.weights[0] > 0).sum())


def label_fold(
    train: Person, test: Person, n_classes: int, n_permutations: int, rng: np.random.Generator,
    *, is_crossed: bool,
) -> FoldLabels:
    """Exchange labels as for the decoder.

    Parameters
    ----------
    train, test : Person
        All trials of a person; ``target_rows`` are classes.
    n_classes : int
    n_permutations : int
    rng : numpy.random.Generator
        Of the same seed in all folds.
    is_crossed : bool
        Under cross-validation the labels of all trials are exchanged and everything is fitted
        again; otherwise those of test trials, against fixed predictions (:mod:`.nulls`).

    Returns
    -------
    FoldLabels
    """
    if not is_crossed:
        one = np.ones(len(test.target_rows))
        exchange = find_exchange(test.target_rows, test.run_groups, one)
        tested = np.vstack([test.target_rows, exchange.draw(n_permutations, rng)])
        weights = class_weights(tested, n_classes)
        return FoldLabels(train.target_rows[None], tested, weights, exchange)
    drawn = permute_fold(train, test, n_permutations, rng)
    fitted = np.vstack([train.target_rows, drawn.train_rows])
    tested = np.vstack([test.target_rows, drawn.test_rows])
    # Training trials that are test in another fold count for the mean over classes.
    held_out = train.trials["fold"].notna().to_numpy()
    weights = class_weights(np.hstack([fitted[:, held_out], tested]), n_classes)
    return FoldLabels(fitted, tested, weights, drawn.exchange)
