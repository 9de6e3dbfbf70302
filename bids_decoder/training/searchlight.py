"""Searchlights: what the voxels of a sphere tell about labels, for every sphere of a brain [1]_.

All estimators have a closed form. The covariance of linear discriminant analysis and of ridge
regression is that of all training trials, whatever their labels:

    A = (1 - a) S + a v I

with the covariance *S* of the z-scored responses, their mean variance *v* over voxels, and the
shrinkage *a*, one for all spheres of a fold. The covariance within classes, which discriminant
analysis needs, is *A* less the part between classes, whose rank is below the number of classes;
its inverse follows from that of *A* (Woodbury's identity). So the factorisation of *A* serves all
permutations of the labels, and both estimators. Ridge regression on labels coded as -1 and 1 has
the penalty ``n a v / (1 - a)``. The crossnobis distance [3]_ of two labels is the product of their
difference in training and in test, whitened by the covariance within classes of training trials;
it is 0 on average where responses do not depend on labels.

References
----------
.. [1] Kriegeskorte, Goebel and Bandettini (2006), Information-based functional brain mapping,
   PNAS 103:3863.
.. [2] Ledoit and Wolf (2004), A well-conditioned estimator for large-dimensional covariance
   matrices, Journal of Multivariate Analysis 88:365.
.. [3] Walther, Nili, Ejaz, Alink, Kriegeskorte and Diedrichsen (2016), Reliability of
   dissimilarity measures for multi-voxel pattern analysis, NeuroImage 137:188.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from sklearn.covariance import ledoit_wolf_shrinkage

from bids_decoder.training.elimination import Forms, sphere_forms
from bids_decoder.training.searchlight_settings import LEAST_SHRINKAGE, Estimator
from bids_decoder.training.spheres import Block, Spheres

N_SAMPLED = 100
"""Spheres from which the shrinkage is estimated."""

Measure = Callable[[np.ndarray, slice], np.ndarray]
Score = Callable[[Block, "Fold", np.ndarray], np.ndarray]

_LABELLINGS_AT_ONCE = 64
_LEAST_VARIANCE = 1e-9
"""Added to variances of naive Bayes, as in scikit-learn."""


@dataclass(frozen=True, eq=False)
class Fold:
    """Responses of one fold, and one or more labellings of its trials.

    Parameters
    ----------
    train : ndarray of float32, shape (n_train, n_voxels)
        z-scored with statistics of training trials.
    test : ndarray of float32, shape (n_test, n_voxels)
    classes : ndarray of int, shape (n_labellings, n_train)
        Class of each training trial; first the true ones, then permuted ones.
    n_classes : int
    """

    train: np.ndarray
    test: np.ndarray
    classes: np.ndarray
    n_classes: int

    @cached_property
    def by_voxel(self) -> tuple[np.ndarray, np.ndarray]:
        """Training and test responses without the mean of training trials, (n_voxels, n_trials).

        Those of the voxels of a block lie together.
        """
        mean = self.train.mean(axis=0)
        train, test = (np.subtract(side, mean).T for side in (self.train, self.test))
        return np.ascontiguousarray(train), np.ascontiguousarray(test)

    @cached_property
    def variance(self) -> float:
        """Mean variance of the training responses of a voxel."""
        train = self.by_voxel[0]
        return float(np.vecdot(train, train).mean(dtype=np.float64)) / train.shape[1]

    def indicators(self, rows: slice) -> np.ndarray:
        """Code labellings as 0 and 1, (n_train, n_labellings, n_classes)."""
        classes = self.classes[rows].T[:, :, None]
        return (classes == np.arange(self.n_classes)).astype(np.float32)


def estimate_shrinkage(train: np.ndarray, spheres: Spheres, rng: np.random.Generator) -> float:
    """Estimate one shrinkage for all spheres, without labels.

    Parameters
    ----------
    train : ndarray, shape (n_train, n_voxels)
    spheres : Spheres
    rng : numpy.random.Generator
        Draws the spheres.

    Returns
    -------
    float
        Median of the estimates by Ledoit and Wolf [2]_ over a sample of spheres.
    """
    n_voxels = spheres.grid.n_voxels
    centres = rng.choice(n_voxels, min(N_SAMPLED, n_voxels), replace=False)
    centred = train - train.mean(axis=0)
    found = [
        ledoit_wolf_shrinkage(centred[:, voxels], assume_centered=True)
        for voxels in spheres.of(centres)
    ]
    return max(LEAST_SHRINKAGE, float(np.median(found)))


def search_spheres(
    fold: Fold,
    spheres: Spheres,
    estimator: Estimator,
    shrinkage: float,
    measure: Measure,
    progress: Callable[[int, int], None] | None = None,
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Score the test trials of a fold in every sphere, under every labelling.

    Parameters
    ----------
    fold : Fold
    spheres : Spheres
    estimator : {"lda", "ridge", "gnb", "crossnobis"}
        Discriminant analysis and naive Bayes take classes as equally frequent. Scores of
        crossnobis are products of trials and whitened class means, per voxel.
    shrinkage : float
        At least :data:`.searchlight_settings.LEAST_SHRINKAGE`; naive Bayes has none.
    measure : callable
        Called with scores (n_spheres, n_labellings, n_test, n_classes), minus infinity for classes
        without training trials, and the slice of labellings that they belong to; returns values
        (n_values, n_spheres).
    progress : callable, optional
        Called with (spheres done, spheres in all).

    Yields
    ------
    centres : ndarray of int, shape (n_spheres,)
    values : ndarray, shape (n_values of all labellings, n_spheres)
    """
    score: Score = _naive_bayes if estimator == "gnb" else LinearScore(
        estimator, shrinkage, fold.variance
    )
    done = 0
    for block in spheres.blocks():
        values = [measure(scores, rows) for scores, rows in score_block(score, block, fold)]
        yield block.centres, np.concatenate(values)
        done += len(block.centres)
        if progress is not None:
            progress(done, spheres.grid.n_voxels)


