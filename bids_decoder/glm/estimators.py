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
        For unknown names.
    """
    if name not in ESTIMATORS:
        raise UsageError(
            f"estimator {name!r}", "no such single-trial estimator",
            f"use one of {', '.join(ESTIMATORS)}",
        )
    return ESTIMATORS[name](options or EstimatorOptions())
