from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from himalaya.backend import get_backend, set_backend
from sklearn.feature_selection import f_classif
from sklearn.linear_model import Ridge

from bids_decoder.config import Evaluation
from bids_decoder.errors import LeakageError, UsageError
from bids_decoder.evaluation import ridge
from bids_decoder.evaluation.baselines import (
    N_RANDOM_DRAWS,
    baseline_names,
    coordinates,
    merge_random_draws,
    run_baselines,
    univariate_scores,
)
from bids_decoder.evaluation.classification import Heldout, score_classification
from bids_decoder.evaluation.folds import inner_folds, spread_runs
from bids_decoder.evaluation.retrieval import Embedded, score_retrieval
from bids_decoder.evaluation.ridge import ALPHAS, ridge_predict
from bids_decoder.trials import Person, Targets, VoxelGrid

N_VOXELS, N_TUNED = 400, 60
GRID = VoxelGrid(np.ones((20, 20, 1), dtype=bool), np.eye(4))
MASK = np.arange(N_VOXELS) < N_TUNED


def person(rows, betas, names, split, first_run):
    trials = pd.DataFrame({
        "trial": np.arange(len(rows)) % 25 + 1,
        "run_group": [f"run-{first_run + i // 25:02d}" for i in range(len(rows))],
        "stimulus": np.array(names)[rows], "split": split,
    })
    return Person("01", GRID, betas.astype(np.float32), trials, rows)


def images(n_train=250, n_test=60, noise=1.0, seed=0, n_dims=40):
    rng = np.random.default_rng(seed)
    latent = rng.normal(size=(n_train + n_test, 8))
    vectors = latent @ rng.normal(size=(8, n_dims)) + 2
    vectors += 0.1 * rng.normal(size=vectors.shape)
    tuning = rng.normal(size=(8, N_VOXELS)) * MASK
    betas = latent @ tuning / 3 + noise * rng.normal(size=(len(latent), N_VOXELS))
    names = tuple(f"im{i:03d}" for i in range(len(latent)))
    rows = np.arange(len(latent))
    targets = Targets(names, vectors.astype(np.float32), "image")
    return (person(rows[:n_train], betas[:n_train], names, "train", 0),
            person(rows[n_train:], betas[n_train:], names, "test", 50), targets)


