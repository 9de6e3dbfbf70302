from __future__ import annotations

import numpy as np
import pytest

from bids_decoder.errors import FindingsError, InputError
from bids_decoder.interfaces.targets import read_targets, save_targets
from bids_decoder.models.store import Model
from bids_decoder.stimuli.targets import fit_target_space, make_targets
from bids_decoder.training.decoders import check_same_targets, describe_targets
from bids_decoder.training.zero_shot import decoder_without_trials


class Lengths:
    name = "lengths"
    version = "1"

    def encode(self, paths):
        return np.array([[len(path.name)] for path in paths], dtype=np.float32)


def test_category_targets_are_one_hot_and_sorted():
    targets = make_targets("category", ["house", "face", "house", "face"])
    assert targets.ids == ("face", "house")
    assert np.array_equal(targets.vectors, np.eye(2))
    assert list(targets.rows_of(np.array(["house", "face"]))) == [1, 0]


def test_feature_targets(tmp_path):
    (tmp_path / "f.tsv").write_text("id\tx\nc\t3\na\t1\nb\t2\n")
    targets = make_targets("features", ["c", "a", "c"], features=tmp_path / "f.tsv")
    assert targets.ids == ("a", "c")
    assert targets.vectors.tolist() == [[1], [3]]
    with pytest.raises(FindingsError, match="missing: z"):
        make_targets("features", ["a", "z"], features=tmp_path / "f.tsv")


def test_image_targets(tmp_path):
    images = {"b": tmp_path / "22.png", "a": tmp_path / "1.png"}
    targets = make_targets("image", ["b", "a", "b"], images=images, encoder=Lengths())
    assert targets.ids == ("a", "b")
    assert targets.vectors.tolist() == [[5], [6]]
    with pytest.raises(FindingsError) as caught:
        make_targets("image", ["a", "x", "y"], images=images, encoder=Lengths())
    assert len(caught.value.findings) == 2


def test_one_id_is_not_enough():
    with pytest.raises(InputError, match="only 1"):
        make_targets("category", ["face", "face"])


@pytest.mark.parametrize("kind", ["image", "features", "labels"])
def test_what_the_kind_needs_must_be_given(kind):
    with pytest.raises(ValueError, match=kind):
        make_targets(kind, ["a", "b"])


@pytest.fixture
def cloud():
    rng = np.random.default_rng(5)
    axes = np.linalg.qr(rng.standard_normal((30, 30)))[0][:4]
    return rng.standard_normal((200, 4)) * [10, 5, 2, 0.1] @ axes + 7, axes


def test_space_finds_the_true_axes(cloud):
    vectors, axes = cloud
    space = fit_target_space(vectors, 3)
    overlap = abs(space.components @ axes[:3].T)
    np.testing.assert_allclose(np.diag(overlap), 1, atol=0.03)
    variances = space.transform(vectors).var(axis=0)
    assert variances[0] > 3 * variances[1] > 9 * variances[2]  # not whitened


def test_space_keeps_the_share_of_variance(cloud):
    vectors, _ = cloud
    space = fit_target_space(vectors)
    assert space.n_components == 3
    kept = space.transform(vectors).var(axis=0).sum() / vectors.var(axis=0).sum()
    assert kept >= 0.99
    np.testing.assert_allclose(space.inverse_transform(space.transform(vectors)), vectors, atol=0.5)


def test_space_has_no_more_components_than_the_data(cloud):
    assert fit_target_space(cloud[0], 25).n_components == 4
    assert fit_target_space(cloud[0][:3], 25).n_components == 2


def test_space_depends_on_training_vectors_only(cloud):
    vectors, _ = cloud
    space = fit_target_space(vectors[:100])
    moved = vectors.copy()
    moved[100:] += 1000
    again = fit_target_space(moved[:100])
    assert np.array_equal(space.components, again.components)
    np.testing.assert_allclose(space.transform(vectors[:100]).mean(axis=0), 0, atol=1e-4)


def test_space_of_categories_keeps_them_equally_far_apart():
    space = fit_target_space(np.eye(5))
    assert space.n_components == 4
    gram = space.transform(np.eye(5)) @ space.transform(np.eye(5)).T
    np.testing.assert_allclose(gram, np.eye(5) - 0.2, atol=1e-6)


@pytest.mark.parametrize("vectors", [np.ones((1, 3)), np.ones((4, 3))])
def test_vectors_without_difference_are_refused(vectors):
    with pytest.raises(InputError):
        fit_target_space(vectors)


@pytest.mark.parametrize("whitening", [0.0, 0.5, 1.0])
def test_whitening_evens_out_components_and_can_be_undone(whitening):
    rng = np.random.default_rng(3)
    vectors = rng.standard_normal((400, 6)) * [8, 4, 2, 1, 0.5, 0.25]
    space = fit_target_space(vectors, 6, whitening=whitening)
    scores = space.transform(vectors)
    plain = np.sqrt(400 * 6 * vectors.var() * space.explained / 400)
    ratios = scores.std(axis=0)[:-1] / scores.std(axis=0)[1:]
    expected = (plain[:-1] / plain[1:]) ** (1 - whitening)
    np.testing.assert_allclose(ratios, expected, rtol=1e-4)
    assert (scores**2).sum() == pytest.approx(((vectors - vectors.mean(0)) ** 2).sum(), rel=1e-4)
    np.testing.assert_allclose(space.inverse_transform(scores), vectors, atol=1e-3)


def test_lengths_of_sketched_vectors_are_kept_and_compared(tmp_path):
    made = []
    for length in (9_000, 20_000):
        path = tmp_path / f"{length}.npz"
        vectors = np.random.default_rng(0).standard_normal((3, length))
        np.savez(path, ids=["a", "b", "c"], vectors=vectors)
        targets = make_targets("features", ["a", "b", "c"], features=path)
        made.append(read_targets(save_targets(tmp_path / "targets.npz", targets)))
    assert [one.sketched for one in made] == [9_000, 20_000]
    assert made[0].vectors.shape == made[1].vectors.shape == (3, 4096)
    model = Model({}, {"targets": describe_targets(made[0])})
    check_same_targets(model, made[0])
    with pytest.raises(InputError, match=r"\['sketched'\]: \[9000\] against \[20000\]"):
        check_same_targets(model, made[1])
    with pytest.raises(InputError, match="20000, kept as sketches of 4096 numbers, and the model"):
        decoder_without_trials(model, None, made[1], {})
