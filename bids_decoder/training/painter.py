"""Reconstruction of coarse pictures from voxels, by inverted encoding models."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

from bids_decoder.errors import InputError
from bids_decoder.evaluation.folds import assert_no_test, inner_folds
from bids_decoder.evaluation.reconstruction import ComparedPicture
from bids_decoder.models.store import Model
from bids_decoder.training.inversion import Inversion, fit_encoding, invert
from bids_decoder.training.picture_basis import PictureBasis
from bids_decoder.trials import Person

CARD = "painter"
"""Entry of the card of a stored painter."""

IMAGES = "training_images"
"""Entry of its card: SHA256 of each training image (of its pixels in a stack), by stimulus."""

NOISES = (1.0, 2.0, 4.0, 8.0, 16.0, 64.0)
"""Factors of the estimated noise, of which one is chosen: models of voxels are never exact."""

CONTRASTS = (0.5, 0.7, 1.0, 1.4, 2.0)
"""Factors of the difference from the mean picture, of which one is chosen."""

N_FOLDS = 5
LEAST_FITTED = 3
"""Distinct pictures that the model of a fold is fitted to at least."""

_N_COMPARED = 24
_CLEAR = 2.0  # standard errors over pictures
_BLOCK = 256
_TENSORS = ("voxels", "weight", "intercept", "mean", "error", "spread")


@dataclass(frozen=True, eq=False)
class Painter:
    """Map from voxels to pictures.

    Parameters
    ----------
    voxels : ndarray of int, shape (n_used,)
        Numbers of the voxels that are read.
    weight : ndarray of float32, shape (n_used, n_coefficients)
        To coefficients of :class:`~bids_decoder.training.picture_basis.PictureBasis`.
    intercept : ndarray of float32, shape (n_coefficients,)
    mean : ndarray of float32, shape (size, size, 3)
        Mean training picture, sRGB.
    error : ndarray of float32, shape (size, size)
        Uncertainty: root mean square error over training pictures and colours, of pictures that
        were painted from trials outside the fit.
    spread : ndarray of float32, shape (size, size)
        The same error of the mean picture, of the same fits.
    noise, contrast : float
        What was chosen of :data:`NOISES` and :data:`CONTRASTS`.
    """

    voxels: np.ndarray
    weight: np.ndarray
    intercept: np.ndarray
    mean: np.ndarray
    error: np.ndarray
    spread: np.ndarray
    noise: float = 1.0
    contrast: float = 1.0

    @cached_property
    def _basis(self) -> PictureBasis:
        return PictureBasis(len(self.mean))

    def paint(self, betas: np.ndarray) -> np.ndarray:
        """Reconstruct the pictures that were seen.

        Parameters
        ----------
        betas : ndarray, shape (n, n_voxels)
            Responses, scaled as those of the training trials.

        Returns
        -------
        ndarray of float32, shape (n, size, size, 3)
            sRGB in [0, 1].
        """
        coefficients = np.asarray(betas)[:, self.voxels] @ self.weight + self.intercept
        return _paint(self._basis, self.mean, coefficients)

    def to_model(self, card: dict[str, Any]) -> Model:
        """Return the painter as tensors, and a card that *card* is added to."""
        tensors = {name: getattr(self, name) for name in _TENSORS}
        tensors["voxels"] = self.voxels.astype(np.int32)
        about = {"size": len(self.mean), "noise": self.noise, "contrast": self.contrast}
        return Model(tensors, {**card, CARD: about})

    @classmethod
    def restore(cls, model: Model) -> Painter:
        """Return a painter that :meth:`to_model` stored.

        Raises
        ------
        InputError
            If the model is none.
        """
        about = model.card.get(CARD)
        if about is None:
            raise InputError(
                "model that reconstructs pictures", "is another kind of model",
                "give the *_desc-painter_model.safetensors of the decoder",
            )
        tensors = (model.tensors[name] for name in _TENSORS)
        return cls(*tensors, noise=about["noise"], contrast=about["contrast"])


def is_readable(card: dict[str, Any]) -> bool:
    """Return whether a card is of a painter of this form, and not of an earlier one."""
    return "contrast" in card.get(CARD, {})


class _Shown(NamedTuple):
    """One row per training picture."""

    responses: np.ndarray  # (n_pictures, n_used), mean over repeats
    coefficients: np.ndarray  # (n_pictures, n_coefficients)

    def part(self, rows: np.ndarray) -> _Shown:
        return _Shown(*(values[rows] for values in self))


class _HeldOut(NamedTuple):
    """Pictures of a fold, decoded by a model that has not seen them."""

    rows: np.ndarray
    mean: np.ndarray  # picture, of the other folds
    coefficients: np.ndarray  # (n_noises, n_rows, n_coefficients), beside those of the mean
    errors: np.ndarray  # (n_noises, n_rows), sums of squares
    without: np.ndarray  # (n_rows,), those of the mean


def fit_painter(
    train: Person, voxel_weights: np.ndarray, pictures: np.ndarray, picture_rows: np.ndarray,
    select: Callable[[np.ndarray], np.ndarray] | None = None,
) -> Painter:
    """Fit the reconstruction of pictures.

    An encoding model of each voxel of the decoder, from cosines of the picture (ridge regression
    with smooth receptive fields), is inverted: what is painted is the posterior mean of the
    picture, given the correlated noise of the voxels and the covariance of the training pictures,
    half as observed and half that of pictures with their spectrum [1]_. Two numbers are
    cross-validated: the factor of the noise, by squared error, and then the contrast, by the sum
    of pixel correlation and structural similarity. Folds are of runs, or of pictures if any is
    shown in several runs. What voxels do not tell stays at the mean of the training pictures.

    Parameters
    ----------
    train : Person
        Training trials only.
    voxel_weights : ndarray, shape (n_voxels,)
        Zero leaves a voxel out.
    pictures : ndarray of float32, shape (n_pictures, size, size, 3)
        Training pictures, sRGB in [0, 1].
    picture_rows : ndarray of int, shape (n_trials,)
        Picture of each training trial; each picture has one or more.
    select : callable, optional
        ``select(rows) -> voxel_weights`` from these trials (ndarray of int) alone, for the
        cross-validation: errors are too small where voxels were chosen by held-out trials. None
        if *voxel_weights* do not depend on responses.

    Returns
    -------
    Painter
        Of the mean picture, if the training pictures are too few or all alike.

    Raises
    ------
    LeakageError
        If a trial of *train* is not a training trial.

    References
    ----------
    .. [1] Naselaris et al. 2009, Neuron 63:902; Schoenmakers et al. 2013, NeuroImage 83:951.
    """
    assert_no_test(train.trials, np.arange(len(train.trials)))
    used, basis = np.flatnonzero(voxel_weights), PictureBasis(pictures.shape[1])
    coefficients = basis.transform(pictures)
    folds = _folds(train, picture_rows, coefficients)
    if len(used) == 0 or not folds:
        return _flat(used, pictures, basis)

    def hold_out(fold: tuple[np.ndarray, np.ndarray]) -> _HeldOut:
        trials = np.flatnonzero(np.isin(picture_rows, fold[0]))
        own = used if select is None else np.flatnonzero(select(trials))
        return _hold_out(_average(train, own, coefficients, picture_rows), pictures, basis, fold)

    # Before the averages of all pictures, which are as large as those of a fold.
    held_out = [hold_out(fold) for fold in folds]
    return _cross_validated(
        used, pictures, basis, _average(train, used, coefficients, picture_rows), held_out
    )


def _cross_validated(
    used: np.ndarray, pictures: np.ndarray, basis: PictureBasis, shown: _Shown,
    held_out: list[_HeldOut],
) -> Painter:
    """Fit to all pictures, with the numbers and the errors of held-out ones."""
    noise = int(np.concatenate([fold.errors for fold in held_out], axis=1).sum(axis=1).argmin())
    contrast = _choose_contrast(pictures, basis, held_out, noise)
    weight = contrast * _inverted(shown, basis).weight(NOISES[noise])
    return Painter(
        used, weight.astype(np.float32),
        (-shown.responses.mean(axis=0) @ weight).astype(np.float32), _mean(pictures),
        _root_mean_square(
            _painted(basis, fold, noise, contrast) - pictures[fold.rows] for fold in held_out
        ),
        _root_mean_square(fold.mean - pictures[fold.rows] for fold in held_out),
        NOISES[noise], contrast,
    )


def _folds(
    train: Person, picture_rows: np.ndarray, coefficients: np.ndarray
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Split pictures, with all repeats of each, into those fitted and those held out."""
    first = np.unique(picture_rows, return_index=True)[1]
    order, runs = np.argsort(first), train.run_groups  # of time, not of names
    if len(order) < LEAST_FITTED:
        return []
    folds = inner_folds(runs[first][order], N_FOLDS)
    recurs = (runs != runs[first][picture_rows]).any()
    # Where runs show the same pictures, or few others, folds of runs leave hardly any to fit.
    if recurs or min(len(fitted) for fitted, _ in folds) < len(order) / 3:
        folds = inner_folds(np.zeros(len(order)), N_FOLDS)
    return [
        (order[fitted], order[rows]) for fitted, rows in folds
        if _n_distinct(coefficients[order[fitted]]) >= LEAST_FITTED
    ]


