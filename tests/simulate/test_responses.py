from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from bids_decoder.simulate.responses import make_world, noise_ceiling, simulate_person
from bids_decoder.simulate.world import ResponseSettings

SMALL = ResponseSettings(
    shape=(20, 24, 16), n_roi=500, median_ncsnr=0.5, n_features=16, n_embedding=24, own=0.2
)


@pytest.fixture(scope="module")
def world():
    return make_world(SMALL, 3)


@pytest.fixture(scope="module")
def person(world):
    return simulate_person(world, 1, n_train=300, n_test_images=60)


def quiet(**changes):
    return make_world(replace(SMALL, drift_sd=0.0, **changes), 3)


def session_scores(trials):
    betas = trials.betas.astype(np.float64)
    for session in np.unique(trials.sessions):
        rows = trials.sessions == session
        betas[rows] = (betas[rows] - betas[rows].mean(0)) / betas[rows].std(0)
    return betas


def retrieval(person, voxels, penalty=100.0):
    """Brain to image, image to brain: top-1 over all test images, averaged repeats."""
    x, y = session_scores(person.train)[:, voxels], person.train.embeddings
    mean = y.mean(axis=0)
    weights = np.linalg.solve(x.T @ x + penalty * np.eye(x.shape[1]), x.T @ (y - mean))
    names, first, rows = np.unique(person.test.images, return_index=True, return_inverse=True)
    predicted = np.zeros((len(names), y.shape[1]))
    np.add.at(predicted, rows, session_scores(person.test)[:, voxels] @ weights)
    gallery = person.test.embeddings[first] - mean
    scores = [v / np.linalg.norm(v, axis=1, keepdims=True) for v in (predicted, gallery)]
    similarity = scores[0] @ scores[1].T
    own = np.arange(len(names))
    return (similarity.argmax(1) == own).mean(), (similarity.argmax(0) == own).mean()


def test_design(person):
    assert person.train.betas.shape == (300, person.grid.n_voxels)
    assert person.train.betas.dtype == np.float32
    names, counts = np.unique(person.test.images, return_counts=True)
    assert len(names) == 60
    assert set(counts) == {3}
    assert not set(names) & set(person.train.images)
    assert not set(person.test.sessions) & set(person.train.sessions)
    assert np.bincount(person.train.runs)[1:].max() == 62
    assert person.roi.sum() == 500


def test_recommended_brain_has_the_published_size():
    world = make_world(replace(ResponseSettings(), n_features=2), 1)
    assert world.brain.sum() == pytest.approx(46_936, rel=0.001)


def test_same_seed_same_bytes(world, person):
    again = simulate_person(world, 1, n_train=300, n_test_images=60)
    assert np.array_equal(again.train.betas, person.train.betas)
    assert np.array_equal(again.test.betas, person.test.betas)
    other = simulate_person(world, 2, n_train=10, n_test_images=60)
    assert not np.array_equal(other.roi, person.roi)
    assert set(other.test.images) == set(person.test.images)
    assert not set(other.train.images) & set(person.train.images)


def test_shared_pictures_have_one_embedding(world, person):
    other = simulate_person(world, 2, n_train=10, n_test_images=60)
    one, two = (
        {name: tuple(vector) for name, vector in zip(p.test.images, p.test.embeddings, strict=True)}
        for p in (person, other)
    )
    assert one == two


def test_region_is_posterior_and_shared_in_part(world, person):
    shares = []
    for group_seed in range(8):
        one = simulate_person(make_world(SMALL, group_seed), 1, n_train=1, n_test_images=1)
        shares.append((one.grid.indices[one.roi, 1] < SMALL.shape[1] / 2).mean())
    assert np.mean(shares) > 0.6
    other = simulate_person(world, 2, n_train=2, n_test_images=2)
    dice = 2 * (person.roi & other.roi).sum() / 1000
    assert 0.3 < dice < 0.95


def test_true_ncsnr_is_what_repeats_show():
    person = simulate_person(quiet(), 1, n_train=2, n_test_images=200)
    order = np.argsort(person.test.images, kind="stable")
    betas = person.test.betas[order].reshape(200, 3, -1)
    noise = betas.var(axis=1, ddof=1).mean(axis=0)
    signal = np.maximum(betas.mean(axis=1).var(axis=0, ddof=1) - noise / 3, 0)
    assert noise.mean() == pytest.approx(1, rel=0.08)
    estimated = np.sqrt(signal / noise)[person.roi]
    assert np.median(estimated) == pytest.approx(np.median(person.ncsnr[person.roi]), rel=0.15)
    assert np.corrcoef(estimated, person.ncsnr[person.roi])[0, 1] > 0.8
    assert np.all(person.ncsnr[~person.roi] == 0)


