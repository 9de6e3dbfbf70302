from dataclasses import replace

import numpy as np
import pytest
import scipy.stats
from sklearn.metrics import (
    accuracy_score,
    balanced_accuracy_score,
    confusion_matrix,
    f1_score,
    top_k_accuracy_score,
)

from bids_decoder.config import Evaluation
from bids_decoder.errors import InputError
from bids_decoder.evaluation.classification import (
    Heldout,
    Refitted,
    score_classification,
)
from bids_decoder.evaluation.tables import METRIC_COLUMNS

FAST = Evaluation(n_permutations=199)
CLASSES = ("a", "b", "c", "d")


def make(signal=1.0, seed=0, n_runs=8, per_run=12):
    rng = np.random.default_rng(seed)
    true = rng.choice(4, n_runs * per_run, p=[0.4, 0.3, 0.2, 0.1])
    scores = rng.normal(size=(len(true), 4)) + signal * np.eye(4)[true]
    run = np.repeat(np.arange(n_runs), per_run)
    return {"scores": scores, "labels": np.array(CLASSES)[true], "classes": CLASSES,
            "runs": np.array([f"run-{r}" for r in run]), "folds": run + 1}


def score(data, seed=1, settings=FAST, **options):
    rng = np.random.default_rng(seed)
    return score_classification(Heldout(**data), settings=settings, rng=rng, **options)


def one_fold(data):
    return {**data, "folds": np.ones(len(data["labels"]), int)}


def test_values_match_scikit_learn():
    data = make()
    metrics, confusion, predictions, _ = score(data)
    assert list(metrics) == list(METRIC_COLUMNS)
    value = metrics.set_index("metric")["value"]
    true, guess = predictions["label"], predictions["predicted_label"]
    assert value["accuracy"] == pytest.approx(accuracy_score(true, guess))
    assert value["balanced_accuracy"] == pytest.approx(balanced_accuracy_score(true, guess))
    assert value["macro_f1"] == pytest.approx(f1_score(true, guess, average="macro"))
    assert value["top2"] == pytest.approx(
        top_k_accuracy_score(data["labels"], data["scores"], k=2, labels=CLASSES)
    )
    expected = confusion_matrix(true, guess, labels=CLASSES)
    assert list(confusion) == ["label", *CLASSES]
    assert (confusion[list(CLASSES)].to_numpy() == expected).all()
    assert (metrics["split"] == "cv").all()


def test_classes_that_were_not_tested_do_not_count():
    data = make()
    keep = np.isin(data["labels"], ["a", "b"])
    few = {k: v if k == "classes" else v[keep] for k, v in data.items()}
    row = score(few)[0].set_index("metric").loc["balanced_accuracy"]
    recalls = [(few["scores"].argmax(axis=1) == k)[few["labels"] == name].mean()
               for k, name in enumerate("ab")]
    assert row["value"] == pytest.approx(np.mean(recalls))
    assert row["chance"] == 0.5


def test_signal_is_found_and_bounded():
    metrics = score(one_fold(make(signal=2.0)))[0].set_index("metric")
    assert (metrics["p"] == 1 / 200).all()
    assert ((metrics["ci_low"] < metrics["value"]) & (metrics["value"] < metrics["ci_high"])).all()
    assert metrics.loc["balanced_accuracy", "ci_low"] > 0.25


def test_chance_of_imbalanced_labels_is_not_flattering():
    data = make()
    data = {**one_fold(data), "scores": np.tile([1.0, 0, 0, 0], (len(data["labels"]), 1))}
    metrics = score(data)[0].set_index("metric")
    assert metrics.loc["accuracy", "value"] == metrics.loc["accuracy", "chance"]
    assert metrics.loc["balanced_accuracy", "value"] == metrics.loc["balanced_accuracy", "chance"]
    assert metrics.loc["macro_f1", "value"] == pytest.approx(metrics.loc["macro_f1", "chance"])
    assert (metrics["p"] > 0.9).all()


def test_p_is_uniform_under_the_null():
    settings = replace(FAST, n_permutations=99)
    p = [score(one_fold(make(0.0, seed)), seed, settings)[0].set_index("metric")["p"]["macro_f1"]
         for seed in range(150)]
    assert scipy.stats.kstest(p, "uniform").pvalue > 0.01


