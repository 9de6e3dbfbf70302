import numpy as np
import pytest
from himalaya.backend import set_backend
from himalaya.ridge import solve_ridge_svd
from sklearn.linear_model import Ridge

from bids_decoder.errors import InputError
from bids_decoder.evaluation.encoding import encoding_scores
from bids_decoder.evaluation.folds import inner_folds


def make(n_trials=200, n_voxels=60, n_dims=12, seed=0):
    rng = np.random.default_rng(seed)
    features = rng.normal(size=(n_trials, n_dims)) + 3
    tuning = rng.normal(size=(n_dims, n_voxels)) * (np.arange(n_voxels) < n_voxels // 2)
    betas = features @ tuning * 0.3 + rng.normal(size=(n_trials, n_voxels)) + 1
    runs = np.repeat([f"run-{r}" for r in range(10)], n_trials // 10)
    return betas.astype(np.float32), features, runs


def reference(betas, features, runs, penalty, fit):
    """Score with a single relative penalty and a library's ridge."""
    total, size = np.zeros(betas.shape[1]), 0
    for train, test in inner_folds(runs, 5):
        centred = features[train] - features[train].mean(axis=0)
        values = np.linalg.svd(centred, compute_uv=False)
        values = values[values > values.max() * 1e-6]
        predicted = fit(features[train], betas[train], features[test], penalty * (values**2).mean())
        r = [np.corrcoef(p, y)[0, 1] for p, y in zip(predicted.T, betas[test].T, strict=True)]
        total += np.array(r) * len(test)
        size += len(test)
    return total / size


def scikit(x, y, x_test, alpha):
    return Ridge(alpha=alpha).fit(x, y).predict(x_test)


def himalaya(x, y, x_test, alpha):
    set_backend("numpy")
    centred = x - x.mean(axis=0), np.float64(y) - y.mean(axis=0)
    weights = solve_ridge_svd(*centred, alpha=alpha, warn=False)
    return (x_test - x.mean(axis=0)) @ weights + y.mean(axis=0)


@pytest.mark.parametrize("fit", [scikit, himalaya])
@pytest.mark.parametrize("n_dims", [12, 300])
@pytest.mark.parametrize("penalty", [0.01, 1.0])
def test_scores_match_libraries(fit, n_dims, penalty):
    betas, features, runs = make(n_dims=n_dims)
    ours = encoding_scores(betas, features, runs, penalties=(penalty,))
    np.testing.assert_allclose(ours, reference(betas, features, runs, penalty, fit), atol=2e-4)


def test_tuned_voxels_stand_out_and_others_are_unbiased():
    betas, features, runs = make(n_trials=400, n_voxels=2000)
    scores = encoding_scores(betas, features, runs)
    assert scores[:1000].min() > scores[1000:].mean() + 0.15


def test_choosing_penalties_does_not_lift_voxels_without_tuning():
    rng = np.random.default_rng(2)
    runs = np.repeat([f"run-{r}" for r in range(10)], 30)
    means = [encoding_scores(rng.normal(size=(300, 4000)), rng.normal(size=(300, 60)), runs).mean()
             for _ in range(5)]
    assert abs(np.mean(means)) < 5 / np.sqrt(300 * 4000 * 5)


def test_penalty_is_that_of_generalised_cross_validation():
    betas, features, runs = make(n_dims=40)
    penalties = (0.01, 0.1, 1.0, 10.0)
    ours = encoding_scores(betas, features, runs, penalties=penalties)
    expected, size = np.zeros(60), 0
    for train, test in inner_folds(runs, 5):
        x = features[train] - features[train].mean(axis=0)
        y = np.float64(betas[train]) - betas[train].mean(axis=0)
        best = np.full(60, np.inf)
        r = np.zeros(60)
        for penalty in penalties:
            alpha = penalty * (np.linalg.svd(x, compute_uv=False) ** 2).mean()
            hat = x @ np.linalg.solve(x.T @ x + alpha * np.eye(40), x.T) + 1 / len(x)
            gcv = ((y - hat @ y) ** 2).sum(axis=0) / (1 - np.trace(hat) / len(x)) ** 2
            predicted = scikit(features[train], betas[train], features[test], alpha)
            new = [np.corrcoef(p, q)[0, 1] for p, q in zip(predicted.T, betas[test].T, strict=True)]
            r, best = np.where(gcv < best, new, r), np.minimum(gcv, best)
        expected += r * len(test)
        size += len(test)
    np.testing.assert_allclose(ours, expected / size, atol=2e-4)


def test_penalties_are_chosen_well():
    betas, features, runs = make(n_dims=150)
    free = encoding_scores(betas, features, runs)[:30].mean()
    fixed = [encoding_scores(betas, features, runs, penalties=(a,))[:30].mean()
             for a in (0.01, 1.0, 1e4)]
    assert free > max(fixed) - 0.03
    assert free > min(fixed)


def test_run_offsets_are_no_encoding():
    rng = np.random.default_rng(1)
    runs = np.repeat([f"run-{r}" for r in range(10)], 20)
    offset = np.repeat(rng.normal(size=(10, 5)), 20, axis=0)
    features = rng.normal(size=(200, 5)) + offset
    betas = rng.normal(size=(200, 500)) + offset @ rng.normal(size=(5, 500))
    assert abs(encoding_scores(betas, features, runs, penalties=(0.01,)).mean()) < 0.4
    shuffled = rng.normal(size=(200, 5)) + offset[::-1]
    assert abs(encoding_scores(betas, shuffled, runs).mean()) < 0.05


def test_chunks_do_not_matter_and_constant_voxels_are_zero(monkeypatch):
    betas, features, runs = make()
    betas[:, 3] = 7.0
    whole = encoding_scores(betas, features, runs)
    assert whole[3] == 0
    assert np.isfinite(whole).all()
    monkeypatch.setattr("bids_decoder.evaluation.encoding._VALUES", 7 * len(betas))
    np.testing.assert_allclose(encoding_scores(betas, features, runs), whole, atol=1e-5)


def test_one_run_is_cut_in_blocks():
    betas, features, _ = make()
    assert encoding_scores(betas, features, np.repeat("one", 200))[:30].mean() > 0.3


def test_bad_input_is_named():
    betas, features, runs = make()
    with pytest.raises(InputError, match="do not vary"):
        encoding_scores(betas, np.ones((200, 3)), runs)
    with pytest.raises(InputError, match="199 features"):
        encoding_scores(betas, features[1:], runs)
