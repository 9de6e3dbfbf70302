"""Exchange of the names of labels between two kinds of trials, for decoding across them.

Where both kinds have codes of their own, all trials of a label resemble the same, arbitrary, label
of the other kind: by chance more of them than single trials show resemble the label of the same
name. If the codes are unrelated, however, any name is as good as any other, so that names can be
exchanged, as conditions are in representational similarity analysis [1]_.

References
----------
.. [1] Kriegeskorte, Mur and Bandettini (2008), Representational similarity analysis, Frontiers in
   Systems Neuroscience 2:4.
"""

from __future__ import annotations

from itertools import permutations

import numpy as np

from bids_decoder.evaluation.label_scores import confusion_counts
from bids_decoder.evaluation.nulls import Exchange
from bids_decoder.evaluation.statistics import permutation_p

MOST_TO_LIST = 7
"""With more labels their arrangements are drawn instead of listed."""


def exchange_names(
    true: np.ndarray, guess: np.ndarray, exchange: Exchange, n_permutations: int,
    rng: np.random.Generator,
) -> float:
    """Exchange the names of the tested labels against fixed predictions.

    Parameters
    ----------
    true, guess : ndarray of int, shape (n_trials,)
        Classes of the tested trials, and predicted ones.
    exchange : Exchange
        Of these trials, as for the test by exchanged trials.
    n_permutations : int
        Number of arrangements that are drawn, of more than :data:`MOST_TO_LIST` labels.
    rng : numpy.random.Generator

    Returns
    -------
    float
        Share of the arrangements, the true one among them, with at least its balanced accuracy.
        Valid where responses to the tested labels are unrelated to those of the training kind.
        With two, three or four labels it is at least 1/2, 1/6 or 1/24.

    Notes
    -----
    From the shares of predictions of each label those are subtracted that are expected when trials
    are exchanged: where a run has more trials of a label than other runs, and its decoder has seen
    more of them than those of other runs, both agree without any code.
    """
    tested, true = np.unique(true, return_inverse=True)
    n_labels = len(tested)
    # Predictions of labels that were not tested take part in none of the arrangements.
    places = np.searchsorted(tested, guess)
    places[~np.isin(guess, tested)] = n_labels
    counts = confusion_counts(true[None], places, n_labels + 1)[0]
    shares = (counts - _expected(true, places, exchange, n_labels + 1))[:n_labels, :n_labels]
    shares /= np.bincount(true)[:, None]
    if n_labels <= MOST_TO_LIST:
        # The first arrangement is the true one.
        orders = np.array([*permutations(range(n_labels))])[1:]
    else:
        orders = np.argsort(rng.random((n_permutations, n_labels)), axis=1)
    null = shares[np.arange(n_labels), orders].mean(axis=1)
    return permutation_p(np.trace(shares) / n_labels, null)


def _expected(
    true: np.ndarray, guess: np.ndarray, exchange: Exchange, n_classes: int
) -> np.ndarray:
    """Return the mean confusion counts (n_classes, n_classes) of exchanged trials."""
    groups = np.unique(exchange.block_of[exchange.unit_of], return_inverse=True)[1]
    tables = np.zeros((2, groups.max() + 1, n_classes))
    for table, classes in zip(tables, (true, guess), strict=True):
        np.add.at(table, (groups, classes), 1.0)
    return tables[0].T @ (tables[1] / np.bincount(groups)[:, None])