def test_interval_over_runs_covers_the_truth():
    settings = replace(FAST, n_permutations=1)
    truth = np.mean([score(make(1.0, s, 50, 50), s, settings)[0]
                     .set_index("metric")["value"]["accuracy"] for s in range(20)])
    covered = 0
    for seed in range(150):
        data = one_fold(make(1.0, seed + 100, n_runs=12))
        row = score(data, seed, settings)[0].set_index("metric")
        covered += row["ci_low"]["accuracy"] <= truth <= row["ci_high"]["accuracy"]
    assert 0.91 <= covered / 150 <= 0.99


def test_runs_that_hold_one_label_each_are_permuted_whole():
    data = make(n_runs=8, per_run=5)
    data["labels"] = np.repeat(np.array(list("abcdabcd")), 5)
    # The decoder knows only the run: right for all trials of a run, by luck, or for none.
    order = np.array(["abcd".index(c) for c in "abcddcba"])
    data["scores"] = np.eye(4)[np.repeat(order, 5)]
    row = score(one_fold(data))[0].set_index("metric").loc["accuracy"]
    assert row["value"] == 0.5
    assert 0.02 < row["p"] < 0.5


def test_one_run_has_no_interval():
    data = make(n_runs=1, per_run=40)
    metrics = score(data)[0]
    assert metrics[["ci_low", "ci_high"]].isna().all(axis=None)
    assert (metrics["split"] == "test").all()


def test_two_classes_have_no_top2():
    data = make()
    keep = np.isin(data["labels"], ["a", "b"])
    data = {k: v if k == "classes" else v[keep] for k, v in data.items()}
    data = {**data, "scores": data["scores"][:, :2], "classes": ("a", "b")}
    assert "top2" not in set(score(data)[0]["metric"])


@pytest.mark.parametrize(("change", "why"), [
    ({"labels": np.array(["z"] * 96)}, "z"), ({"scores": np.full((96, 4), np.inf)}, "finite"),
    ({"classes": ("a", "b")}, "classes"),
])
def test_bad_input_is_named(change, why):
    with pytest.raises(InputError, match=why):
        score({**make(), **change})


def test_knowing_the_run_alone_is_not_significant():
    data = make(n_runs=8, per_run=10)
    frequent = np.repeat(np.arange(8) % 4, 10)
    mostly = np.random.default_rng(3).random(80) < 0.7
    data["labels"] = np.array(CLASSES)[np.where(mostly, frequent, (frequent + 1) % 4)]
    data["scores"] = np.eye(4)[frequent]
    row = score(one_fold(data))[0].set_index("metric").loc["accuracy"]
    assert row["value"] > 0.5
    assert row["p"] == 1.0


@pytest.mark.parametrize("n_folds", [2, 8])
def test_cross_validated_predictions_have_no_p_without_refits(n_folds):
    data = make(signal=2.0)
    found = score({**data, "folds": data["folds"] % n_folds})
    assert (found.metrics["split"] == "cv").all()
    assert found.metrics["p"].isna().all() and (found.metrics["null"] == "none").all()
    assert found.nulls.table.empty


@pytest.mark.parametrize("prepare", [lambda data: data, one_fold])
def test_without_permutations_there_are_values_but_no_p(prepare):
    found = score(prepare(make()), settings=Evaluation(n_permutations=0))
    assert found.metrics["p"].isna().all() and found.nulls.table.empty
    assert found.metrics[["value", "chance", "ci_low"]].notna().all(axis=None)


def test_refitted_predictions_make_the_null():
    data = make(signal=2.0)
    rng = np.random.default_rng(4)
    true = np.stack([rng.permutation(96) % 4 for _ in range(30)])
    # Refits that are right in a quarter of the trials, and one that is right in all.
    scores = rng.normal(size=(30, 96, 4))
    scores[0] = np.eye(4)[true[0]]
    found = score(data, refitted=Refitted(true, scores, {}))
    row = found.metrics.set_index("metric").loc["accuracy"]
    assert row["p"] == 2 / 31 and row["null"] == "refitted" and row["n_null"] == 30
    assert row["p_min"] == 1 / 31
    null = found.nulls.table.query("metric == 'accuracy'")["value"].to_numpy()
    assert null[0] == 1.0
    assert null[1:].tolist() == pytest.approx(
        [accuracy_score(t, s.argmax(axis=1)) for t, s in zip(true[1:], scores[1:], strict=True)]
    )


def test_refits_of_another_number_of_permutations_than_labels_are_refused():
    true = np.zeros((3, 96), int)
    with pytest.raises(ValueError, match="shorter"):
        score(make(), refitted=Refitted(true, np.zeros((2, 96, 4)), {}))
