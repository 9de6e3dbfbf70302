"""Repeated cross-validation over people: folds, scores, confounds."""

import numpy as np
import pytest
from sklearn.metrics import normalized_mutual_info_score, roc_auc_score

from bids_decoder.config import Evaluation
from bids_decoder.evaluation.subjects import (
    PermutedRounds,
    permute_people,
    roc_table,
    score_subjects,
    site_confound,
    subject_folds,
)
from bids_decoder.evaluation.tables import METRIC_COLUMNS

SETTINGS = Evaluation(n_permutations=100)


def score(scores, classes, permuted=None):
    rng = np.random.default_rng(0)
    table, _ = score_subjects(
        scores, classes, n_splits=5, model="m", settings=SETTINGS, rng=rng, permuted=permuted
    )
    assert list(table) == list(METRIC_COLUMNS)
    return table.set_index("metric")


def test_each_person_is_tested_once_a_round_and_classes_are_even():
    classes = np.repeat([0, 1, 2], [30, 20, 10])
    folds = subject_folds(classes, 5, 3, seed=1)
    for repeat in folds:
        counts = np.array([np.bincount(classes[repeat == k], minlength=3) for k in range(1, 6)])
        assert (counts == [6, 4, 2]).all()
    assert not np.array_equal(folds[0], folds[1])
    assert np.array_equal(folds, subject_folds(classes, 5, 3, seed=1))


def test_perfect_and_random_scores():
    rng = np.random.default_rng(1)
    classes = np.tile([0, 1, 2, 3], 25)
    labels, blocks = permute_people(classes, None, 60, seed=3)
    chance = PermutedRounds(labels, rng.random((60, 100, 4)), blocks)
    perfect = score(np.eye(4)[classes][None].repeat(2, axis=0), classes, chance)
    assert perfect["value"].to_numpy() == pytest.approx(1)
    assert (perfect["p"] == 1 / 61).all() and (perfect["null"] == "refitted").all()
    guesses = score(rng.random((3, 100, 4)), classes, chance)
    assert guesses.loc["balanced_accuracy", "p"] > 0.05
    assert score(rng.random((3, 100, 4)), classes)["p"].isna().all()
    row = guesses.loc["balanced_accuracy"]
    assert row["chance"] == 0.25
    assert row["ci_low"] < 0.25 < row["ci_high"]
    assert guesses.loc["nmi", "chance"] > 0
    assert guesses.loc["macro_auc", "value"] == pytest.approx(0.5, abs=0.1)


def test_chance_and_smallest_p_are_those_of_the_labels():
    rng = np.random.default_rng(4)
    classes = np.array([0] * 5 + [1] * 2)
    labels, blocks = permute_people(classes, None, 60, seed=0)
    found = score(
        rng.random((1, 7, 2)), classes, PermutedRounds(labels, rng.random((60, 7, 2)), blocks)
    )
    assert found.loc["accuracy", "chance"] == pytest.approx(5 / 7)
    assert found.loc["balanced_accuracy", "chance"] == found.loc["macro_auc", "chance"] == 0.5
    assert found["p_min"].to_numpy(float) == pytest.approx(1 / 21)  # seven people, two of class 1


def test_intervals_are_wider_than_those_of_independent_people():
    """Folds share training participants, so that their scores are correlated."""
    rng = np.random.default_rng(5)
    classes = np.tile([0, 1], 40)
    values = rng.normal(size=80) + classes
    found = score(np.stack([-values, values], axis=1)[None], classes)
    for name, inflation in (
        ("accuracy", 1 + 4 / 5), ("balanced_accuracy", 1 + 4 / 5), ("macro_auc", 1 + 5 / 4),
    ):
        row = found.loc[name]
        half = 1.96 * np.sqrt(inflation * row["value"] * (1 - row["value"]) / 80)
        if name == "macro_auc":
            # DeLong's variance, from the shares of people of the other class that one is above.
            wins = (values[classes == 1][:, None] > values[classes == 0]).astype(float)
            variance = wins.mean(axis=1).var(ddof=1) / 40 + wins.mean(axis=0).var(ddof=1) / 40
            half = 1.99 * np.sqrt(inflation * variance)
        assert row["ci_high"] - row["ci_low"] == pytest.approx(2 * half, rel=0.06), name


def test_values_are_means_over_rounds():
    rng = np.random.default_rng(2)
    classes = np.tile([0, 1], 20)
    scores = rng.random((4, 40, 2))
    found = score(scores, classes)
    accuracy = np.mean([(part.argmax(1) == classes).mean() for part in scores])
    area = np.mean([
        np.mean([roc_auc_score(classes == k, part[:, k]) for k in (0, 1)]) for part in scores
    ])
    mutual = np.mean([normalized_mutual_info_score(classes, s.argmax(1)) for s in scores])
    assert found.loc["nmi", "value"] == pytest.approx(mutual)
    assert found.loc["accuracy", "value"] == pytest.approx(accuracy)
    assert found.loc["macro_auc", "value"] == pytest.approx(area)


def test_curves_are_those_of_the_mean_scores():
    """Both rounds are wrong about one of four people; their mean about none."""
    classes = np.array([0, 0, 1, 1])
    first = np.array([0.9, 0.2, 0.4, 0.1])
    second = np.array([0.3, 0.7, 0.1, 0.5])
    scores = np.stack([np.stack([part, 1 - part], axis=1) for part in (first, second)])
    curves = roc_table(scores, classes, ["a", "b"]).set_index("label")
    found = curves[["false_positive_rate", "true_positive_rate"]]
    # Without errors, all people of the class come before any other one.
    assert (0.0, 1.0) in set(found.loc["a"].itertuples(index=False, name=None))
    wrong = roc_table(scores[:1], classes, ["a", "b"]).set_index("label").loc["a"]
    assert np.trapezoid(wrong["true_positive_rate"], wrong["false_positive_rate"]) == 0.75
    assert set(found.index) == {"a", "b"}


@pytest.mark.parametrize("bias", [0.0, 0.8])
def test_site_that_tells_the_label_is_found_and_another_is_not(bias):
    rng = np.random.default_rng(3)
    labels = rng.choice(["a", "b", "c"], 150)
    own = np.array([f"s{label}" for label in labels])
    sites = np.where(rng.random(150) < bias, own, rng.choice(["sa", "sb", "sc"], 150))
    found = site_confound(labels, sites, np.random.default_rng(0), n_permutations=200)
    assert found.is_serious == (bias > 0)
    assert found.chance == pytest.approx(0.39, abs=0.05)


def test_sites_of_one_person_each_say_nothing():
    labels = np.tile(["a", "b"], 20)
    sites = np.arange(40).astype(str)
    assert not site_confound(labels, sites, np.random.default_rng(0), 100).is_serious


def test_people_are_exchanged_within_their_site():
    classes, sites = np.array([0, 0, 1, 1, 1, 0]), np.array(list("aaabbb"))
    permuted, blocks = permute_people(classes, sites, 50, seed=0)
    assert (permuted[:, :3].sum(axis=1) == 1).all()
    assert blocks.tolist() == [0, 0, 0, 1, 1, 1]
    assert len(np.unique(permuted, axis=0)) == 9
