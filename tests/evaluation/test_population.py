"""Statistics of a measure over participants: who counts, and in which direction."""

import numpy as np
import pandas as pd
import pytest

from bids_decoder.evaluation.pooling import new_participant, random_effects
from bids_decoder.evaluation.population import (
    LEAST_BOOTSTRAP,
    Measure,
    Variable,
    describe,
    prevalence,
    relate,
)


def measure(values, half=0.1, p=0.01, p_min=0.01, nulls=None, **options):
    values = np.asarray(values, dtype=float)
    scores = pd.DataFrame({
        "participant": [f"sub-{k}" for k in range(len(values))], "value": values, "chance": 0.5,
        "ci_low": values - half, "ci_high": values + half, "p": p, "p_min": p_min, "n": 40,
    })
    baselines = options.pop("baselines", {})
    return Measure(scores, baselines, nulls or [np.empty(0)] * len(values), **options)


def rows_of(found, statistic):
    return [row for row in found if row["statistic"] == statistic]


def test_participants_whose_test_cannot_reach_the_level_do_not_count():
    """A p of the level itself is significant."""
    p, least = [0.05, 0.01, 0.2, 0.2, np.nan], [0.01, 0.01, 0.01, 0.2, 0.01]
    found = measure([0.6] * 5, p=p, p_min=least)
    (row,) = rows_of(prevalence(found), "prevalence_bayesian")
    assert (row["n"], row["n_significant"]) == (3, 2)


@pytest.mark.parametrize(("values", "best"), [(0.2, True), (0.9, False)])
def test_where_less_is_better_small_errors_are_information(values, best):
    rng = np.random.default_rng(0)
    nulls = [rng.normal(0.5, 0.02, 19) for _ in range(4)]
    found = measure([values] * 4, nulls=nulls, higher_is_better=False, bounds=(0.0, 1.0),
                    baselines={"mean": np.full(4, 0.5)})
    (row,) = rows_of(prevalence(found), "prevalence_permutation")
    assert (row["p"] < 0.01) == best and (row["p"] == 1) != best
    (gap,) = rows_of(describe(found, rng), "difference")
    assert gap["value"] == pytest.approx(0.5 - values)


def test_the_mean_is_that_of_random_effects_with_the_errors_of_the_intervals():
    values = np.array([0.55, 0.7, 0.62, 0.81])
    found = describe(measure(values, half=0.098, bounds=(0.0, 1.0)), np.random.default_rng(0))
    expected = random_effects(values, np.full(4, 0.05), (0.0, 1.0))
    (row,) = rows_of(found, "mean")
    assert row["value"] == pytest.approx(expected.mean) and row["chance"] == 0.5
    assert (row["ci_low"], row["ci_high"]) == pytest.approx((expected.ci_low, expected.ci_high))
    (spread,) = rows_of(found, "sd_between")
    assert spread["value"] == pytest.approx(expected.sd_between) and spread["value"] > 0.05


@pytest.mark.parametrize("n_people", [LEAST_BOOTSTRAP - 1, LEAST_BOOTSTRAP])
def test_the_bootstrap_needs_some_participants(n_people):
    values = np.linspace(0.5, 0.8, n_people)
    found = describe(measure(values), np.random.default_rng(0))
    methods = [row["method"] for row in rows_of(found, "mean")]
    assert len(methods) == 1 + (n_people >= LEAST_BOOTSTRAP)


def test_groups_are_compared_second_less_first_among_those_with_a_block():
    values = np.array([0.5, 0.52, 0.54, 0.8, 0.82, 0.84, 0.1])
    groups = np.array(["ctl", "ctl", "ctl", "pat", "pat", "pat", "pat"], dtype=object)
    blocks = np.array(["s1", "s2", "s1", "s1", "s2", "s1", None], dtype=object)
    found = relate(
        measure(values), Variable("group", True, groups, blocks), np.random.default_rng(0)
    )
    (row,) = rows_of(found, "group_difference")
    assert row["value"] == pytest.approx(0.3, abs=0.02) and row["n"] == 6
    assert row["method"].endswith("within blocks, pat less ctl")
    means = {row["against"]: row["value"] for row in rows_of(found, "group_mean")}
    assert means == {"ctl": pytest.approx(0.52), "pat": pytest.approx(0.82)}


def test_limits_end_at_possible_values():
    found = random_effects(np.array([0.7, 0.98, 0.99]), np.full(3, 0.02), (0.0, 1.0))
    assert found.method.startswith("random effects")
    assert 0 < found.ci_low < 1 and found.ci_high == 1
    # With three participants the true score of a fourth may be anything.
    assert new_participant(found, (0.0, 1.0)) == (0, 1)
