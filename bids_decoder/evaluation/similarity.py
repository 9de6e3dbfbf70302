"""Similarities between predicted and true embeddings."""

from __future__ import annotations

import numpy as np

TRANSDUCTIVE = ("csls", "sinkhorn")
"""Similarities for which all test responses are used together, without knowing what was seen."""

LARGEST_TRANSPORT = 2000
"""With more images there are no rows of optimal transport, whose time grows with their square."""
SMOOTHING = 0.2
"""Entropic regularisation of :func:`sinkhorn`, in standard deviations of the similarities."""

_N_UPDATES, _STOP = 200, 1e-6


def normalise(vectors: np.ndarray) -> np.ndarray:
    """Scale rows to unit length; rows of zeros stay zeros.

    Parameters
    ----------
    vectors : ndarray, shape (n, n_dims)

    Returns
    -------
    ndarray of float64, shape (n, n_dims)
    """
    vectors = np.asarray(vectors, dtype=np.float64)
    length = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.divide(vectors, length, out=np.zeros_like(vectors), where=length > 0)


def cosine_similarity(queries: np.ndarray, gallery: np.ndarray) -> np.ndarray:
    """Compute the cosine of the angle between each query and each gallery item.

    Parameters
    ----------
    queries : ndarray, shape (n_queries, n_dims)
    gallery : ndarray, shape (n_gallery, n_dims)

    Returns
    -------
    ndarray of float64, shape (n_queries, n_gallery)
    """
    return normalise(queries) @ normalise(gallery).T


def label_scores(values: np.ndarray, gallery: np.ndarray) -> np.ndarray:
    """Score every label: projections of predictions on the labels' directions.

    Unlike cosines, they keep the size of predictions: a weak response scores all labels alike.

    Parameters
    ----------
    values : ndarray, shape (n_trials, n_dims)
    gallery : ndarray, shape (n_labels, n_dims)

    Returns
    -------
    ndarray of float64, shape (n_trials, n_labels)
    """
    return np.asarray(values) @ normalise(gallery).T


def csls(similarity: np.ndarray, n_neighbours: int) -> np.ndarray:
    """Correct similarities for hubs: cross-domain similarity local scaling.

    Twice the similarity, minus the mean similarity of the row to its nearest columns, minus
    that of the column to its nearest rows [1]_.

    Parameters
    ----------
    similarity : ndarray, shape (n_queries, n_gallery)
        Cosines.
    n_neighbours : int
        Number of nearest neighbours; at most as many as there are.

    Returns
    -------
    ndarray, shape (n_queries, n_gallery)

    References
    ----------
    .. [1] Conneau et al. (2018), Word translation without parallel data, ICLR.
    """
    rows = _mean_of_largest(similarity, n_neighbours)
    columns = _mean_of_largest(similarity.T, n_neighbours)
    return 2 * similarity - rows[:, None] - columns[None, :]


def sinkhorn(similarity: np.ndarray) -> np.ndarray:
    """Match all queries with all gallery items at once, by entropic optimal transport.

    The plan that carries equal masses from queries to gallery items at the largest similarity,
    smoothed by entropy [1]_ and computed with POT. An item that many queries are similar to is
    shared by them, so that the others go to the next best item. It assumes that every item is
    asked for equally often: this holds for a test set in which each image has one response, and
    for nothing else.

    Parameters
    ----------
    similarity : ndarray, shape (n_queries, n_gallery)
        Cosines.

    Returns
    -------
    ndarray of float64, shape (n_queries, n_gallery)
        Logarithm of the plan, up to a constant. Similarities that are all equal stay as they are.

    References
    ----------
    .. [1] Cuturi (2013), Sinkhorn distances: lightspeed computation of optimal transport, NeurIPS.
    """
    import ot

    similarity = np.asarray(similarity, dtype=np.float64)
    spread = similarity.std()
    if not spread > 1e-12:
        return similarity
    scaled = (similarity - similarity.max()) / (SMOOTHING * spread)
    _, found = ot.sinkhorn(
        [], [], -scaled, 1.0, numItermax=_N_UPDATES, stopThr=_STOP, warn=False, log=True
    )
    # From the scalings, since small entries of the plan itself would be rounded to 0 and be tied.
    return scaled + np.log(found["u"])[:, None] + np.log(found["v"])[None, :]


def inference_of(similarity: str) -> str:
    """Return ``transductive`` for :data:`TRANSDUCTIVE` similarities, else ``inductive``."""
    return "transductive" if similarity in TRANSDUCTIVE else "inductive"


def _mean_of_largest(values: np.ndarray, k: int) -> np.ndarray:
    k = min(k, values.shape[1])
    return np.partition(values, values.shape[1] - k, axis=1)[:, -k:].mean(axis=1)


def centre(predicted: np.ndarray, training_mean: np.ndarray) -> np.ndarray:
    """Subtract the mean of the predictions for *training* trials.

    Parameters
    ----------
    predicted : ndarray, shape (n_trials, n_dims)
    training_mean : ndarray, shape (n_dims,)
        From training trials only, so that nothing is learnt from the test set.
    """
    return np.asarray(predicted, dtype=np.float64) - training_mean


def among_best(values: np.ndarray, k: int) -> np.ndarray:
    """Mark the *k* largest values of each row; items tied for the last places share them.

    Parameters
    ----------
    values : ndarray, shape (n_queries, n_gallery)
    k : int
        From 1 to ``n_gallery``.

    Returns
    -------
    ndarray of float64, shape (n_queries, n_gallery)
        The probability of each item to be among the best when ties are broken at random. Constant
        predictions thus score at chance, not at 0 or 1.
    """
    limit = np.partition(values, -k, axis=1)[:, [-k]]
    above, tied = values > limit, values == limit
    places = k - above.sum(axis=1, keepdims=True)
    return above + tied * (places / tied.sum(axis=1, keepdims=True))
