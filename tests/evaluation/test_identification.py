from itertools import combinations, product

import numpy as np
import pytest

from bids_decoder.evaluation.identification import (
    FoldMatch,
    Prediction,
    compare_identification,
    dimension_correlation,
    match_fold,
    pair_wins,
    profile_correlations,
    score_identification,
    stack_matches,
    top1_hits,
)
from bids_decoder.evaluation.nulls import exchange_stimuli

N_DIMS, N_FEATURES = 5, 7


def make_fold(n_stimuli, signal, seed, n_repeats=3):
    rng = np.random.default_rng(seed)
    gallery = rng.standard_normal((n_stimuli, N_DIMS))
    shown = rng.standard_normal((n_stimuli, N_FEATURES))
    stimulus_of = rng.permutation(np.repeat(np.arange(n_stimuli), n_repeats))
    values = signal * gallery[stimulus_of] + rng.standard_normal((len(stimulus_of), N_DIMS))
    features = signal * shown[stimulus_of] + rng.standard_normal((len(stimulus_of), N_FEATURES))
    return Prediction(values, gallery, features, shown), stimulus_of


def cosine(a, b):
    return a @ b / np.linalg.norm(a) / np.linalg.norm(b)


def matches(signal, seed=0, sizes=(4, 4, 5)):
    return [match_fold(*make_fold(size, signal, [seed, k])) for k, size in enumerate(sizes)]


@pytest.mark.parametrize("unit", ["single", "averaged"])
def test_pairs_as_in_a_direct_loop(unit):
    found, stimulus_of = make_fold(4, 0.7, 1)
    unit_length = found.values / np.linalg.norm(found.values, axis=1, keepdims=True)
    responses = {
        k: found.values[stimulus_of == k] if unit == "single"
        else [unit_length[stimulus_of == k].mean(axis=0)] for k in range(4)
    }
    wins = pair_wins(match_fold(found, stimulus_of), unit)[0]
    for i, j in combinations(range(4), 2):
        right = [
            cosine(a, found.gallery[i]) + cosine(b, found.gallery[j])
            > cosine(a, found.gallery[j]) + cosine(b, found.gallery[i])
            for a, b in product(responses[i], responses[j])
        ]
        assert wins[i, j] == wins[j, i] == pytest.approx(np.mean(right))
    assert (np.diagonal(wins) == 0).all()


def test_top1_is_the_mean_over_all_pools():
    found, stimulus_of = make_fold(5, 0.7, 2)
    fold = match_fold(found, stimulus_of)
    hits = top1_hits(fold, "single", 3)[0]
    for trial, own in enumerate(stimulus_of):
        others = [k for k in range(5) if k != own]
        best = [
            fold.single[0, trial, own] > fold.single[0, trial, list(pool)].max()
            for pool in combinations(others, 2)
        ]
        assert hits[trial] == pytest.approx(np.mean(best))


def test_constant_predictions_are_at_chance():
    found, stimulus_of = make_fold(4, 1.0, 3)
    found = Prediction(
        np.ones_like(found.values), np.eye(4, N_DIMS), np.zeros_like(found.features), found.shown
    )
    fold = match_fold(found, stimulus_of)
    for unit in ("single", "averaged"):
        wins = pair_wins(fold, unit)[0]
        assert (wins[~np.eye(4, dtype=bool)] == 0.5).all()
        np.testing.assert_allclose(top1_hits(fold, unit, 3), 1 / 3)
    assert (profile_correlations([fold]) == 0).all() and dimension_correlation([fold])[0] == 0


def test_correlations_as_numpy_computes_them():
    folds = matches(0.8)
    own = [np.corrcoef(p, t)[0, 1] for f in folds for p, t in zip(*f.profiles[0], strict=True)]
    np.testing.assert_allclose(profile_correlations(folds)[0], own, rtol=1e-5)
    centred = np.concatenate(
        [f.profiles[0] - f.profiles[0].mean(axis=1, keepdims=True) for f in folds], axis=1
    )
    by_feature = [
        np.corrcoef(centred[0, :, d], centred[1, :, d])[0, 1] for d in range(N_FEATURES)
    ]
    assert dimension_correlation(folds)[0] == pytest.approx(np.mean(by_feature), rel=1e-5)