def test_noise_is_autocorrelated_over_trials():
    betas = simulate_person(quiet(), 1, n_train=700, n_test_images=1).train.betas
    outside = betas - betas.mean(axis=0)
    lag_one = (outside[1:] * outside[:-1]).mean() / outside.var()
    assert lag_one == pytest.approx(0.2, abs=0.05)


@pytest.mark.parametrize(("fwhm", "low", "high"), [
    (0, 0.02, 0.09), (2, 0.25, 0.45), (4, 0.4, 0.55),
])
def test_neighbours_share_noise_as_told(fwhm, low, high):
    person = simulate_person(quiet(noise_fwhm=fwhm), 1, n_train=400, n_test_images=1)
    volumes = person.grid.to_volume(person.train.betas)
    roi = person.grid.to_volume(person.roi)
    usable = person.grid.mask & ~roi
    pairs = np.argwhere(usable[:-1] & usable[1:])[::10]
    r = [np.corrcoef(volumes[i, j, k], volumes[i + 1, j, k])[0, 1] for i, j, k in pairs]
    assert low < np.mean(r) < high


def test_drift_raises_the_variance_as_told():
    still = simulate_person(quiet(), 1, n_train=300, n_test_images=1).train.betas
    drifting = simulate_person(
        make_world(replace(SMALL, drift_sd=0.6), 3), 1, n_train=300, n_test_images=1
    ).train.betas
    # Linear and quadratic part, 0.36 each; the offset is constant within the session.
    assert drifting.var(axis=0).mean() - still.var(axis=0).mean() == pytest.approx(0.72, abs=0.2)


def test_voxels_outside_the_brain_are_white_noise():
    person = simulate_person(
        make_world(replace(SMALL, whole_box=True), 3), 1, n_train=200, n_test_images=2
    )
    assert person.grid.mask.all()
    assert person.roi.sum() == 500
    corner = person.train.betas[:, 0]
    assert corner.std() == pytest.approx(1, abs=0.15)
    assert abs(np.corrcoef(corner[1:], corner[:-1])[0, 1]) < 0.2


def test_suppressors_help_only_together_with_the_region():
    person = simulate_person(
        quiet(suppressor_fraction=0.3, noise_fwhm=1.5), 1, n_train=700, n_test_images=100
    )
    assert person.suppressors.sum() == round(0.3 * (~person.roi).sum())
    assert not (person.suppressors & person.roi).any()
    alone = retrieval(person, person.suppressors)[1]
    region = retrieval(person, person.roi)[1]
    both = retrieval(person, person.suppressors | person.roi)[1]
    assert alone < 0.06
    assert both >= region


def test_distractors_follow_one_course_and_tell_nothing():
    person = simulate_person(quiet(n_distractor=200), 1, n_train=300, n_test_images=60)
    assert person.distractors.sum() == 200
    assert not (person.distractors & person.roi).any()
    betas = person.train.betas[:, person.distractors]
    strongest = np.linalg.svd(betas - betas.mean(0), compute_uv=False)[0] ** 2
    assert strongest / (betas.var(axis=0).sum() * 300) > 0.4
    assert retrieval(person, person.distractors)[1] < 0.1


def test_tuning_is_as_similar_as_told():
    correlations = []
    for similarity in (0.0, 0.9):
        world = make_world(
            replace(SMALL, similarity=similarity, drift_sd=0, median_ncsnr=3.0), group_seed=3
        )
        people = [
            simulate_person(world, seed, n_train=1, n_test_images=80) for seed in (1, 2)
        ]
        maps = []
        for person in people:
            order = np.argsort(person.test.images, kind="stable")
            maps.append(person.test.betas[order].reshape(80, 3, -1).mean(axis=1))
        both = people[0].roi & people[1].roi
        pairs = zip(maps[0][:, both].T, maps[1][:, both].T, strict=True)
        correlations.append(np.mean([np.corrcoef(a, b)[0, 1] for a, b in pairs]))
    assert abs(correlations[0]) < 0.3
    assert correlations[1] > 0.65


def test_region_decodes_and_the_rest_does_not(person):
    b2i, i2b = retrieval(person, person.roi)
    assert b2i > 0.4
    assert i2b > 0.6
    assert max(retrieval(person, ~person.roi)) < 0.15


def test_strong_signal_is_decoded_perfectly():
    strong = replace(SMALL, own=0.0, median_ncsnr=2.0)
    person = simulate_person(make_world(strong, 3), 1, n_train=700, n_test_images=60)
    assert min(retrieval(person, person.roi)) > 0.95


def test_noise_ceiling():
    assert noise_ceiling(np.array([0.0, 1.0]), 1) == pytest.approx([0, 0.5])
    assert noise_ceiling(0.26, 3) == pytest.approx(0.169, abs=0.001)
