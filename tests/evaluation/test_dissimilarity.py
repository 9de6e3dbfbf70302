"""Crossnobis distances against explicit formulas and rsatoolbox."""

import numpy as np
import pytest
from rdm_data import CONDITIONS, N_CONDITIONS, N_RUNS, N_VOXELS, RUNS, draw, random_models

from bids_decoder.evaluation.dissimilarity import (
    measure_geometry,
    vectorise,
    whitened_correlation,
)


def cell_means(values):
    return np.stack([
        [values[(run == RUNS) & (one == CONDITIONS)].mean(axis=0) for one in range(N_CONDITIONS)]
        for run in range(N_RUNS)
    ])


def residuals(values):
    return values - cell_means(values)[RUNS, CONDITIONS]


def test_distances_are_products_of_differences_between_runs():
    betas = draw(0)
    geometry = measure_geometry(betas, CONDITIONS, RUNS)
    left, freedom = residuals(betas), len(betas) - N_RUNS * N_CONDITIONS
    covariance = left.T @ left / freedom
    diagonal = np.diag(np.diag(covariance))
    precision = np.linalg.inv(
        (1 - geometry.shrinkage) * covariance + geometry.shrinkage * diagonal
    )
    means, total = cell_means(betas), []
    for one in range(N_RUNS):
        for other in set(range(N_RUNS)) - {one}:
            first, second = (means[run][:, None] - means[run][None] for run in (one, other))
            total.append(np.einsum("ijv,vw,ijw->ij", first, precision, second) / N_VOXELS)
    np.testing.assert_allclose(geometry.distances(), np.mean(total, axis=0), atol=1e-10)


def test_agrees_with_rsatoolbox():
    rsatoolbox = pytest.importorskip("rsatoolbox")
    from rsatoolbox.data.noise import prec_from_residuals
    from rsatoolbox.rdm import RDMs, compare

    betas = draw(1)
    precision = prec_from_residuals(
        residuals(betas), dof=len(betas) - N_RUNS * N_CONDITIONS, method="shrinkage_diag"
    )
    data = rsatoolbox.data.Dataset(betas, obs_descriptors={"c": CONDITIONS, "r": RUNS})
    theirs = rsatoolbox.rdm.calc_rdm(
        data, method="crossnobis", descriptor="c", cv_descriptor="r", noise=precision
    ).get_matrices()[0]
    ours = measure_geometry(betas, CONDITIONS, RUNS).distances()
    np.testing.assert_allclose(ours, theirs, atol=1e-10)
    models = vectorise(random_models(3))
    np.testing.assert_allclose(
        whitened_correlation(models, vectorise(ours)[None], N_CONDITIONS),
        compare(RDMs(models), RDMs(vectorise(ours)[None]), method="corr_cov"), atol=1e-8,
    )


def test_noise_has_distances_of_zero_on_average():
    found = [
        vectorise(measure_geometry(draw(seed, 0), CONDITIONS, RUNS).distances()).mean()
        for seed in range(60)
    ]
    assert abs(np.mean(found)) < 4 * np.std(found) / np.sqrt(len(found))
    # Without cross-validation the expected distance is about 2 / trials of a condition.
    assert np.mean(found) < 0.02


def test_many_more_voxels_than_trials():
    geometry = measure_geometry(draw(2, 0.3, 2000), CONDITIONS, RUNS)
    assert np.isfinite(geometry.distances()).all() and geometry.shrinkage <= 1


def test_conditions_once_per_run_and_absent_ones():
    betas = draw(3)
    first = np.unique(RUNS * N_CONDITIONS + CONDITIONS, return_index=True)[1]
    once = measure_geometry(betas[first], CONDITIONS[first], RUNS[first]).distances()
    assert np.isfinite(once).all()
    kept = ~((CONDITIONS == 0) & (RUNS > 0))
    holes = measure_geometry(betas[kept], CONDITIONS[kept], RUNS[kept]).distances()
    assert np.isnan(holes[0, 1:]).all() and np.isfinite(holes[1:, 1:]).all()


def test_one_repetition_does_not_decide_what_noise_is():
    patterns = np.random.default_rng(8).normal(size=(N_CONDITIONS, N_VOXELS))
    betas = draw(8, patterns=patterns)
    first = np.unique(RUNS * N_CONDITIONS + CONDITIONS, return_index=True)[1]
    more = np.append(first, first[0] + 1)
    found = [
        measure_geometry(betas[rows], CONDITIONS[rows], RUNS[rows]) for rows in (first, more)
    ]
    assert {each.residuals for each in found} == {"mean responses between runs"}
    one, other = (vectorise(each.distances())[None] for each in found)
    assert whitened_correlation(one, other, N_CONDITIONS)[0, 0] > 0.9


def test_chunks_of_voxels_give_the_same(monkeypatch):
    betas = draw(9)
    whole = measure_geometry(betas, CONDITIONS, RUNS)
    monkeypatch.setattr("bids_decoder.evaluation.dissimilarity._CHUNK", 7)
    parts = measure_geometry(betas, CONDITIONS, RUNS)
    np.testing.assert_allclose(parts.distances(), whole.distances(), atol=1e-12)


def test_whitening_is_that_of_the_covariance_of_errors():
    first, second = np.triu_indices(N_CONDITIONS, 1)
    contrasts = np.zeros((len(first), N_CONDITIONS))
    contrasts[np.arange(len(first)), first] = 1
    contrasts[np.arange(len(first)), second] = -1
    inverse = np.linalg.inv((contrasts @ contrasts.T) ** 2)
    one, other = vectorise(random_models(2))
    one, other = one - one.mean(), other - other.mean()
    expected = one @ inverse @ other / np.sqrt(one @ inverse @ one * (other @ inverse @ other))
    found = whitened_correlation(one[None] + 3, other[None] - 2, N_CONDITIONS)
    assert found[0, 0] == pytest.approx(expected)
