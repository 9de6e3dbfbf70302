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

from bids_decoder.evaluation.statistics import permutation_p

MOST_TO_LIST = 7
"""With more labels their arrangements are drawn instead of listed."""


def exchange_names(
    confusion: np.ndarray, n_permutations: int, rng: np.random.Generator
) -> float:
    """Exchange the names of the tested labels against fixed predictions.

    Parameters
    ----------
    confusion : ndarray, shape (n_classes, n_classes)
        Counts of true (rows) against predicted labels. Labels that were not tested are left out.
    n_permutations : int
        Number of arrangements that are drawn, of more than :data:`MOST_TO_LIST` labels.
    rng : numpy.random.Generator

    Returns
    -------
    float
        Share of the arrangements, the true one among them, with at least its balanced accuracy.
        Valid where responses to the tested labels are unrelated to those of the training kind.
        With two, three or four labels it is at least 1/2, 1/6 or 1/24.
    """
    counts = np.asarray(confusion, dtype=np.float64)
    tested = counts.sum(axis=1) > 0
    shares = (counts / np.maximum(counts.sum(axis=1, keepdims=True), 1))[np.ix_(tested, tested)]
    n_labels = len(shares)
    if n_labels <= MOST_TO_LIST:
        # The first arrangement is the true one.
        orders = np.array([*permutations(range(n_labels))])[1:]
    else:
        orders = np.argsort(rng.random((n_permutations, n_labels)), axis=1)
    null = shares[np.arange(n_labels), orders].mean(axis=1)
    return permutation_p(np.trace(shares) / n_labels, null)
