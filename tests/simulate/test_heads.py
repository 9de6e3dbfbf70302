from __future__ import annotations

import numpy as np
import pytest
from nilearn.glm.first_level.hemodynamic_models import compute_regressor
from scipy.spatial.transform import Rotation

from bids_decoder.simulate.bold import (
    Scanner,
    Scene,
    draw_motion,
    response_course,
    simulate_run,
)
from bids_decoder.simulate.cortex import draw_cortex
from bids_decoder.simulate.heads import draw_head, make_phantom, moved, rigid_matrix

SMALL = Scanner(shape=(27, 32, 8), voxel_size=6.3, thermal_sd=1.0, physiology_sd=0.1)


@pytest.fixture(scope="module")
def phantom():
    return make_phantom(4)


@pytest.fixture(scope="module")
def scene(phantom):
    head = draw_head(phantom, np.random.default_rng(1))
    return Scene(head, SMALL, np.eye(4), np.ones(SMALL.shape, np.float32))


def still(n):
    return np.zeros((n, 6))


def test_rigid_matrix_agrees_with_scipy():
    parameters, centre = np.array([1.0, -2, 3, 0.3, -0.2, 0.1]), np.array([5.0, 6, 7])
    matrix = rigid_matrix(parameters, centre)
    rotation = Rotation.from_euler("xyz", parameters[3:]).as_matrix()
    np.testing.assert_allclose(matrix[:3, :3], rotation, atol=1e-12)
    np.testing.assert_allclose(moved(centre[None], matrix)[0], centre + parameters[:3])


@pytest.mark.parametrize("duration", [0.5, 2.0, 16.0])
def test_response_agrees_with_nilearn(duration):
    frames = np.arange(60) * 1.0
    theirs, _ = compute_regressor(
        np.array([[10.0], [duration], [1.0]]), "spm", frames, oversampling=50
    )
    ours = response_course(frames, 10.0, duration)
    np.testing.assert_allclose(ours, theirs[:, 0], atol=0.03 * theirs.max())
    assert ours[:10].max() == 0


def test_slice_times_are_interleaved():
    times = Scanner(shape=(2, 2, 5), t_r=2.0).slice_times
    np.testing.assert_allclose(times, [0, 1.2, 0.4, 1.6, 0.8])


def test_motion_stays_small_and_starts_where_told():
    for seed in range(20):
        start = np.array([0.2, 0, -0.3, 0.003, 0, 0])
        motion = draw_motion(80, start, np.random.default_rng(seed))
        np.testing.assert_allclose(motion[0], start, atol=1e-12)
        assert np.abs(motion[:, :3]).max() < 1.5
        assert np.rad2deg(np.abs(motion[:, 3:])).max() < 1.0
        assert motion.std() > 0


def test_phantom_has_layers_in_order(phantom):
    middle = [size // 2 for size in phantom.t1w.shape]
    line = phantom.t1w[:, middle[1], middle[2]]
    outermost = np.flatnonzero(line > 300)[0]
    skull = outermost + np.flatnonzero(line[outermost:] < 250)[0]
    assert line[skull + 2 :].max() > 500
    assert 0 <= phantom.gm.min() <= phantom.gm.max() <= 1


def test_responses_are_where_and_when_they_should_be(scene):
    responsive = np.zeros(SMALL.shape, bool)
    responsive[12:15, 5:8, 3:5] = True
    betas = np.full((1, int(responsive.sum())), 30.0)
    (run,) = simulate_run(
        scene, [(10.0, 4.0)], betas, responsive, still(30), np.random.default_rng(0)
    )
    run = run.astype(float)
    courses = run[responsive]
    change = 100 * (courses / courses[:, :5].mean(axis=1, keepdims=True) - 1)
    slices = np.argwhere(responsive)[:, 2]
    frames = np.arange(30) * SMALL.t_r
    for number in (3, 4):
        truth = 30 * response_course(frames + SMALL.slice_times[number], 10.0, 4.0)
        measured = change[slices == number].mean(axis=0)
        np.testing.assert_allclose(measured, truth, atol=2.5)
        other = 30 * response_course(frames + SMALL.slice_times[7 - number], 10.0, 4.0)
        assert np.abs(measured - truth).sum() < np.abs(measured - other).sum()
    elsewhere = run[(run.mean(axis=3) > 200) & ~responsive]
    late = elsewhere[:, 7:10].mean() / elsewhere[:, :5].mean()
    assert late == pytest.approx(1, abs=0.01)


def test_the_head_moves_the_way_the_parameters_say(scene):
    shift = np.zeros((2, 6))
    shift[1, 0] = SMALL.voxel_size  # one voxel to the right
    none = np.zeros(SMALL.shape, bool)
    (run,) = simulate_run(scene, [], np.zeros((0, 0)), none, shift, np.random.default_rng(0))
    before, after = run[..., 0].astype(float), run[..., 1].astype(float)
    with_sign = np.corrcoef(before[3:-4].ravel(), after[4:-3].ravel())[0, 1]
    against = np.corrcoef(before[4:-3].ravel(), after[3:-4].ravel())[0, 1]
    assert with_sign > 0.99
    assert against < with_sign - 0.02


def test_cortex_is_posterior_grey_matter_and_partly_shared(phantom, scene):
    other_head = draw_head(phantom, np.random.default_rng(2))
    other = Scene(other_head, SMALL, np.eye(4), scene.coil)
    one, two = (
        draw_cortex(s, n_features=4, n_voxels=60, signal_sd=1.0, seed=5, person=p)
        for s, p in ((scene, "01"), (other, "02"))
    )
    assert one.mask.sum() == 60
    template = scene.template_points[one.mask.ravel()]
    assert np.percentile(template[:, 1], 90) < -40
    assert scene.tissue(phantom.gm)[one.mask].min() > 0.4
    assert not np.array_equal(one.mask, two.mask)
    both = one.mask[one.mask | two.mask] & two.mask[one.mask | two.mask]
    assert both.mean() > 0.15


def test_ncsnr_of_the_cortex_is_that_of_its_responses(scene):
    cortex = draw_cortex(scene, n_features=4, n_voxels=60, signal_sd=1.5, seed=5, person="01")
    rng = np.random.default_rng(0)
    latents = rng.standard_normal((40, 4))
    rows = np.repeat(np.arange(40), 25)
    betas = cortex.respond(latents, rows, rng).reshape(40, 25, -1)
    noise = betas.var(axis=1, ddof=1).mean(axis=0)
    signal = betas.mean(axis=1).var(axis=0)
    np.testing.assert_allclose(np.sqrt(signal / noise), cortex.ncsnr, rtol=0.12)
