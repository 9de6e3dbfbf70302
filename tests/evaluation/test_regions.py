"""Scores of regions: p-values, correction for their number, tables."""

import numpy as np
import pytest

from bids_decoder.config import Evaluation
from bids_decoder.evaluation.classification import Heldout, score_classification
from bids_decoder.evaluation.label_scores import guesses_of
from bids_decoder.evaluation.regions import LabelFold, RegionScores, score_label_folds
from bids_decoder.evaluation.search_maps import Accuracy, class_weights
from bids_decoder.evaluation.tables import METRIC_COLUMNS


def scores(values, **changed):
    values = np.asarray(values, dtype=float)
    given = {"metric": "balanced_accuracy", "chance": 0.5, "n": 40, "p_min": 0.2, **changed}
    return RegionScores(values=values, limits=np.zeros((values.shape[1], 2)), **given)


def test_p_values_count_ties_and_the_largest_of_all_regions():
    found = scores([[0.9, 0.6], [0.9, 0.5], [0.4, 0.7], [0.5, 0.6], [0.3, 0.2]]).table()
    np.testing.assert_allclose(found["p"], [2 / 5, 3 / 5])
    # The largest values are .9, .7, .6 and .3.
    np.testing.assert_allclose(found["p_max"], [2 / 5, 4 / 5])
    assert (found["n_null"] == 4).all() and (found["p_min"] == 0.2).all()


def test_sums_in_another_order_are_ties():
    found = scores([[0.3], [np.nextafter(np.float32(0.3), 0)]]).table()
    assert found["p"].item() == found["p_max"].item() == 1


def test_without_permutations_there_is_no_p():
    found = scores([[0.9, 0.6]])
    assert found.table()[["p", "p_max", "p_min"]].isna().all(axis=None)
    assert found.nulls(["a", "b"]).empty


def test_null_distributions_are_named():
    found = scores([[0.9, 0.6], [0.1, 0.2], [0.3, 0.4]])
    nulls = found.nulls(["a", "b"])
    assert len(nulls) == 4
    second = nulls[(nulls["permutation"] == 2) & (nulls["region"] == "b")]
    assert second["value"].item() == 0.4


@pytest.mark.parametrize("n_classes", [2, 4])
def test_score_and_interval_are_those_of_the_decoder(n_classes):
    """A region that predicts what a decoder predicts."""
    rng = np.random.default_rng(0)
    true = np.tile(np.arange(n_classes), 12)
    runs = np.repeat([f"run-{n}" for n in range(4)], len(true) // 4)
    fold_of = np.repeat([1, 2], len(true) // 2)
    class_scores = rng.normal(size=(len(true), n_classes)) + np.eye(n_classes)[true]
    names = tuple("abcd"[:n_classes])
    heldout = Heldout(class_scores, np.array(names)[true], names, runs, fold_of)
    metrics = score_classification(
        heldout, settings=Evaluation(n_permutations=0), rng=rng
    ).metrics.set_index("metric")
    assert set(METRIC_COLUMNS) - {"metric"} == set(metrics)
    weights = class_weights(true[None], n_classes)
    folds = []
    for fold in (1, 2):
        own = fold_of == fold
        values = Accuracy(true[None, own], weights)(class_scores[None, None, own], slice(0, 1))
        predicted = guesses_of(class_scores[own]).first[None]
        folds.append(LabelFold(values, predicted, true[own], runs[own]))
    found = score_label_folds(folds, n_classes, 1.0).table().iloc[0]
    expected = metrics.loc["balanced_accuracy"]
    for name in ("value", "chance", "ci_low", "ci_high", "n"):
        assert found[name] == pytest.approx(expected[name], abs=1e-6)
