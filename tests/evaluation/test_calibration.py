"""Probabilities from scores, on trials whose true probabilities are known."""

import numpy as np
import pytest

from bids_decoder.evaluation.calibration import (
    cross_fitted,
    expected_calibration_error,
    fit_slope,
    probabilities,
    reliability,
)


def drawn(slope, n_trials=4000, n_classes=5, seed=0):
    """Scores, and answers drawn with the probabilities that they mean at this slope."""
    rng = np.random.default_rng(seed)
    scores = rng.standard_normal((n_trials, n_classes))
    chances = probabilities(scores, slope)
    true = (chances.cumsum(axis=1) < rng.random((n_trials, 1))).sum(axis=1)
    return scores, true.clip(max=n_classes - 1), chances


@pytest.mark.parametrize("slope", [0.3, 1.0, 4.0])
def test_slope_is_found_in_any_unit(slope):
    scores, true, _ = drawn(slope)
    assert fit_slope(scores, true) == pytest.approx(slope, rel=0.1)
    assert fit_slope(scores * 1e4, true) == pytest.approx(slope / 1e4, rel=0.1)


@pytest.mark.parametrize("n_candidates", [8, 200])
def test_probabilities_of_new_trials_hold_with_as_many_candidates_as_trials(n_candidates):
    scores, true, _ = drawn(4.0, n_trials=1200, n_classes=n_candidates, seed=2)
    slope = fit_slope(scores[:200], true[:200])
    chances = probabilities(scores[200:], slope)
    assert expected_calibration_error(chances, true[200:]) < 0.1


def test_slope_is_small_without_information_and_finite_without_error():
    rng = np.random.default_rng(1)
    scores, true = rng.standard_normal((300, 4)), rng.integers(0, 4, 300)
    assert probabilities(scores, fit_slope(scores, true)).max() < 0.5
    sure = np.eye(3)[np.arange(30) % 3]
    chances = probabilities(sure, fit_slope(sure, np.arange(30) % 3))
    assert 0.8 < chances.max() < 1 - 1e-3


def test_error_is_near_zero_for_true_probabilities_and_large_for_boasts():
    scores, true, chances = drawn(1.0)
    assert expected_calibration_error(chances, true) < 0.03
    assert expected_calibration_error(probabilities(scores, 10.0), true) > 0.3
    table = reliability(chances, true)
    assert table["n"].sum() == len(true)
    assert (table["confidence"] >= 1 / 5).all()


def test_each_group_is_calibrated_on_the_others():
    """One group whose scores point away from the right answer must not calibrate itself."""
    scores, true, _ = drawn(2.0, 600)
    groups = np.repeat(["a", "b"], 300)
    scores[groups == "b"] *= -1
    found = cross_fitted(scores, true, groups)
    assert found[groups == "a"] == pytest.approx(
        probabilities(scores[groups == "a"], fit_slope(scores[groups == "b"], true[groups == "b"]))
    )
    assert found[groups == "a"].max() < 0.3 < found[groups == "b"].max()
    with pytest.raises(ValueError, match="one group"):
        cross_fitted(scores, true, np.repeat("a", 600))
