"""Single-trial responses as a transformer of scikit-learn."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import nibabel as nib
import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator

from bids_decoder.api.images import ArrayError, Voxels, as_list, find_voxels, read_array
from bids_decoder.config import Glm
from bids_decoder.glm.base import EstimatorOptions, TrialRun, check_runs, percent_signal_change
from bids_decoder.glm.design import Timing, nuisance_matrix
from bids_decoder.glm.estimators import get_estimator
from bids_decoder.glm.run_tables import RunTables, run_tables

LOST = "no response within the run"
LEAST_MEAN = 0.01  # of the SD over time; raw BOLD has means far above its SD


class TrialResponses(NamedTuple):
    """What :meth:`TrialEstimator.fit_transform` returns.

    Parameters
    ----------
    betas : ndarray of float32, shape (n_trials, n_voxels)
        Height of the response to each trial, in percent signal change.
    trials : DataFrame, n_trials rows
        Rows of the events with their columns, and ``run``: number of the run, from 1.
    """

    betas: np.ndarray
    trials: pd.DataFrame


class TrialEstimator(BaseEstimator):
    """Estimate one response per trial and voxel from BOLD runs.

    The estimators of the app, fitted to all runs of one participant.

    Parameters
    ----------
    estimator : {"ridge", "lss", "lsa", "glmsingle", "volume"}
        Ridge regression with a penalty per voxel by marginal likelihood; least squares separate;
        least squares all; an estimator after GLMsingle; a single volume.
    t_r : float
        Repetition time in seconds.
    hrf : str
        Haemodynamic response: ``spm``, ``glover``, or a number of the library.
    high_pass : float
        Cut-off of the drift model in Hz; 0 leaves the constant.
    noise_model : {"ols", "ar1"}
    slice_time_ref : float
        Reference time of the volumes, as a share of the repetition time; 0.5 for data of fMRIPrep
        with slice timing correction.
    mask_img : image, path, or masker of nilearn, optional
        Needed for images. A masker reads them as it is set.

    Attributes
    ----------
    estimator_ : object
        The estimator of :mod:`bids_decoder.glm`.
    estimates_ : object
        Its choices per voxel (``maps``) and ``notes``.
    lost_ : DataFrame
        Trials that cannot be estimated and are left out: without onset, or without a response
        within the run.
    mask_img_ : image
        Where a mask was given.

    Notes
    -----
    Hyperparameters depend neither on labels nor on repeats of trials, so that the responses
    may be cross-validated. Where events have a column ``split``, trials that are ``train`` there
    may be used for all choices of the estimator, and those that are ``test`` for none.

    Examples
    --------
    >>> import numpy as np, pandas as pd
    >>> from bids_decoder import TrialEstimator
    >>> rng = np.random.default_rng(0)
    >>> bold = 100 + rng.standard_normal((120, 6))           # volumes by voxels
    >>> events = pd.DataFrame({"onset": np.arange(5, 200, 15.0), "duration": 2.0,
    ...                        "trial_type": ["face", "house"] * 6 + ["face"]})
    >>> betas, trials = TrialEstimator(t_r=2.0).fit_transform(bold, events)
    >>> betas.shape, trials.columns.tolist()
    ((13, 6), ['onset', 'duration', 'trial_type', 'run'])
    """

    def __init__(
        self, estimator: str = "ridge", t_r: float = 2.0, *, hrf: str = "spm",
        high_pass: float = 1 / 128, noise_model: str = "ols", slice_time_ref: float = 0.0,
        mask_img: Any = None,
    ) -> None:
        self.estimator = estimator
        self.t_r = t_r
        self.hrf = hrf
        self.high_pass = high_pass
        self.noise_model = noise_model
        self.slice_time_ref = slice_time_ref
        self.mask_img = mask_img

    def fit(self, bold: Any, events: Any, confounds: Any = None) -> TrialEstimator:
        """Estimate responses and forget them; see :meth:`fit_transform`."""
        self.fit_transform(bold, events, confounds)
        return self

    def fit_transform(self, bold: Any, events: Any, confounds: Any = None) -> TrialResponses:
        """Estimate the response to each trial.

        Parameters
        ----------
        bold : array (n_scans, n_voxels), 4-D image or path, or a list of them
            One for each run; not demeaned.
        events : DataFrame, or a list of them
            One for each run, with ``onset`` and ``duration`` in seconds, and any other columns;
            ``stimulus`` (or ``trial_type``) says which trials are repeats.
        confounds : DataFrame, or a list of them, optional
            Regressors of no interest, one row per volume; all columns are used.

        Returns
        -------
        TrialResponses
            ``betas`` and ``trials``, in the order of the runs and of their events.

        Raises
        ------
        ArrayError
            If numbers of runs, volumes or voxels do not fit, BOLD is demeaned, BOLD or confounds
            are not finite, events are no tables, or *high_pass* is below 0.
        InputError, UsageError
            For events that cannot be used, too few volumes, unknown estimators.
        """
        if not self.high_pass >= 0:
            raise ArrayError(
                f"high_pass {self.high_pass}", "it is no cut-off", "give Hz, or 0 for the constant"
            )
        voxels = None if self.mask_img is None else find_voxels(self.mask_img)
        runs, tables = self._runs(bold, events, confounds, voxels)
        self.estimator_ = get_estimator(
            self.estimator, EstimatorOptions(self.hrf, self.noise_model)
        )
        betas = [np.empty((run.n_trials, run.bold.shape[1]), np.float32) for run in runs]
        check_runs(self.estimator_, runs, betas)
        self.estimates_ = self.estimator_.estimate(runs, betas)
        if voxels is not None:
            self.mask_img_ = voxels.mask_img
        kept = np.concatenate(self.estimates_.estimable)
        trials = pd.concat(tables, ignore_index=True)
        lost = trials[~kept].reset_index(drop=True)
        self.lost_ = lost.assign(reason=np.where(lost["onset"].isna(), "no onset", LOST))
        return TrialResponses(np.concatenate(betas)[kept], trials[kept].reset_index(drop=True))

    def _runs(
        self, bold: Any, events: Any, confounds: Any, voxels: Voxels | None
    ) -> tuple[list[TrialRun], list[pd.DataFrame]]:
        """Return the runs as the estimators read them, and their events."""
        series = as_list(bold, _is_one_run(bold))
        tables = as_list(events, isinstance(events, pd.DataFrame))
        extra: Sequence[Any] = [None] * len(series)
        if confounds is not None:
            extra = as_list(confounds, isinstance(confounds, pd.DataFrame))
        if not len(series) == len(tables) == len(extra):
            raise ArrayError(
                "runs", f"{len(series)} BOLD runs, {len(tables)} events tables, {len(extra)} "
                "confounds tables", "give one of each for every run",
            )
        found, described = [], []
        for number, (one, table, own) in enumerate(zip(series, tables, extra, strict=True), 1):
            data = np.array(read_array(one, voxels), dtype=np.float32, ndmin=2)
            _check_bold(data, number)
            percent_signal_change(data)
            found.append(self._tables(table, number, len(data), own).trial_run(data))
            described.append(table.reset_index(drop=True).assign(run=number))
        return found, described

    def _tables(
        self, events: pd.DataFrame, number: int, n_scans: int, confounds: pd.DataFrame | None
    ) -> RunTables:
        """Check the events of a run as those of the app's trial tables."""
        if not isinstance(events, pd.DataFrame):
            raise ArrayError(
                f"events of run {number}", f"they are of type {type(events).__name__}",
                "give a DataFrame with the columns onset and duration",
            )
        timing = Timing(n_scans, self.t_r, self.slice_time_ref * self.t_r)
        glm = Glm(
            self.estimator, self.hrf, self.high_pass, ("none",), self.noise_model  # type: ignore[arg-type]
        )
        named = [name for name in ("stimulus", "trial_type") if name in events]
        trials = events.reset_index(drop=True).assign(
            stimulus=events[named[0]].to_numpy() if named else [str(k) for k in range(len(events))],
            split=events["split"].to_numpy() if "split" in events else "cv",
            excluded="False", reason=None, run_group=f"run-{number}",
        )
        tables = run_tables(trials, timing, None, glm)
        if confounds is None:
            return tables
        if len(confounds) != n_scans:
            raise ArrayError(
                f"confounds of run {number}", f"{len(confounds)} rows for {n_scans} volumes",
                "give one row per volume",
            )
        numbers = confounds.apply(pd.to_numeric, errors="coerce")
        bad = confounds.columns[~np.isfinite(numbers.to_numpy(dtype=float)).all(axis=0)]
        if len(bad):
            raise ArrayError(
                f"confounds of run {number}",
                f"{len(bad)} columns hold other than finite numbers: "
                f"{', '.join(map(str, bad[:3]))}; the first "
                "rows of derivatives are n/a in tables of fMRIPrep",
                "fill them, for instance with 0 or the mean, or drop these columns",
            )
        return replace(tables, nuisance=nuisance_matrix(timing, self.high_pass, numbers))