def score_block(
    score: Score, block: Block, fold: Fold
) -> Iterator[tuple[np.ndarray, slice]]:
    """Score the test trials in the spheres of a block, some labellings at a time.

    Parameters
    ----------
    score : callable
        For instance :class:`LinearScore`.
    block : Block
    fold : Fold

    Yields
    ------
    scores : ndarray, shape (n_spheres, n_labellings, n_test, n_classes)
        Minus infinity for classes without training trials.
    rows : slice
        The labellings that they belong to.
    """
    for start in range(0, len(fold.classes), _LABELLINGS_AT_ONCE):
        rows = slice(start, start + _LABELLINGS_AT_ONCE)
        labels = fold.indicators(rows)
        scores = score(block, fold, labels)
        yield np.where(labels.any(axis=0)[:, None], scores, -np.inf), rows


@dataclass(frozen=True)
class LinearScore:
    """Scores of classes by all estimators but naive Bayes.

    Parameters
    ----------
    estimator : {"lda", "ridge", "crossnobis"}
    shrinkage : float
    variance : float
        Towards which the covariance is shrunk: the mean over voxels.
    """

    estimator: Estimator
    shrinkage: float
    variance: float

    def __call__(self, block: Block, fold: Fold, labels: np.ndarray) -> np.ndarray:
        """Score the test trials of a fold in every sphere of a block; see :func:`score_block`."""
        train, test = (side[block.voxels] for side in fold.by_voxel)
        n_train = train.shape[1]
        covariance = train @ train.T
        covariance *= (1 - self.shrinkage) / n_train
        covariance.flat[::len(covariance) + 1] += self.shrinkage * self.variance
        shares = labels.mean(axis=0)
        sums = train @ labels.reshape(n_train, -1)
        means = sums.reshape(-1, *shares.shape) / np.maximum(n_train * shares, 1)
        forms = sphere_forms(block, covariance, test, means)
        scores = self._scores(forms, shares[:, None])
        if self.estimator == "crossnobis":
            scores /= block.members.sum(axis=1)[:, None, None, None]
        return scores

    def _scores(self, forms: Forms, shares: np.ndarray) -> np.ndarray:
        """Compute scores from the shares of classes in training, (n_labellings, 1, n_classes)."""
        kept = 1 - self.shrinkage
        if self.estimator == "ridge":
            return 2 * shares * (kept * forms.cross + 1) - 1
        between = kept * shares.transpose(0, 2, 1) * forms.own
        within = np.linalg.inv(np.eye(shares.shape[-1], dtype=np.float32) - between)
        slopes = forms.cross @ within
        if self.estimator == "crossnobis":
            return slopes
        size = np.diagonal(forms.own @ within, axis1=-2, axis2=-1)
        return slopes - 0.5 * size[..., None, :]


def _naive_bayes(block: Block, fold: Fold, labels: np.ndarray) -> np.ndarray:
    """Compute log likelihoods under independent normal distributions per class and voxel."""
    train, test = (side[block.voxels].T for side in fold.by_voxel)
    n_train, n_labellings, n_classes = labels.shape
    counts = np.maximum(labels.sum(axis=0), 1)[:, :, None]
    columns = labels.reshape(n_train, -1).T.astype(np.float64)
    shape = (n_labellings, n_classes, -1)
    means = (columns @ train).reshape(shape) / counts
    variances = (columns @ train**2).reshape(shape) / counts - means**2
    variances = np.maximum(variances, 0) + _LEAST_VARIANCE
    inside = block.members.T.astype(np.float64)
    scores = np.empty((len(block.centres), n_labellings, len(test), n_classes))
    for labelling in range(n_labellings):
        for label in range(n_classes):
            mean, variance = means[labelling, label], variances[labelling, label]
            density = -0.5 * ((test - mean) ** 2 / variance + np.log(variance))
            scores[:, labelling, :, label] = (density @ inside).T
    return scores
