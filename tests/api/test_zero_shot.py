"""Pretrained models as decoders of participants without labelled trials, in Python."""

import nibabel as nib
import numpy as np
import pytest

from bids_decoder import EpisodicPretrainer, load_decoder
from bids_decoder.errors import InputError
from bids_decoder.training.smoothing import smooth_within
from bids_decoder.trials import VoxelGrid

SHAPE, SPACE = (7, 6, 5), "MNI152NLin6Asym"
MASK = nib.Nifti1Image(np.ones(SHAPE, np.uint8), np.diag([3.0, 3.0, 3.0, 1.0]))
GRID = VoxelGrid(np.ones(SHAPE, bool), MASK.affine)
LABELS = np.array(["cat", "dog", "fox"])
VECTORS = {f"s{k:02d}": row for k, row in enumerate(
    np.random.default_rng(5).standard_normal((30, 4))
)}


def person(seed, codes, names):
    """Trials whose voxels are the same sums of *codes* in everybody."""
    maps = np.random.default_rng(0).standard_normal((codes.shape[1], GRID.n_voxels))
    maps = np.stack([smooth_within(row, GRID, 6.0) for row in maps])
    maps /= maps.std(axis=1, keepdims=True)
    rng = np.random.default_rng(seed)
    rows = np.concatenate([rng.permutation(len(names)) for _ in range(4)])
    betas = 0.4 * codes[rows] @ maps + rng.standard_normal((len(rows), GRID.n_voxels))
    return 5 + 2 * betas, names[rows], np.repeat([1, 2, 3, 4], len(names))


@pytest.fixture(scope="module")
def of_labels(tmp_path_factory):
    names = np.repeat(LABELS, 4)
    codes = np.repeat(np.eye(3), 4, axis=0)
    X, y, groups = zip(*(person(seed, codes, names) for seed in (1, 2, 3)), strict=True)
    pretrainer = EpisodicPretrainer(mask_img=MASK, space=SPACE, epochs=1, random_state=0)
    path = pretrainer.fit(X, y, groups).save(
        tmp_path_factory.mktemp("group") / "desc-pretrained_model.safetensors"
    )
    return path, person(9, codes, names)


@pytest.fixture(scope="module")
def of_stimuli(tmp_path_factory):
    names = np.array(list(VECTORS))
    codes = np.stack(list(VECTORS.values()))
    X, y, groups = zip(*(person(seed, codes, names) for seed in (1, 2, 3)), strict=True)
    pretrainer = EpisodicPretrainer(
        embeddings=VECTORS, mask_img=MASK, space=SPACE, epochs=1, random_state=0
    )
    return pretrainer.fit(X, y, groups).save(tmp_path_factory.mktemp("g") / "m.safetensors")


def test_labels_of_a_new_person_are_predicted_from_arrays_and_images(of_labels):
    path, (X, y, _) = of_labels
    loaded = load_decoder(path.parent)
    assert loaded.participant == "" and loaded.n_features_in_ == GRID.n_voxels
    assert loaded.score(X, y) > 0.6
    image = nib.Nifti1Image(GRID.to_volume(X).astype(np.float32), MASK.affine)
    np.testing.assert_array_equal(loaded.predict(image), loaded.predict(X))
    np.testing.assert_allclose(loaded.predict_proba(X).sum(axis=1), 1, rtol=1e-5)


def test_other_voxels_of_the_space_are_read_by_their_places(of_labels):
    path, (X, y, _) = of_labels
    half = np.zeros(SHAPE, np.uint8)
    half[:4] = 1
    loaded = load_decoder(path, mask_img=nib.Nifti1Image(half, MASK.affine))
    assert loaded.score(X[:, half.ravel() > 0], y) > 0.5
    away = nib.Nifti1Image(half, MASK.affine + 900 * np.eye(4, k=3))
    with pytest.raises(InputError, match="where the maps of the source"):
        load_decoder(path, mask_img=away)


def test_stimuli_are_chosen_among_those_that_are_given(of_stimuli):
    rng = np.random.default_rng(21)
    new = {f"n{k:02d}": row for k, row in enumerate(rng.standard_normal((10, 4)))}
    X, y, _ = person(9, np.stack(list(new.values())), np.array(list(new)))
    loaded = load_decoder(of_stimuli, embeddings=new)
    assert list(loaded.classes_) == list(new) and loaded.score(X, y) > 0.4
    shuffled = load_decoder(of_stimuli, embeddings=dict(zip(new, rng.permutation(
        np.stack(list(new.values()))), strict=True)))
    assert shuffled.score(X, y) < 0.4


def test_what_cannot_be_decoded_is_refused_with_what_to_do(of_labels, of_stimuli, tmp_path):
    path, (X, y, groups) = of_labels
    with pytest.raises(InputError, match="holds no stimuli to choose among"):
        load_decoder(of_stimuli)
    with pytest.raises(InputError, match="leave embeddings out"):
        load_decoder(path, embeddings=VECTORS)
    with pytest.raises(InputError, match="has no training trials"):
        load_decoder(path, scaling="training")
    alone = EpisodicPretrainer(epochs=1, random_state=0).fit([X, X], [y, y], [groups, groups])
    plain = alone.save(tmp_path / "plain.safetensors")
    with pytest.raises(InputError, match="share no standard space") as caught:
        load_decoder(plain)
    assert f"TROIDecoder(pretrained={str(plain)!r}).fit" in caught.value.finding.fix