def _check_bold(data: np.ndarray, number: int) -> None:
    """Refuse BOLD (n_scans, n_voxels) that is not finite, or has no mean to be a percentage of."""
    broken = ~np.isfinite(data).all(axis=0)
    if broken.any():
        raise ArrayError(
            f"BOLD of run {number}", f"{broken.sum()} of {len(broken)} voxels have volumes that "
            "are not finite", "leave these voxels out of the mask, or mend the volumes",
        )
    spread = data.std(axis=0, dtype=np.float64)
    is_flat = np.abs(data.mean(axis=0, dtype=np.float64)) < LEAST_MEAN * spread
    if is_flat.sum() > np.count_nonzero(spread) / 2:
        raise ArrayError(
            f"BOLD of run {number}", f"the mean of {is_flat.sum()} of {len(spread)} voxels is "
            "about zero, so that there is no percent signal change",
            "give BOLD that is neither demeaned nor z-scored",
        )


def _is_one_run(bold: Any) -> bool:
    """Return whether data are one run: an array of numbers, an image, a path."""
    is_array = isinstance(bold, np.ndarray) and bold.dtype != object and bold.ndim == 2
    return is_array or not isinstance(bold, list | tuple | np.ndarray) or isinstance(
        bold, nib.spatialimages.SpatialImage
    )