def test_scores_of_all_folds_together():
    folds = matches(3.0)
    nulls = [stack_matches([matches(0.0, seed)[k] for seed in range(1, 40)]) for k in range(3)]
    metrics, table = score_identification(folds, nulls, {"ExchangedUnits": "stimuli"}, 0.025, "m")
    assert (metrics["p"] == 1 / 40).all() and (metrics["null"] == "refitted").all()
    assert (metrics["ci_low"] <= metrics["value"]).all()
    assert (metrics["value"] <= metrics["ci_high"]).all()
    assert (metrics["n"] == 13).all() and set(metrics["pool_size"].dropna()) == {2, 4}
    assert len(table.table) == len(metrics) * 39 and table.scheme["ExchangedUnits"] == "stimuli"
    # A fold with one stimulus has no pairs.
    with_one, _ = score_identification([*folds, *matches(1.0, 9, (1,))], [], {}, np.nan, "m")
    np.testing.assert_allclose(with_one["value"], metrics["value"])
    assert with_one["p"].isna().all() and (with_one["null"] == "none").all()


def test_difference_of_models_over_folds():
    good, bad = matches(3.0), matches(0.0, 5)
    found = compare_identification(good, bad)
    assert found["value"] > 0.2 and found["test"] == "corrected t" and found["n"] == 3
    turned = compare_identification(bad, good)
    assert turned["value"] == -found["value"] and turned["p"] == found["p"]
    assert compare_identification(good, good)["p"] == 1


def test_the_difference_of_means_of_folds_is_no_correlation():
    # Training without large values predicts small ones: folds differ against the truth.
    truth = np.repeat([0.0, 10.0], 4)[:, None] + np.arange(8)[:, None] % 4
    folds = [
        FoldMatch(np.arange(4), np.zeros((1, 4, 4)), np.zeros((1, 4, 4)),
                  np.stack([(10 - truth[rows].mean()) + truth[rows], truth[rows]])[None])
        for rows in (slice(4), slice(4, 8))
    ]
    assert dimension_correlation(folds)[0] == pytest.approx(1)


def test_stimuli_are_exchanged_with_their_groups():
    stimuli = np.array(["a", "b", "c", "d", "e", "f"] * 2)
    runs = np.repeat(["1", "2"], 6)
    exchange, members = exchange_stimuli(stimuli, runs, [["a", "d"], ["c", "f"], ["x", "y"]])
    assert exchange.kind == "stimuli" and members.shape == (4, 2)
    drawn = exchange.draw(20, np.random.default_rng(0))
    assert (drawn[:, :6] == drawn[:, 6:]).all()
    sizes = (members >= 0).sum(axis=1)
    own = exchange.draw(1, np.random.default_rng(0))[0]
    assert (sizes[own] == sizes[exchange.unit_of]).all()
    # Two groups of two, two single stimuli.
    assert exchange.smallest_p(10**6) == pytest.approx(1 / 4)
    confined = exchange_stimuli(stimuli[:6], np.repeat(["1", "2"], 3))[0]
    assert confined.kind == "stimuli within runs"
    assert confined.smallest_p(10**6) == pytest.approx(1 / 36)


def test_noise_of_pairs_is_not_counted_twice():
    """Which of two pictures is right is a coin for each pair: 1,225 independent trials."""
    rng = np.random.default_rng(6)
    cosines = rng.uniform(-1, 1, (1, 50, 50))
    cosines[0, range(50), range(50)] = 0
    fold = FoldMatch(np.arange(50), cosines, cosines, rng.normal(size=(1, 2, 50, 4)))
    table = score_identification([fold], [], {}, np.nan, "m").metrics
    (row,) = table.query("metric == 'two_way' and unit == 'averaged'").to_dict("records")
    half = 2.01 * np.sqrt(row["value"] * (1 - row["value"]) / (50 * 49 / 2))
    assert row["ci_high"] - row["ci_low"] == pytest.approx(2 * half, rel=0.1)


def test_features_that_do_not_vary_are_left_out():
    rng = np.random.default_rng(7)
    profiles = rng.normal(size=(1, 2, 6, 2))
    profiles[0, 1, :, 1] = 3.0
    fold = FoldMatch(np.arange(6), np.zeros((1, 6, 6)), np.zeros((1, 6, 6)), profiles)
    expected = np.corrcoef(profiles[0, :, :, 0])[0, 1]
    assert dimension_correlation([fold])[0] == pytest.approx(expected)
