"""One volume per trial without a model of the response, for decoders of single volumes."""

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

FLAT = 1e-6


@dataclass(frozen=True)
class SingleVolume:
    """The volume at which a trial's expected response is largest, cleaned and scaled in its run.

    Drifts and confounds are regressed out of the run and each voxel is z-scored over all volumes
    of the run, with or without trials, as for DeepLight.

    References
    ----------
    Thomas et al. 2021, Evaluating deep transfer learning for whole-brain cognitive decoding,
    arXiv 2111.01562.
    """

    options: EstimatorOptions = field(default_factory=EstimatorOptions)

    def check(self, shape: RunShape) -> None:
        """Refuse runs with too few volumes for the nuisance."""
        check_nuisance(shape)

    def estimate(self, runs: Sequence[TrialRun], out: Sequence[np.ndarray]) -> Estimates:
        """Fill *out*; see :class:`bids_decoder.glm.base.SingleTrialEstimator`."""
        check_runs(self, runs, out)
        hrf = get_hrf(self.options.hrf)
        estimable = tuple(run.estimable(hrf) for run in runs)
        for run, place, usable in zip(runs, out, estimable, strict=True):
            scans = run.regressors(hrf).argmax(axis=0)
            basis = nuisance_basis(run.nuisance)
            for chunk in chunks(run.bold.shape[1], self.options.chunk_voxels):
                clean = residualise(basis, np.asarray(run.bold[:, chunk], dtype=np.float64))
                spread = clean.std(axis=0)
                scaled = np.divide(clean, spread, out=np.zeros_like(clean), where=spread > FLAT)
                place[:, chunk] = scaled[scans] * usable[:, None]
        return Estimates(
            estimable, notes=(f"volume at the peak of the response {self.options.hrf}",)
        )
