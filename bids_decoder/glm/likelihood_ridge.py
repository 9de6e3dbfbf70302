"""All trials in one model with a ridge penalty per voxel that needs neither labels nor repeats.

Between the two classical estimators: with a weak penalty it is LSA, which keeps trials apart but
amplifies noise where responses overlap; with a strong one it becomes proportional to the
projection of the data on each trial, as robust as LSS but mixed with its neighbours. A decoder
averages noise over voxels, but not the mixing, which is the same in all of them; hence the
penalty is weaker, by :data:`RELAXATION`, than the one with the least error in a single voxel.
``benchmarks/estimators.py`` measures all this.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from bids_decoder.glm.base import (
    Estimates,
    EstimatorOptions,
    RunShape,
    TrialRun,
    check_nuisance,
    check_runs,
    chunks,
    nuisance_basis,
    residualise,
)
from bids_decoder.glm.hrf import get_hrf
from bids_decoder.glm.likelihood import response_ratio
from bids_decoder.glm.ridge import RidgePath

RELAXATION = 10.0


@dataclass(frozen=True)
class LikelihoodRidge:
    """Ridge regression over the trials of a run; see the module.

    Parameters
    ----------
    options : EstimatorOptions
        The noise model is always ordinary least squares: prewhitening made no decoder better.
    """

    options: EstimatorOptions = field(default_factory=EstimatorOptions)

    def check(self, shape: RunShape) -> None:
        """Refuse runs with too few volumes for the nuisance."""
        check_nuisance(shape)

    def estimate(self, runs: Sequence[TrialRun], out: Sequence[np.ndarray]) -> Estimates:
        """Fill *out*; see :class:`bids_decoder.glm.base.SingleTrialEstimator`.

        The map ``responseratio`` is the variance of responses over that of the noise.
        """
        check_runs(self, runs, out)
        hrf, size = get_hrf(self.options.hrf), self.options.chunk_voxels
        n_voxels = runs[0].bold.shape[1]
        ratio = response_ratio(runs, hrf, np.arange(n_voxels), size)
        penalty = likelihood_penalty(ratio)
        estimable = tuple(run.estimable(hrf) for run in runs)
        for run, place, usable in zip(runs, out, estimable, strict=True):
            basis = nuisance_basis(run.nuisance)
            path = RidgePath.of(residualise(basis, run.regressors(hrf)))
            for voxels in chunks(n_voxels, size):
                rotated = path.rotate(np.asarray(run.bold[:, voxels], dtype=np.float32))
                betas = path.weights(rotated, penalty[voxels])
                place[:, voxels] = np.where(usable[:, None], betas, 0.0)
        notes = [f"response model {self.options.hrf}", likelihood_note(runs, ratio)]
        if self.options.noise_model != "ols":
            notes.append(f"noise model {self.options.noise_model} is not used with ridge")
        return Estimates(estimable, {"responseratio": ratio}, tuple(notes))


def likelihood_penalty(ratio: np.ndarray) -> np.ndarray:
    """Convert variance ratios (n_voxels,) to the penalties for decoding."""
    return 1.0 / (RELAXATION * ratio.astype(np.float64))


def likelihood_note(runs: Sequence[TrialRun], ratio: np.ndarray) -> str:
    """Describe how the penalties were chosen."""
    n_seen = sum(int(run.untested.sum()) for run in runs)
    n_all = sum(run.n_trials for run in runs)
    return (
        f"ridge penalty per voxel by marginal likelihood, without labels, over {n_seen} of "
        f"{n_all} trials; median ratio of response to noise variance {float(np.median(ratio)):.3g}"
    )
