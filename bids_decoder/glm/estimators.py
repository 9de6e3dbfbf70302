"""Registry of single-trial estimators: a name and what builds it."""

from __future__ import annotations

from collections.abc import Callable

from bids_decoder.errors import UsageError
from bids_decoder.glm.base import EstimatorOptions, SingleTrialEstimator
from bids_decoder.glm.glmsingle import GlmSingle
from bids_decoder.glm.least_squares import LeastSquaresAll, LeastSquaresSeparate
from bids_decoder.glm.likelihood_ridge import LikelihoodRidge
from bids_decoder.glm.single_volume import SingleVolume

ESTIMATORS: dict[str, Callable[[EstimatorOptions], SingleTrialEstimator]] = {
    "ridge": LikelihoodRidge,
    "lss": LeastSquaresSeparate,
    "lsa": LeastSquaresAll,
    "glmsingle": GlmSingle,
    "volume": SingleVolume,
}

NOISE_MODELS = ("ols", "ar1")
"""Of the estimators by least squares; the others say that they do not use it."""


def get_estimator(name: str, options: EstimatorOptions | None = None) -> SingleTrialEstimator:
    """Build an estimator by name.

    Parameters
    ----------
    name : str
        Key of :data:`ESTIMATORS`.
    options : EstimatorOptions or None

    Returns
    -------
    SingleTrialEstimator

    Raises
    ------
    UsageError
        For unknown names, of the estimator or of the noise model.
    """
    options = options or EstimatorOptions()
    if name not in ESTIMATORS:
        raise UsageError(
            f"estimator {name!r}", "no such single-trial estimator",
            f"use one of {', '.join(ESTIMATORS)}",
        )
    if options.noise_model not in NOISE_MODELS:
        raise UsageError(
            f"noise model {options.noise_model!r}", "no such noise model",
            f"use one of {', '.join(NOISE_MODELS)}",
        )
    return ESTIMATORS[name](options)
