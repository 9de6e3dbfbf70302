"""Inference on models of distances against rsatoolbox, and its calibration."""

import numpy as np
import pytest
from scipy.stats import ttest_rel

from bids_decoder.evaluation.dissimilarity import unweight, vectorise, whitened_correlation
from bids_decoder.evaluation.rdm_inference import (
    LEAST_PEOPLE,
    LEAST_RESAMPLED,
    fit_models,
    resampled_correlations,
)

N_CONDITIONS, N_PEOPLE = 14, 6


def square_distances(points):
    return np.square(points[..., :, None, :] - points[..., None, :, :]).sum(axis=-1)


def draw(seed, n_people=N_PEOPLE, n_conditions=N_CONDITIONS, noise=2.0):
    """Two models that are equally good, and people who differ."""
    rng = np.random.default_rng(seed)
    one, other = rng.normal(size=(2, n_conditions, 4))
    models = np.stack([square_distances(one), square_distances(other)])
    own = square_distances(rng.normal(size=(n_people, n_conditions, 3)))
    blur = rng.normal(0, noise, size=(n_people, n_conditions, n_conditions))
    return models.sum(axis=0) + own + blur + blur.transpose(0, 2, 1), models


def noise_ceiling(distances: np.ndarray) -> tuple[float, float]:
    """Mean whitened correlation with the mean of the others, and of all (Nili et al. 2014)."""
    n_conditions = distances.shape[1]
    # Each participant's distances are centred and scaled, so that all weigh the same.
    vectors = vectorise(distances)
    vectors = vectors - vectors.mean(axis=1, keepdims=True)
    size = np.sqrt(np.einsum("nd,nd->n", unweight(vectors, n_conditions), vectors))
    vectors = vectors / np.maximum(size, 1e-12)[:, None]
    total = vectors.sum(axis=0)
    pairs = [
        [whitened_correlation(own[None], mean[None], n_conditions)[0, 0]
         for mean in (total - own, total)]
        for own in vectors
    ]
    lower, upper = np.mean(pairs, axis=0)
    return float(lower), float(upper)


def test_resampling_nothing_is_the_whitened_correlation():
    distances, models = draw(0)
    whole = resampled_correlations(np.concatenate([distances, models]), np.arange(N_CONDITIONS))
    expected = whitened_correlation(vectorise(distances), vectorise(models), N_CONDITIONS)
    np.testing.assert_allclose(whole[:N_PEOPLE, N_PEOPLE:], expected, atol=1e-12)
    found = fit_models(distances, models, np.random.default_rng(0), 3)
    ceiling = noise_ceiling(np.stack([each - np.diag(np.diag(each)) for each in distances]))
    np.testing.assert_allclose(found.values[:, 2:].mean(axis=0), ceiling, atol=1e-10)


def test_a_model_that_is_constant_has_no_value():
    distances, models = draw(1)
    constant = np.concatenate([models, np.ones((1, N_CONDITIONS, N_CONDITIONS))])
    found = fit_models(distances, constant, np.random.default_rng(0), 20)
    assert np.isnan(found.estimate(np.array([0, 0, 1, 0, 0])).p)
    assert np.isfinite(found.estimate(np.array([1, -1, 0, 0, 0])).p)


def rdms_of(matrices):
    rsatoolbox = pytest.importorskip("rsatoolbox")
    return rsatoolbox.rdm.RDMs(vectorise(matrices))


def test_resampled_correlations_are_those_of_rsatoolbox():
    rdms_of(np.zeros((1, 3, 3)))
    from rsatoolbox.rdm import compare

    distances, models = draw(2)
    chosen = np.sort(np.random.default_rng(3).integers(0, N_CONDITIONS, N_CONDITIONS))
    assert len(np.unique(chosen)) < N_CONDITIONS
    theirs = compare(*(
        rdms_of(each).subsample_pattern("index", chosen) for each in (distances, models)
    ), method="corr_cov")
    ours = resampled_correlations(np.concatenate([distances, models]), chosen)
    np.testing.assert_allclose(ours[:N_PEOPLE, N_PEOPLE:], theirs, atol=1e-7)


@pytest.mark.parametrize(("n_people", "kinds"), [(6, "both"), (1, "conditions")])
def test_variances_are_those_of_rsatoolbox(monkeypatch, n_people, kinds):
    """The same samples go through both programs."""
    rdms_of(np.zeros((1, 3, 3)))
    from rsatoolbox.inference import eval_bootstrap_pattern, eval_dual_bootstrap
    from rsatoolbox.model import ModelFixed
    from rsatoolbox.util.inference_util import extract_variances

    distances, models = draw(4, n_people)
    n_bootstrap, rng = 12, np.random.default_rng(5)
    ours = fit_models(distances, models, rng, n_bootstrap)
    assert kinds in ours.samples
    again, sizes = np.random.default_rng(5), (n_people, N_CONDITIONS)
    queue = [again.integers(0, size, size) for _ in range(n_bootstrap) for size in sizes]
    if kinds == "conditions":
        queue = queue[1::2]
    monkeypatch.setattr(np.random, "randint", lambda low, high, size: queue.pop(0))
    fixed = [ModelFixed(str(n), rdms_of(model[None])) for n, model in enumerate(models)]
    if kinds == "both":
        theirs = eval_dual_bootstrap(fixed, rdms_of(distances), method="corr_cov", N=n_bootstrap)
    else:
        theirs = eval_bootstrap_pattern(fixed, rdms_of(distances), method="corr_cov",
                                        N=n_bootstrap, boot_noise_ceil=False)
    sizes = {"n_rdm": n_people if kinds == "both" else None, "n_pattern": N_CONDITIONS}
    found = extract_variances(theirs.variances, kinds == "both", **sizes)
    for contrast, variance in (([1.0, -1, 0, 0], found[1][0]), ([0, 1.0, 0, 0], found[0][1])):
        estimate = ours.estimate(np.array(contrast))
        assert estimate.error == pytest.approx(np.sqrt(variance), rel=1e-6)
    assert theirs.dof == ours.freedom


def test_few_people_and_few_conditions_are_taken_as_fixed():
    def fit(n_people, n_conditions):
        return fit_models(*draw(6, n_people, n_conditions), np.random.default_rng(0), 5)

    few, many = LEAST_RESAMPLED - 1, LEAST_RESAMPLED
    assert set(fit(LEAST_PEOPLE, few).samples) == {"people"}
    assert set(fit(LEAST_PEOPLE - 1, many).samples) == {"conditions"}
    nothing = fit(LEAST_PEOPLE - 1, few)
    assert not nothing.samples and nothing.generalises == "these participants and conditions"
    assert np.isnan(nothing.estimate(np.array([1.0, 0, 0, 0])).p)
    people = fit(LEAST_PEOPLE, few)
    expected = ttest_rel(*people.values[:, :2].T)
    found = people.estimate(np.array([1.0, -1, 0, 0]))
    assert found.p == pytest.approx(expected.pvalue)
    interval = expected.confidence_interval()
    assert (found.low, found.high) == pytest.approx((interval.low, interval.high))


def test_the_better_model_wins():
    distances, models = draw(7, n_people=12, n_conditions=30, noise=1.0)
    better = np.stack([models.sum(axis=0), models[1]])
    fits = fit_models(distances, better, np.random.default_rng(0), 100)
    gap = fits.estimate(np.array([1.0, -1, 0, 0]))
    assert gap.low > 0 and gap.p < 0.01
    below = fits.estimate(np.array([-1.0, 0, 1, 0]))
    assert below.low < below.value < gap.value
