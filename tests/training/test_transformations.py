"""Transformations between participants: against fmralign and SciPy, and with known truth."""

import numpy as np
import pytest
import scipy.linalg

from bids_decoder.training.transformations import (
    REGULARISATION,
    fit_procrustes,
    fit_srm,
    fit_transport,
    fit_weights,
)


@pytest.mark.parametrize(("n_shared", "n_source", "n_target"), [(5, 30, 20), (40, 8, 8)])
def test_procrustes_is_that_of_fmralign(n_shared, n_source, n_target):
    methods = pytest.importorskip("fmralign.methods")
    rng = np.random.default_rng(0)
    source, target = (rng.standard_normal((n_shared, n)) for n in (n_source, n_target))
    theirs = methods.Procrustes(scaling=True).fit(source, target)
    ours = fit_procrustes(source, target)
    np.testing.assert_allclose(ours.rotation, theirs.R, atol=1e-10)
    assert ours.scale == pytest.approx(theirs.scale, rel=1e-10)
    new = rng.standard_normal((3, n_source))
    np.testing.assert_allclose(ours.apply(new), theirs.transform(new), atol=1e-9)


def test_procrustes_is_that_of_scipy():
    rng = np.random.default_rng(0)
    source, target = rng.standard_normal((2, 12, 7))
    rotation, trace = scipy.linalg.orthogonal_procrustes(source, target)
    ours = fit_procrustes(source, target)
    np.testing.assert_allclose(ours.rotation, rotation, atol=1e-12)
    assert ours.scale == pytest.approx(trace / np.square(source).sum())


def test_procrustes_recovers_a_rotation_with_a_scale():
    rng = np.random.default_rng(0)
    source = rng.standard_normal((20, 6))
    rotation = np.linalg.qr(rng.standard_normal((6, 6)))[0]
    found = fit_procrustes(source, 2.5 * source @ rotation)
    np.testing.assert_allclose(found.rotation, rotation, atol=1e-10)
    assert found.scale == pytest.approx(2.5)


def test_procrustes_is_zero_outside_the_shared_responses():
    rng = np.random.default_rng(0)
    source, target = rng.standard_normal((2, 4, 9))
    source, target = (one - one.mean(axis=0) for one in (source, target))
    found = fit_procrustes(source, target)
    assert np.linalg.matrix_rank(found.rotation) == 3
    outside = scipy.linalg.null_space(source)
    np.testing.assert_allclose(found.apply(outside.T), 0, atol=1e-12)
    nothing = fit_procrustes(np.zeros((4, 9)), target)
    assert nothing.scale == 0 and np.isfinite(nothing.rotation).all()


def test_weights_of_the_shared_response_model_are_those_of_fmralign():
    methods = pytest.importorskip("fmralign.methods")
    rng = np.random.default_rng(0)
    responses = [rng.standard_normal((12, n)) for n in (30, 25, 40)]
    _, shared = fit_srm(responses, 5)
    for one in responses:
        theirs = methods.DetSRM(n_components=5).fit(one, shared)
        np.testing.assert_allclose(fit_weights(one, shared), theirs.Wt, atol=1e-10)


def test_shared_response_model_recovers_what_is_shared():
    rng = np.random.default_rng(0)
    truth = rng.standard_normal((40, 4)) * [4, 3, 2, 1]
    responses = []
    for n in (30, 25, 40):
        weights = np.linalg.qr(rng.standard_normal((n, 4)))[0]
        responses.append(truth @ weights.T + 0.05 * rng.standard_normal((40, n)))
    weights, shared = fit_srm(responses, 4)
    for one in weights:
        np.testing.assert_allclose(one.T @ one, np.eye(4), atol=1e-10)
    assert scipy.linalg.subspace_angles(truth, shared).max() < 0.05
    for one, w in zip(responses, weights, strict=True):
        assert np.linalg.norm(one - shared @ w.T) < 0.12 * np.linalg.norm(one)


@pytest.mark.parametrize(("n_shared", "n_source", "n_target"), [(4, 60, 45), (30, 20, 20)])
def test_transport_is_that_of_fmralign(n_shared, n_source, n_target):
    methods = pytest.importorskip("fmralign.methods")
    rng = np.random.default_rng(0)
    source, target = (rng.standard_normal((n_shared, n)) for n in (n_source, n_target))
    theirs = methods.OptimalTransport(reg=REGULARISATION).fit(source, target)
    ours = fit_transport(source, target)
    np.testing.assert_allclose(ours, theirs.R * n_target, atol=2e-4)
    new = rng.standard_normal((3, n_source))
    np.testing.assert_allclose(new @ ours, theirs.transform(new), atol=1e-3)


def test_transport_recovers_the_order_of_voxels():
    rng = np.random.default_rng(0)
    source, order = rng.standard_normal((20, 40)), rng.permutation(40)
    found = fit_transport(source, source[:, order] + 0.1 * rng.standard_normal((20, 40)))
    np.testing.assert_array_equal(found.argmax(axis=0), order)
    np.testing.assert_allclose(source @ found, source[:, order], atol=0.02)


def test_transport_carries_all_of_equal_masses():
    rng = np.random.default_rng(0)
    found = fit_transport(rng.standard_normal((5, 30)), rng.standard_normal((5, 12)))
    np.testing.assert_allclose(found.sum(axis=0), 1, atol=1e-4)
    np.testing.assert_allclose(found.sum(axis=1), 12 / 30, atol=1e-4)
    # Voxels without any response correspond to all alike.
    np.testing.assert_allclose(fit_transport(np.zeros((5, 3)), np.zeros((5, 4))), 1 / 3)
