"""The usual two-step encoding model: ridge regression of each voxel on given features."""

from __future__ import annotations

import numpy as np
from himalaya.kernel_ridge import KernelRidgeCV

from bids_decoder.evaluation.folds import inner_folds
from bids_decoder.evaluation.ridge import numpy_backend
from bids_decoder.evaluation.voxelwise import voxel_correlations
from bids_decoder.models.store import Model
from bids_decoder.training.encoders import Choice, EncodeContext, Encoder, EncodingTask, Stimuli

ALPHAS = np.logspace(0, 7, 15)
"""Ridge penalties for standardised features."""

N_FOLDS = 5

_VALUES = 1 << 25
"""Responses, or weights, that are fitted at a time."""


class VoxelwiseRidge(Encoder):
    """Ridge regression with himalaya, the penalty of each voxel cross-validated over runs.

    Region, inner split, selection of voxels and calibration are those of the other encoders.

    References
    ----------
    Dupré la Tour et al. 2022, NeuroImage 264.
    """

    name = "ridge"

    def choose(self, task: EncodingTask, context: EncodeContext) -> Choice:
        """Score voxels on the inner split; see :class:`.encoders.Encoder`."""
        fitted, held = task.inner
        model = _fit(task, fitted)
        predicted = self.predict(model, task.stimuli)[task.rows[held]]
        return Choice(voxel_correlations(predicted, task.betas[held]))

    def fit(self, task: EncodingTask, choice: Choice, context: EncodeContext) -> Model:
        """Fit to all training trials; see :class:`.encoders.Encoder`."""
        return _fit(task, np.arange(len(task.rows)))

    def predict(self, model: Model, stimuli: Stimuli) -> np.ndarray:
        """Apply the weights; see :class:`.encoders.Encoder`."""
        part = model.part("ridge")
        features = (stimuli.features - part["mean"]) / part["sd"]
        return (features @ part["weight"] + part["bias"]).astype(np.float32)


def _fit(task: EncodingTask, trials: np.ndarray) -> Model:
    features = task.stimuli.features[task.rows[trials]].astype(np.float64)
    mean, spread = features.mean(axis=0), features.std(axis=0)
    spread[spread == 0] = 1.0
    features -= mean
    features /= spread
    folds = inner_folds(task.runs[trials], N_FOLDS)
    # Voxels are independent of each other; all of them in double precision would be the largest
    # array of the analysis.
    size = max(1, _VALUES // max(features.shape))
    parts = [
        _fit_voxels(features, task.betas[trials, start:start + size], folds)
        for start in range(0, task.betas.shape[1], size)
    ]
    weights, biases, penalties = zip(*parts, strict=True)
    tensors = {
        "weight": np.concatenate(weights, axis=1), "bias": np.concatenate(biases),
        "mean": mean, "sd": spread,
    }
    return Model(
        {f"ridge.{name}": values.astype(np.float32) for name, values in tensors.items()},
        {"n_inputs": features.shape[1], "median_penalty": float(np.median(np.hstack(penalties)))},
    )


def _fit_voxels(
    features: np.ndarray, betas: np.ndarray, folds: list[tuple[np.ndarray, np.ndarray]]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return weights (n_inputs, n_voxels), intercepts and penalties (n_voxels,) of some voxels."""
    with numpy_backend():
        ridge = KernelRidgeCV(
            alphas=ALPHAS, kernel="linear", fit_intercept=True, warn=False, cv=folds
        ).fit(features, betas.astype(np.float64))
        weight = np.asarray(ridge.get_primal_coef(), dtype=np.float32)
        return weight, np.asarray(ridge.intercept_), np.asarray(ridge.best_alphas_)
