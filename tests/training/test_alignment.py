"""Decoders on aligned trials: against plain formulas, and with known truth."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from sklearn.svm import LinearSVC

from bids_decoder.errors import InputError, LeakageError
from bids_decoder.training.alignment import (
    MOST_VOXELS,
    Group,
    decode_aligned,
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


ROTATIONS = ("procrustes", "srm")


def decode(sources, train, test, targets=LABELS, names=ROTATIONS, **more):
    group = Group([reduce_source(source, targets, names) for source in sources])
    newcomer = reduce_newcomer(train, test, targets, names)
    return decode_aligned(names, group, newcomer, targets, **more)


def accuracy(found, test):
    return (found.values.argmax(axis=1) == test.target_rows).mean()


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
        found = decode(sources, train, test, names=(*ROTATIONS, "ot"))
        accuracies.append([accuracy(one, test) for one in found.values()])
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


def shuffled(person, n_voxels, seed):
    """Give a person the voxels of person 1, in an order of their own and some of them twice."""
    codes = np.random.default_rng(100).normal(0, 1.5, (len(LABELS.ids), 50))
    rng = np.random.default_rng(seed)
    order = rng.permutation(np.arange(n_voxels) % 50)
    betas = codes[person.target_rows][:, order] + rng.normal(size=(len(person.trials), n_voxels))
    grid = VoxelGrid(np.ones((n_voxels, 1, 1), bool), np.eye(4))
    return replace(person, betas=betas.astype(np.float32), grid=grid), order


def test_transport_finds_the_voxels_of_others():
    sources, train, test = labelled()
    sources = [shuffled(one, n, 1 + k)[0] for k, (one, n) in enumerate(zip(sources, (50, 70),
                                                                           strict=True))]
    both = [shuffled(one, 60, 9)[0] for one in (train, test)]
    found = decode(sources, *both, names=("ot",))
    assert list(found) == ["ot-others", "ot-both"]
    assert all(accuracy(one, test) > 0.85 for one in found.values())
    rolled = decode(sources, *both, names=("ot",), train_rows=(train.target_rows + 1) % 4)
    assert (rolled["ot-others"].values.argmax(axis=1) == (test.target_rows + 1) % 4).mean() > 0.85
    first = decode(sources, both[0], both[1].subset(np.arange(3)), names=("ot",))
    for name, one in found.items():
        np.testing.assert_allclose(first[name].values, one.values[:3], rtol=1e-5, atol=1e-6)


def test_transport_between_too_many_voxels_is_refused():
    _, train, test = labelled()
    large = replace(train, betas=np.zeros((len(train.trials), MOST_VOXELS + 1), np.float32))
    with pytest.raises(InputError, match="5001 voxels"):
        reduce_source(large, LABELS, ("ot",))
    assert reduce_source(large, LABELS, ("srm",)).voxels is None
    assert reduce_newcomer(train, test, LABELS, ("ot",)).test.voxels is test.betas


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
        reduce_source(test, STIMULI, ())
    with pytest.raises(LeakageError):
        reduce_newcomer(
            train, make_person("3", np.arange(29, 50), STIMULI, split="test"), STIMULI, ()
        )
