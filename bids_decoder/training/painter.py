"""Reconstruction of coarse pictures from voxels by ridge regression."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from bids_decoder.errors import InputError
from bids_decoder.evaluation.folds import assert_no_test
from bids_decoder.evaluation.ridge import ridge_fit
from bids_decoder.models.store import Model
from bids_decoder.trials import Person

MAX_COMPONENTS = 256

CARD = "painter"
"""Entry of the card of a stored painter."""

IMAGES = "training_images"
"""Entry of its card: SHA256 of each training image (of its pixels in a stack), by stimulus."""


@dataclass(frozen=True, eq=False)
class Painter:
    """Map from voxels to pictures.

    Parameters
    ----------
    voxels : ndarray of int, shape (n_used,)
        Numbers of the voxels that are read.
    weight : ndarray of float32, shape (n_used, n_components)
    intercept : ndarray of float32, shape (n_components,)
    components : ndarray of float32, shape (n_components, size * size * 3)
        Principal components of the training pictures.
    mean : ndarray of float32, shape (size, size, 3)
        Mean training picture, sRGB.
    """

    voxels: np.ndarray
    weight: np.ndarray
    intercept: np.ndarray
    components: np.ndarray
    mean: np.ndarray

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
        scores = np.asarray(betas)[:, self.voxels] @ self.weight + self.intercept
        painted = np.clip(scores @ self.components + self.mean.ravel(), 0, 1)
        return painted.reshape(-1, *self.mean.shape).astype(np.float32)

    def to_model(self, card: dict[str, Any]) -> Model:
        """Return the painter as tensors, and a card that *card* is added to."""
        tensors = {
            "voxels": self.voxels.astype(np.int32), "weight": self.weight,
            "intercept": self.intercept, "components": self.components, "mean": self.mean,
        }
        about = {"size": len(self.mean), "n_components": len(self.components)}
        return Model(tensors, {**card, CARD: about})

    @classmethod
    def restore(cls, model: Model) -> Painter:
        """Return a painter that :meth:`to_model` stored.

        Raises
        ------
        InputError
            If the model is none.
        """
        if CARD not in model.card:
            raise InputError(
                "model that reconstructs pictures", "is another kind of model",
                "give the *_desc-painter_model.safetensors of the decoder",
            )
        tensors = model.tensors
        return cls(*(tensors[name] for name in (
            "voxels", "weight", "intercept", "components", "mean",
        )))


def fit_painter(
    train: Person, voxel_weights: np.ndarray, pictures: np.ndarray, picture_rows: np.ndarray
) -> Painter:
    """Fit the reconstruction of pictures.

    Ridge regression predicts the principal components of the training pictures from the
    decoder's voxels, with the penalty of each component cross-validated over training runs.
    Components that cannot be predicted stay at the mean of the training pictures.

    Parameters
    ----------
    train : Person
        Training trials only.
    voxel_weights : ndarray, shape (n_voxels,)
        Prior scale of each voxel's weights; zero leaves a voxel out.
    pictures : ndarray of float32, shape (n_pictures, size, size, 3)
        Training pictures, sRGB in [0, 1].
    picture_rows : ndarray of int, shape (n_trials,)
        Picture of each training trial.

    Returns
    -------
    Painter

    Raises
    ------
    LeakageError
        If a trial of *train* is not a training trial.
    """
    assert_no_test(train.trials, np.arange(len(train.trials)))
    flat = pictures.reshape(len(pictures), -1).astype(np.float64)
    mean = flat.mean(axis=0)
    left, values, right = np.linalg.svd(flat - mean, full_matrices=False)
    n_kept = min(MAX_COMPONENTS, int((values > values.max(initial=0.0) * 1e-6).sum()))
    used = np.flatnonzero(voxel_weights)
    shape = pictures.shape[1:]
    if n_kept == 0:
        return _single(mean, shape, used)
    scores = left[:, :n_kept] * values[:n_kept]
    scale = voxel_weights[used]
    fit = ridge_fit(train.betas[:, used] * scale, scores[picture_rows], train.run_groups)
    single = np.float32
    return Painter(
        used, (fit.weight * scale[:, None]).astype(single), fit.intercept.astype(single),
        right[:n_kept].astype(single), mean.reshape(shape).astype(single),
    )


def _single(mean: np.ndarray, shape: tuple[int, ...], used: np.ndarray) -> Painter:
    """Return a painter of pictures that are all the same."""
    return Painter(
        used, np.zeros((len(used), 0), np.float32), np.zeros(0, np.float32),
        np.zeros((0, len(mean)), np.float32), mean.reshape(shape).astype(np.float32),
    )