def _n_distinct(coefficients: np.ndarray) -> int:
    """Count pictures that differ in what is painted."""
    return len(np.unique(np.round(coefficients, 6), axis=0))


def _average(
    train: Person, used: np.ndarray, coefficients: np.ndarray, picture_rows: np.ndarray
) -> _Shown:
    """Average over the repeats of each picture."""
    means = np.zeros((len(coefficients), len(used)), np.float32)
    counts = np.bincount(picture_rows, minlength=len(means))
    for trial, row in enumerate(picture_rows):
        means[row] += train.betas[trial, used] / counts[row]
    return _Shown(means, coefficients)


def _inverted(shown: _Shown, basis: PictureBasis) -> Inversion:
    coefficients = shown.coefficients - shown.coefficients.mean(axis=0)
    fit = fit_encoding(coefficients, shown.responses, basis.smoothness)
    observed = coefficients.T @ coefficients / len(coefficients)
    return invert(fit, (observed + np.diag(basis.spectrum(coefficients))) / 2)


def _hold_out(
    shown: _Shown, pictures: np.ndarray, basis: PictureBasis, fold: tuple[np.ndarray, np.ndarray]
) -> _HeldOut:
    """Decode the pictures of a fold by a model of the others."""
    fitted, rows = fold
    part = shown.part(fitted)
    inversion = _inverted(part, basis)
    responses = shown.responses[rows] - part.responses.mean(axis=0)
    decoded = np.stack([responses @ inversion.weight(noise) for noise in NOISES])
    true = shown.coefficients[rows] - part.coefficients.mean(axis=0)
    mean = sum(pictures[row].astype(np.float64) for row in fitted) / len(fitted)
    errors, without = (np.square(missed).sum(axis=-1) for missed in (decoded - true, true))
    return _HeldOut(rows, mean, decoded, errors, without)


