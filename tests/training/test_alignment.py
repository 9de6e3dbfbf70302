"""Functional alignment: against fmralign and plain formulas, and with known truth."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import scipy.linalg
from sklearn.svm import LinearSVC

from bids_decoder.errors import LeakageError
from bids_decoder.training.alignment import (
    METHODS,
    Group,
    decode_aligned,
    fit_procrustes,
    fit_srm,
    fit_weights,
    mean_responses,
    reduce_newcomer,
    reduce_source,
)
from bids_decoder.trials import Person, Targets, VoxelGrid

LABELS = Targets(("a", "b", "c", "d"), np.eye(4, dtype=np.float32), "category")
N_STIMULI, N_DIMS = 60, 6
STIMULI = Targets(
    tuple(f"s{k:02d}" for k in range(N_STIMULI)),
    np.random.default_rng(1).standard_normal((N_STIMULI, N_DIMS)).astype(np.float32), "features",
)


def make_person(label, rows, targets, *, n_voxels=50, n_runs=4, split="train", signal=1.0):
    """Responses that are an orthogonal mixture of the vectors of the targets, and noise."""
    rng = np.random.default_rng(int(label) + 10 * (split == "test"))
    mixture = np.linalg.qr(
        np.random.default_rng(100 + int(label)).standard_normal((n_voxels, n_voxels))
    )[0][:targets.vectors.shape[1]]
    betas = 5 * signal * targets.vectors[rows] @ mixture
    betas = betas + rng.standard_normal((len(rows), n_voxels))
    trials = pd.DataFrame({
        "trial": np.arange(1, len(rows) + 1), "split": split, "fold": 1,
        "run_group": np.array([f"{split}-{k * n_runs // len(rows)}" for k in range(len(rows))]),
        "stimulus": np.array(targets.ids)[rows],
    })
    grid = VoxelGrid(np.ones((n_voxels, 1, 1), bool), np.eye(4))
    return Person(label, grid, betas.astype(np.float32), trials, rows)


def labelled(**changes):
    """Two source participants with other numbers of voxels, and a new one."""
    rows = np.tile(np.arange(4), 8)
    sources = [
        make_person(label, rows, LABELS, n_voxels=n_voxels)
        for label, n_voxels in (("1", 50), ("2", 64))
    ]
    train = make_person("3", rows[:16], LABELS, n_voxels=58, **changes)
    test = make_person("3", rows, LABELS, n_voxels=58, split="test", **changes)
    return sources, train, test


def decode(sources, train, test, targets=LABELS, names=tuple(METHODS), **more):
    group = Group([reduce_source(source, targets) for source in sources])
    return decode_aligned(names, group, reduce_newcomer(train, test, targets), targets, **more)


def accuracy(found, test):
    return (found.values.argmax(axis=1) == test.target_rows).mean()


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


def test_a_basis_changes_nothing():
    """The whole of Procrustes alignment, written out in all voxels."""
    sources, train, test = labelled()
    rows, aligned = np.arange(4), []
    wanted = mean_responses(train.betas, train.target_rows, rows)
    for source in sources:
        means = mean_responses(source.betas, source.target_rows, rows)
        left, values, right = np.linalg.svd(
            (means - means.mean(axis=0)).T @ (wanted - wanted.mean(axis=0)), full_matrices=False
        )
        scale = values[:3].sum() / np.square(means - means.mean(axis=0)).sum()
        aligned.append(scale * source.betas @ left[:, :3] @ right[:3])
    joined = {"others": np.concatenate(aligned)}
    joined["both"] = np.concatenate([joined["others"], train.betas])
    labels = np.concatenate([p.target_rows for p in (*sources, train)])
    found = decode(sources, train, test, names=["procrustes"])
    for side, betas in joined.items():
        machine = LinearSVC(C=1.0, random_state=0).fit(betas, labels[:len(betas)])
        np.testing.assert_allclose(
            found[f"procrustes-{side}"].values, machine.decision_function(test.betas), atol=0.02
        )
        assert len(found[f"procrustes-{side}"].train_rows) == len(betas)


def test_codes_in_rotated_voxels_are_decoded():
    sources, train, test = labelled()
    found = decode(sources, train, test)
    assert list(found) == ["procrustes-others", "procrustes-both", "srm-others", "srm-both"]
    assert all(accuracy(one, test) > 0.85 for one in found.values())


def test_without_signal_nothing_is_decoded():
    accuracies = []
    for seed in range(6):
        sources, train, test = labelled(signal=0.0)
        rng = np.random.default_rng(seed)
        train, test = (
            replace(one, betas=rng.standard_normal(one.betas.shape)) for one in (train, test)
        )
        accuracies.append([accuracy(one, test) for one in decode(sources, train, test).values()])
    assert (np.mean(accuracies, axis=0) < 0.4).all()


def test_labels_that_a_source_lacks_are_left_out():
    sources, train, test = labelled()
    sources[0] = sources[0].subset(sources[0].target_rows < 3)
    found = decode(sources, train, test)
    assert accuracy(found["procrustes-others"], test) > 0.8
    assert accuracy(found["procrustes-both"], test) > 0.85
    alone = decode(sources[:1], train, test)["procrustes-others"]
    assert not (alone.values.argmax(axis=1) == 3).any()


def test_permuted_labels_change_the_alignment_and_true_ones_do_not():
    sources, train, test = labelled()
    true = decode(sources, train, test)
    same = decode(sources, train, test, train_rows=train.target_rows)
    rolled = decode(sources, train, test, train_rows=(train.target_rows + 1) % 4)
    for name, found in true.items():
        np.testing.assert_array_equal(found.values, same[name].values)
        assert (rolled[name].values.argmax(axis=1) == (test.target_rows + 1) % 4).mean() > 0.85


def test_a_test_trial_is_predicted_without_the_others():
    sources, train, test = labelled()
    whole, first = decode(sources, train, test), decode(sources, train, test.subset(np.arange(3)))
    for name, found in whole.items():
        np.testing.assert_allclose(first[name].values, found.values[:3], rtol=1e-5, atol=1e-6)


def stimuli():
    """Sources saw more than the training stimuli of the new one; the rest is tested."""
    sources = [
        make_person(label, np.tile(rows, 2), STIMULI)
        for label, rows in (("1", np.arange(40)), ("2", np.arange(5, 45)))
    ]
    train = make_person("3", np.arange(30), STIMULI)
    return sources, train, make_person("3", np.arange(45, 60), STIMULI, split="test")


def test_stimuli_that_nobody_saw_are_found():
    sources, train, test = stimuli()
    for found in decode(sources, train, test, STIMULI).values():
        tested = STIMULI.vectors[test.target_rows]
        hits = np.corrcoef(found.values, tested)[:15, 15:].argmax(axis=1) == np.arange(15)
        assert hits.mean() > 0.6


def test_test_trials_of_sources_and_tested_stimuli_are_refused():
    sources, train, test = stimuli()
    seen = make_person("2", np.arange(20, 50), STIMULI)
    with pytest.raises(LeakageError, match="5 id"):
        decode([sources[0], seen], train, test, STIMULI)
    with pytest.raises(LeakageError, match="not training"):
        reduce_source(test, STIMULI)
    with pytest.raises(LeakageError):
        reduce_newcomer(train, make_person("3", np.arange(29, 50), STIMULI, split="test"), STIMULI)
