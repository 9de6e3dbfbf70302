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
    shown = task.stimuli.features[task.rows[trials]].astype(np.float64)
    mean, spread = shown.mean(axis=0), shown.std(axis=0)
    spread[spread == 0] = 1.0
    features, betas = (shown - mean) / spread, task.betas[trials].astype(np.float64)
    with numpy_backend():
        ridge = KernelRidgeCV(
            alphas=ALPHAS, kernel="linear", fit_intercept=True, warn=False,
            cv=inner_folds(task.runs[trials], N_FOLDS),
        ).fit(features, betas)
        weight = np.asarray(ridge.get_primal_coef())
        bias = np.asarray(ridge.intercept_)
        penalties = np.asarray(ridge.best_alphas_)
    tensors = {"weight": weight, "bias": bias, "mean": mean, "sd": spread}
    return Model(
        {f"ridge.{name}": values.astype(np.float32) for name, values in tensors.items()},
        {"n_inputs": features.shape[1], "median_penalty": float(np.median(penalties))},
    )
