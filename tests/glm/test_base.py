"""Which trials and runs can be estimated at all."""

from dataclasses import replace

import numpy as np
import pytest

from bids_decoder.errors import InputError
from bids_decoder.glm.base import RunShape, TrialRun, check_nuisance
from bids_decoder.glm.design import Timing
from bids_decoder.glm.hrf import get_hrf
from bids_decoder.glm.least_squares import check_degrees_of_freedom

SPM = get_hrf("spm")


def make_run(onsets, nuisance=None, **options):
    timing, n = Timing(100, 2.0), len(onsets)
    nuisance = np.ones((100, 1)) if nuisance is None else nuisance
    return TrialRun(np.zeros((100, 2), np.float32), timing, np.array(onsets, float), np.ones(n),
                    nuisance, np.ones(n, bool), np.arange(n).astype(str), **options)


def test_trials_need_a_response_within_the_run_that_no_confound_explains():
    run = make_run([20.0, 60.0, 196.9, 400.0, np.nan])
    assert 0 < np.abs(run.regressors(SPM)[:, 2]).max() < 0.1
    assert run.estimable(SPM).tolist() == [True, True, False, False, False]
    explained = replace(run, nuisance=np.column_stack([run.nuisance, run.regressors(SPM)[:, 1]]))
    assert explained.estimable(SPM).tolist() == [True, False, False, False, False]


def test_trials_of_folds_are_no_fixed_test_set():
    crossed = np.array([True, False, False])
    run = replace(make_run([10.0, 30.0, 50.0]), train=np.array([False, True, False]))
    assert run.untested.tolist() == [False, True, False]
    assert replace(run, crossed=crossed).untested.tolist() == [True, True, False]


def test_runs_keep_degrees_of_freedom():
    """Two columns of trials and one residual beside the nuisance; or one residual of all trials."""
    check_nuisance(RunShape(n_scans=13, n_trials=3, n_nuisance=10))
    check_degrees_of_freedom(RunShape(n_scans=31, n_trials=20, n_nuisance=10))
    with pytest.raises(InputError, match="12 volumes for 10"):
        check_nuisance(RunShape(n_scans=12, n_trials=3, n_nuisance=10))
    with pytest.raises(InputError, match="20 trials and 10"):
        check_degrees_of_freedom(RunShape(n_scans=30, n_trials=20, n_nuisance=10))
