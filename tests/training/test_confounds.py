"""Confounds of trials: regressors, and their removal with weights of the training trials."""

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LinearRegression

from bids_decoder.training.confounds import confound_design, remove_confounds

N, N_VOXELS = 24, 5
GROUPS = np.repeat(["run-1", "run-2", "run-3"], N // 3)
TRAIN = GROUPS != "run-3"


@pytest.fixture
def drawn():
    rng = np.random.default_rng(0)
    values = pd.Series(rng.normal(size=N), name="response_time")
    betas = rng.normal(size=(N, N_VOXELS)) + 2 * values.to_numpy()[:, None]
    return values, betas.astype(np.float32)


def test_what_remains_is_what_least_squares_on_training_trials_leaves(drawn):
    values, betas = drawn
    design = confound_design(values, GROUPS, TRAIN)
    cleaned = remove_confounds(betas, design, TRAIN)
    model = LinearRegression().fit(design[TRAIN], betas[TRAIN])
    np.testing.assert_allclose(cleaned, betas - design @ model.coef_.T, atol=1e-5)
    slopes = LinearRegression().fit(design[TRAIN], cleaned[TRAIN]).coef_
    np.testing.assert_allclose(slopes, 0, atol=1e-5)


def test_test_trials_change_nothing_of_what_is_fitted(drawn):
    values, betas = drawn
    other = betas.copy()
    other[~TRAIN] = 100 - 3 * other[~TRAIN]
    changed = values.where(TRAIN, -5 * values + 7)
    # One z-score over all trials: within a run, test trials are scaled by their own statistics.
    session = np.full(N, "1")
    first, second = (confound_design(column, session, TRAIN) for column in (values, changed))
    np.testing.assert_array_equal(first[TRAIN], second[TRAIN])
    cleaned = remove_confounds(betas, first, TRAIN)
    np.testing.assert_array_equal(remove_confounds(other, second, TRAIN)[TRAIN], cleaned[TRAIN])
    # The weights are the same: the same test trials with the same confound are cleaned equally.
    swapped = np.where(TRAIN[:, None], other, betas)
    np.testing.assert_array_equal(remove_confounds(swapped, first, TRAIN), cleaned)


def test_one_test_trial_changes_no_other(drawn):
    values, betas = drawn
    design = confound_design(values, np.full(N, "1"), TRAIN)
    cleaned = remove_confounds(betas, design, TRAIN)
    alone = betas.copy()
    alone[-1] += 50
    changed = remove_confounds(alone, design, TRAIN)
    np.testing.assert_array_equal(changed[:-1], cleaned[:-1])
    assert (changed[-1] != cleaned[-1]).all()


def test_words_that_occur_only_in_test_have_no_regressor():
    words = pd.Series(["left", "right"] * 8 + ["both"] * 8)
    design = confound_design(words, np.full(N, "1"), TRAIN)
    assert design.shape == (N, 2)
    assert len(np.unique(design[~TRAIN], axis=0)) == 1


def test_missing_numbers_are_the_mean_of_training_and_marked(drawn):
    values, _ = drawn
    holes = values.mask(np.arange(N) % 7 == 0)
    design = confound_design(holes, np.full(N, "1"), TRAIN)
    assert design.shape == (N, 2) and np.isfinite(design).all()
    np.testing.assert_allclose(design[holes.isna() & TRAIN, 0], 0, atol=1e-6)
    only_test = values.mask(np.arange(N) == N - 1)
    assert confound_design(only_test, np.full(N, "1"), TRAIN).shape == (N, 1)