def categories(seed=0, signal=0.5, n_classes=4):
    rng = np.random.default_rng(seed)
    rows = np.tile(np.arange(n_classes), 300 // n_classes)
    patterns = rng.normal(size=(n_classes, N_VOXELS)) * MASK
    betas = signal * patterns[rows] + rng.normal(size=(300, N_VOXELS))
    names = tuple("abcdef"[:n_classes])
    targets = Targets(names, np.eye(n_classes, dtype=np.float32), "category")
    return (person(rows[:200], betas[:200], names, "train", 0),
            person(rows[200:], betas[200:], names, "test", 50), targets)


def b2i(predicted, test, targets):
    trials = Embedded(
        predicted, test.trials["stimulus"].to_numpy(), test.run_groups, targets.vectors,
        np.array(targets.ids),
    )
    metrics, *_ = score_retrieval(trials, Evaluation(n_permutations=19), np.random.default_rng(0))
    rows = metrics[(metrics["metric"] == "top1") & (metrics["similarity"] == "csls")]
    return rows.set_index("direction")["value"]["b2i"]


def test_all_image_baselines_and_their_order():
    train, test, targets = images()
    predicted = run_baselines(train, test, targets, MASK, seed=1)
    assert tuple(predicted) == baseline_names("image")
    assert all(p.shape == (60, 40) for p in predicted.values())
    score = {name: b2i(p, test, targets) for name, p in predicted.items()}
    random = np.mean([v for k, v in score.items() if k.startswith("ridge-random")])
    assert score["ridge-mask"] > score["ridge-all"] > random
    assert score["ridge-univariate"] > score["ridge-mask"] - 0.15
    assert random < 0.6 * score["ridge-mask"]


def test_high_signal_is_solved():
    train, test, targets = images(noise=0.05)
    predicted = run_baselines(train, test, targets, MASK, seed=1,
                              names=["ridge-mask", "ridge-all", "ridge-univariate"])
    assert all(b2i(p, test, targets) > 0.95 for p in predicted.values())


def test_permuted_labels_give_chance():
    train, test, targets = images(n_test=100, noise=0.05)
    shuffled = replace(train, target_rows=np.random.default_rng(3).permutation(train.target_rows))
    predicted = run_baselines(shuffled, test, targets, MASK, seed=1, names=["ridge-mask"])
    assert b2i(predicted["ridge-mask"], test, targets) <= 0.05


def test_univariate_finds_the_tuned_voxels():
    for train, _, targets in (images(), categories()):
        best = np.argsort(-univariate_scores(train, targets))[:N_TUNED]
        assert (best < N_TUNED).mean() > 0.85


def test_label_scores_match_scikit_learn_f():
    train, _, targets = categories()
    train.betas[:, 5] = 1.0
    scores = univariate_scores(train, targets)
    assert scores[5] == 0
    np.testing.assert_allclose(scores[:5], f_classif(train.betas[:, :5], train.target_rows)[0])


@pytest.mark.parametrize("n_classes", [2, 4])
def test_label_baselines(n_classes):
    train, test, targets = categories(n_classes=n_classes)
    predicted = run_baselines(train, test, targets, MASK, seed=1)
    assert tuple(predicted) == baseline_names("category")
    accuracy = {}
    for name, scores in predicted.items():
        assert scores.shape == (100, n_classes)
        metrics, *_ = score_classification(
            Heldout(scores, test.trials["stimulus"].to_numpy(), targets.ids, test.run_groups,
                    np.ones(100)),
            settings=Evaluation(n_permutations=19),
            rng=np.random.default_rng(0),
        )
        accuracy[name] = metrics["value"][0]
    assert accuracy["svm-mask"] > 0.8
    assert accuracy["ridge-mask"] > 0.8
    assert accuracy["ridge-random-1"] < accuracy["ridge-mask"]


def test_classes_without_training_are_never_chosen():
    train, test, targets = categories()
    targets = Targets((*targets.ids, "new"), np.eye(5, dtype=np.float32), "category")
    predicted = run_baselines(train, test, targets, MASK, seed=1, names=["svm-mask", "ridge-mask"])
    assert predicted["svm-mask"].shape == (100, 5)
    assert (predicted["svm-mask"].argmax(axis=1) < 4).all()
    assert (predicted["ridge-mask"].argmax(axis=1) < 4).all()


@pytest.mark.parametrize(("n_voxels", "most"), [(30, 3000), (400, 3000), (30, 125), (200, 125)])
def test_ridge_matches_scikit_learn(n_voxels, most, monkeypatch):
    """With many trials the penalty is chosen by some of them, from products of voxels or trials."""
    monkeypatch.setattr(ridge, "MOST_TRIALS_TO_CHOOSE", most)
    train, test, targets = images(noise=2.0)
    x, x_test = train.betas[:, :n_voxels], test.betas[:, :n_voxels]
    y = coordinates(train.target_rows, targets).scores[:, :4]
    ours = ridge_predict(x, y, x_test, train.run_groups)
    rows = spread_runs(train.run_groups, most)
    assert len(rows) == min(most, 250)
    splits = [(rows[i], rows[j]) for i, j in inner_folds(train.run_groups[rows], 5)]
    for column in range(4):
        loss = [np.mean([
            np.mean((Ridge(alpha=a).fit(x[i].astype(float), y[i, column])
                     .predict(x[j].astype(float)) - y[j, column]) ** 2)
            for i, j in splits
        ]) for a in ALPHAS]
        best = Ridge(alpha=ALPHAS[np.argmin(loss)]).fit(x.astype(float), y[:, column])
        np.testing.assert_allclose(ours[:, column], best.predict(x_test.astype(float)), atol=1e-5)


def test_components_give_the_vectors_back():
    train, _, targets = images(n_train=30)
    train = train.subset(np.r_[:30, :10])
    space = coordinates(train.target_rows, targets)
    scores, components, mean = space.scores, space.components, space.mean
    expected = targets.vectors[train.target_rows]
    np.testing.assert_allclose(scores @ components + mean, expected, atol=1e-4)


def test_nothing_depends_on_test_targets():
    train, test, targets = images()
    other = targets.vectors.copy()
    other[test.target_rows] = 99.0
    names = ["ridge-mask", "ridge-univariate"]
    first = run_baselines(train, test, targets, MASK, seed=1, names=names)
    second = run_baselines(train, test, Targets(targets.ids, other, "image"), MASK, seed=1,
                           names=names)
    for name in names:
        np.testing.assert_array_equal(first[name], second[name])


def test_backend_is_put_back():
    train, test, targets = images(n_train=50)
    set_backend("torch")
    try:
        run_baselines(train, test, targets, MASK, seed=1, names=["ridge-mask"])
        assert get_backend().name == "torch"
    finally:
        set_backend("numpy")


def test_same_seed_same_voxels():
    train, test, targets = images(n_train=50)
    names = ["ridge-random-1", "ridge-random-2"]
    first, again, other = (
        run_baselines(train, test, targets, MASK, seed=s, names=names) for s in (1, 1, 2)
    )
    np.testing.assert_array_equal(first[names[0]], again[names[0]])
    assert not np.allclose(first[names[0]], other[names[0]])
    assert not np.allclose(first[names[0]], first[names[1]])


def test_leaks_are_refused():
    train, test, targets = images(n_train=50)
    with pytest.raises(LeakageError, match="test"):
        run_baselines(test, train, targets, MASK, seed=1)
    with pytest.raises(LeakageError, match="run-00 trial 1"):
        run_baselines(train, train, targets, MASK, seed=1)
    repeat = test.trials.assign(stimulus="im001")
    with pytest.raises(LeakageError, match="im001"):
        run_baselines(train, replace(test, trials=repeat), targets, MASK, seed=1)


def test_bad_requests_are_named():
    train, test, targets = images(n_train=50)
    with pytest.raises(UsageError, match="svm-mask"):
        run_baselines(train, test, targets, MASK, seed=1, names=["svm-mask"])
    with pytest.raises(UsageError, match="empty"):
        run_baselines(train, test, targets, MASK & False, seed=1)


def test_random_draws_are_merged():
    rows = [{"model": m, "metric": "top1", "direction": None, "value": v, "chance": 0.1,
             "ci_low": v - 0.1, "ci_high": v + 0.1, "p": p}
            for m, v, p in (("ridge-all", 0.9, 0.01), ("ridge-random-1", 0.2, 0.02),
                            ("ridge-random-2", 0.4, 0.04))]
    merged = merge_random_draws(pd.DataFrame(rows)).set_index("model")
    assert list(merged.index) == ["ridge-all", "ridge-random"]
    assert merged.loc["ridge-random", ["value", "ci_low", "p"]].tolist() == pytest.approx(
        [0.3, 0.2, 0.06]
    )
    assert N_RANDOM_DRAWS >= 3


@pytest.mark.parametrize("name", ["ridge-all", "ridge-mask"])
def test_labels_of_unequal_frequency_count_alike(name):
    """As for the headline score, balanced accuracy; else the frequent label is always predicted."""
    train, test, targets = categories(n_classes=2, signal=0.4)
    names = train.trials["stimulus"].to_numpy()
    kept = np.flatnonzero((names != "a") | (np.arange(len(names)) % 24 == 0))
    train = person(train.target_rows[kept], train.betas[kept], targets.ids, "train", 0)
    guess = run_baselines(train, test, targets, MASK, seed=0, names=[name])[name].argmax(axis=1)
    recall = [(guess[test.target_rows == k] == k).mean() for k in (0, 1)]
    assert min(recall) > 0.4


def test_labels_of_equal_frequency_are_predicted_as_by_their_vectors():
    train, test, targets = categories()
    found = run_baselines(train, test, targets, MASK, seed=0, names=["ridge-all"])["ridge-all"]
    plain = ridge_predict(train.betas, np.eye(4)[train.target_rows], test.betas, train.run_groups)
    np.testing.assert_array_equal(found.argmax(axis=1), plain.argmax(axis=1))
