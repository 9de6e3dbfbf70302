"""What the voxels of a region tell, for every region of an atlas, in closed form.

Labels are decoded as in searchlights (:mod:`.searchlight`): discriminant analysis or ridge
regression with one covariance for all permutations of the labels. The shrinkage is estimated for
each region without labels, since regions differ in size more than spheres do. In a region with
more voxels than training trials, responses are rotated to the directions in which training
trials vary: class means have no part in others, so that predictions stay the same, and the
factorisation costs what trials cost. Vectors of images and features are predicted by the ridge
regression of the baselines.

References
----------
.. [1] Ledoit and Wolf (2004), A well-conditioned estimator for large-dimensional covariance
   matrices, Journal of Multivariate Analysis 88:365.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from bids_decoder.evaluation.baselines import coordinates
from bids_decoder.evaluation.folds import assert_disjoint, assert_no_test
from bids_decoder.evaluation.ridge import ridge_predict
from bids_decoder.training.region_settings import Estimator
from bids_decoder.training.searchlight import Fold, LinearScore, Measure, score_block
from bids_decoder.training.searchlight_settings import LEAST_SHRINKAGE
from bids_decoder.training.spheres import Block
from bids_decoder.trials import Person, Targets

Progress = Callable[[int, int], None]

_LEAST_EIGENVALUE = 1e-7
"""Smaller ones, as a share of the largest, are rounding."""


class DecodedLabels(NamedTuple):
    """What the regions tell about the test trials of one fold.

    Parameters
    ----------
    values : ndarray, shape (n_labellings, n_regions)
        Of the measure.
    predicted : ndarray of int, shape (n_regions, n_test)
        Classes, decoded with the true labels.
    shrinkage : ndarray, shape (n_regions,)
    """

    values: np.ndarray
    predicted: np.ndarray
    shrinkage: np.ndarray


def decode_labels(
    fold: Fold, regions: Sequence[np.ndarray], estimator: Estimator, measure: Measure,
    progress: Progress | None = None,
) -> DecodedLabels:
    """Decode the labels of the test trials from each region, under every labelling.

    Parameters
    ----------
    fold : Fold
        All voxels; its first labelling is true.
    regions : sequence of ndarray of int
        Voxel numbers.
    estimator : {"lda", "ridge"}
    measure : callable
        For instance :class:`~bids_decoder.evaluation.search_maps.Accuracy`.
    progress : callable, optional
        Called with (regions done, regions in all).

    Returns
    -------
    DecodedLabels
    """
    found = []
    for number, voxels in enumerate(regions):
        found.append(_decode_region(fold, voxels, estimator, measure))
        if progress is not None:
            progress(number + 1, len(regions))
    values, predicted, shrinkage = zip(*found, strict=True)
    return DecodedLabels(np.stack(values, axis=1), np.stack(predicted), np.array(shrinkage))


def _decode_region(
    fold: Fold, voxels: np.ndarray, estimator: Estimator, measure: Measure
) -> tuple[np.ndarray, np.ndarray, float]:
    train, test = (np.asarray(side[:, voxels], np.float64) for side in (fold.train, fold.test))
    mean = train.mean(axis=0)
    # In place: these are copies, and may be large.
    train -= mean
    test -= mean
    n_train, n_voxels = train.shape
    kernel = train @ train.T
    shrinkage = max(LEAST_SHRINKAGE, ledoit_wolf(kernel, n_voxels))
    variance = float(np.trace(kernel)) / (n_train * n_voxels)
    if n_voxels > n_train:
        train, test = rotate(kernel, test @ train.T)
    sides = (side.astype(np.float32) for side in (train, test))
    own = Fold(*sides, fold.classes, fold.n_classes)
    values, predicted = [], None
    score = LinearScore(estimator, shrinkage, variance)
    for scores, rows in score_block(score, _one_block(train.shape[1]), own):
        values.append(measure(scores, rows)[:, 0])
        if predicted is None:
            predicted = scores[0, 0].argmax(axis=-1)
    return np.concatenate(values), predicted, shrinkage


def _one_block(n_voxels: int) -> Block:
    return Block(
        np.zeros(1, dtype=np.intp), np.arange(n_voxels), np.ones((1, n_voxels), dtype=bool),
        np.zeros((1, 3), dtype=np.intp),
    )


def rotate(kernel: np.ndarray, products: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rotate responses to the directions in which training trials vary.

    Parameters
    ----------
    kernel : ndarray, shape (n_train, n_train)
        Scalar products of centred training trials.
    products : ndarray, shape (n_test, n_train)
        Those of test trials, less the mean of training trials, with training trials.

    Returns
    -------
    train : ndarray, shape (n_train, n_directions)
    test : ndarray, shape (n_test, n_directions)
    """
    values, vectors = np.linalg.eigh(kernel)
    kept = values > _LEAST_EIGENVALUE * max(values[-1], np.finfo(float).tiny)
    lengths, vectors = np.sqrt(values[kept]), vectors[:, kept]
    return vectors * lengths, products @ vectors / lengths


def ledoit_wolf(kernel: np.ndarray, n_voxels: int) -> float:
    """Estimate the shrinkage of a covariance from scalar products of trials [1]_.

    Parameters
    ----------
    kernel : ndarray, shape (n_trials, n_trials)
        Of centred responses.
    n_voxels : int

    Returns
    -------
    float
        As ``sklearn.covariance.ledoit_wolf_shrinkage``, whose time grows with the square of the
        number of voxels.
    """
    n_trials = len(kernel)
    mean = np.trace(kernel) / n_trials / n_voxels
    squares = float(np.square(kernel).sum()) / n_trials**2
    between = float(np.square(np.diagonal(kernel)).sum()) / n_trials
    spread = (squares - n_voxels * mean**2) / n_voxels
    noise = min((between - squares) / (n_voxels * n_trials), spread)
    return float(noise / spread) if noise > 0 else 0.0


def predict_vectors(
    train: Person, test: Person, targets: Targets, regions: Sequence[np.ndarray],
    progress: Progress | None = None,
) -> list[np.ndarray]:
    """Predict the vectors of held-out images or features from each region.

    Parameters
    ----------
    train, test : Person
    targets : Targets
        Images or features.
    regions : sequence of ndarray of int
    progress : callable, optional
        As for :func:`decode_labels`.

    Returns
    -------
    list of ndarray, each of shape (n_test, n_dims)
        As the baseline ``ridge-mask`` predicts from these voxels.

    Raises
    ------
    LeakageError
        When a trial of *train* is not a training trial, or an image is in both.
    """
    assert_no_test(train.trials, np.arange(len(train.trials)))
    assert_disjoint(train.trials["stimulus"], test.trials["stimulus"])
    space = coordinates(train.target_rows, targets)
    found = []
    for number, voxels in enumerate(regions):
        predicted = ridge_predict(
            train.betas[:, voxels], space.scores, test.betas[:, voxels], train.run_groups
        )
        found.append(space.restore(predicted).astype(np.float32))
        if progress is not None:
            progress(number + 1, len(regions))
    return found