def _choose_contrast(
    pictures: np.ndarray, basis: PictureBasis, held_out: list[_HeldOut], noise: int
) -> float:
    """Return the contrast with the highest sum of both similarities, over some pictures.

    It is the lowest one unless errors are smaller than those of the mean picture beyond chance:
    similarities do not tell how boldly noise may be painted.
    """
    gains = np.concatenate([fold.without - fold.errors[noise] for fold in held_out])
    if gains.mean() <= _CLEAR * gains.std() / np.sqrt(len(gains)):
        return CONTRASTS[0]
    n_each = -(-_N_COMPARED // len(held_out))
    scores = np.zeros(len(CONTRASTS))
    for fold in held_out:
        chosen = np.unique(np.linspace(0, len(fold.rows) - 1, n_each).astype(int))
        some = fold._replace(
            rows=fold.rows[chosen], coefficients=fold.coefficients[:, chosen]
        )
        made = [_painted(basis, some, noise, contrast) for contrast in CONTRASTS]
        for place, row in enumerate(some.rows):
            seen = ComparedPicture(pictures[row])
            for number, painted in enumerate(made):
                other = ComparedPicture(painted[place])
                scores[number] += seen.correlation(other) + seen.structure(other)
    return CONTRASTS[int(scores.argmax())]


def _painted(basis: PictureBasis, fold: _HeldOut, noise: int, contrast: float) -> np.ndarray:
    return _paint(basis, fold.mean, contrast * fold.coefficients[noise])


def _paint(basis: PictureBasis, mean: np.ndarray, coefficients: np.ndarray) -> np.ndarray:
    painted = np.empty((len(coefficients), *mean.shape), np.float32)
    for start in range(0, len(painted), _BLOCK):
        block = slice(start, start + _BLOCK)
        painted[block] = np.clip(basis.inverse(coefficients[block]) + mean, 0, 1)
    return painted


def _root_mean_square(errors: Iterable[np.ndarray]) -> np.ndarray:
    """Average squares over pictures and colours, shape (size, size)."""
    parts = [(np.square(part, dtype=np.float64).mean(axis=3).sum(axis=0), len(part))
             for part in errors]
    total = sum(part for part, _ in parts)
    return np.sqrt(total / sum(n for _, n in parts)).astype(np.float32)


def _mean(pictures: np.ndarray) -> np.ndarray:
    return pictures.mean(axis=0, dtype=np.float64).astype(np.float32)


def _flat(used: np.ndarray, pictures: np.ndarray, basis: PictureBasis) -> Painter:
    """Return a painter of the mean picture."""
    n, mean = int(basis.kept.sum()), _mean(pictures)
    spread = _root_mean_square([pictures - mean])
    return Painter(
        used, np.zeros((len(used), n), np.float32), np.zeros(n, np.float32), mean, spread, spread
    )
