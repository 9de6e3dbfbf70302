"""Counterbalancing leaves labels that do not follow confounds, and does not bias decoding."""

import numpy as np
import pandas as pd
import pytest

from bids_decoder.evaluation.counterbalance import match_labels
from bids_decoder.evaluation.ridge import ridge_predict

NAMES = np.array(["a", "b", "c"])


def draw(seed, n=240, n_labels=2):
    rng = np.random.default_rng(seed)
    rows = rng.integers(0, n_labels, n)
    slow = 0.8 * rows + rng.normal(0, 1, n)
    hand = np.where(rng.random(n) < 0.5 + 0.25 * (rows == 0), "left", "right")
    runs = np.repeat([f"run-{k}" for k in range(4)], n // 4)
    return rng, rows, pd.DataFrame({"slow": slow, "hand": hand}), runs


@pytest.mark.parametrize("n_labels", [2, 3])
def test_labels_have_the_same_confounds(n_labels):
    _, rows, confounds, runs = draw(1, n_labels=n_labels)
    kept = match_labels(NAMES[rows], confounds, runs)
    counts = np.bincount(rows[kept], minlength=n_labels)
    assert (counts == counts[0]).all() and counts[0] > 20
    left = confounds[kept].assign(label=rows[kept])
    spread = confounds["slow"].std()
    means = left.groupby("label")["slow"].mean()
    assert np.ptp(means) < 0.15 * spread < 0.25 * 0.8 * (n_labels - 1)
    shares = left.groupby("label")["hand"].value_counts().unstack()
    assert (shares.nunique() == 1).all()


def test_nearly_all_are_kept_where_nothing_is_confounded():
    rng = np.random.default_rng(2)
    labels = np.repeat(["a", "b"], 100)
    confounds = pd.DataFrame({"hand": rng.permutation(np.repeat(["left", "right"], 100))})
    kept = match_labels(labels, confounds, np.tile(["1", "2"], 100))
    assert kept.sum() > 160


def test_matches_in_the_same_run_are_preferred():
    labels = np.array(["a", "b", "b", "b"])
    confounds = pd.DataFrame({"slow": [0.0, 0.0, 0.01, 1.0]})
    assert match_labels(labels, confounds, np.array(["1", "2", "1", "1"])).tolist() == [1, 0, 1, 0]


def test_labels_without_overlap_leave_nothing():
    labels = np.repeat(["a", "b"], 5)
    confounds = pd.DataFrame({"hand": np.repeat(["left", "right"], 5)})
    assert not match_labels(labels, confounds, np.repeat("1", 10)).any()


def accuracy(betas, rows, runs):
    hits = []
    for run in np.unique(runs):
        test = runs == run
        scores = ridge_predict(betas[~test], np.eye(2)[rows[~test]], betas[test], runs[~test])
        found = scores.argmax(axis=1) == rows[test]
        hits.append(np.mean([found[rows[test] == k].mean() for k in (0, 1)
                             if (rows[test] == k).any()]))
    return np.mean(hits)


def test_responses_that_follow_the_confound_alone_are_at_chance_afterwards():
    before, after = [], []
    for seed in range(60):
        rng, rows, confounds, runs = draw(seed)
        slow = confounds["slow"].to_numpy()
        betas = rng.normal(size=(len(rows), 10)) + np.outer(slow, rng.normal(size=10))
        kept = match_labels(NAMES[rows], confounds[["slow"]], runs)
        before.append(accuracy(betas, rows, runs))
        after.append(accuracy(betas[kept], rows[kept], runs[kept]))
    assert np.mean(before) > 0.6
    error = np.std(after) / np.sqrt(len(after))
    assert abs(np.mean(after) - 0.5) < 3 * error + 0.005
