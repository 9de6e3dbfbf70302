"""Smoothing and the latent field on meshes."""

import numpy as np
import pandas as pd
import pytest
import surface_derivatives as surface
from scipy.stats import mannwhitneyu

from bids_decoder.grids.base import FWHM_PER_SD
from bids_decoder.grids.surface import Mesh
from bids_decoder.training.field import SignalField, choose_field, map_signal
from bids_decoder.training.smoothing import default_fwhm_mm, evidence_around, smooth_within
from bids_decoder.trials import Person, VoxelGrid

POINTS, TRIANGLES = surface.sphere(3)
N = len(POINTS)


def grid(used=None):
    """Two spheres far apart."""
    both = np.concatenate([POINTS - [60, 0, 0], POINTS + [60, 0, 0]])
    mesh = Mesh(both, np.concatenate([TRIANGLES, TRIANGLES + N]), N)
    mask = np.ones((2 * N, 1, 1), dtype=bool)
    if used is not None:
        mask[:, 0, 0] = used
    return VoxelGrid(mask, np.eye(4), mesh)


def test_grid_of_vertices_knows_neighbours_and_no_volume():
    whole = grid()
    assert whole.has_neighbours and not whole.has_geometry
    # Euler: a sphere has V - E + F = 2.
    assert len(whole.geometry.edges) == 2 * (N + len(TRIANGLES) - 2)
    part = grid(np.arange(2 * N) % 3 > 0)
    places = part.coordinates
    assert len(places) == part.n_voxels and part.geometry.edges.max() < part.n_voxels
    lengths = np.linalg.norm(np.diff(places[part.geometry.edges], axis=1)[:, 0], axis=1)
    assert lengths.max() < 2 * np.median(lengths)


@pytest.mark.parametrize("fwhm", [8.0, 20.0, 30.0])
def test_kernel_has_the_width_along_the_surface(fwhm):
    kernel = grid().geometry.diffusion(fwhm)
    point = np.zeros((1, 2 * N))
    centre = int(POINTS[:, 2].argmax())
    point[0, centre] = 1
    spread = kernel.adjoint(point)[0]
    assert spread.sum() == pytest.approx(1) and not spread[N:].any()
    angle = np.arccos(np.clip(POINTS @ POINTS[centre] / surface.RADIUS**2, -1, 1))
    variance = (spread[:N] * (angle * surface.RADIUS) ** 2).sum() / 2
    assert np.sqrt(variance) * FWHM_PER_SD == pytest.approx(fwhm, rel=0.1)


def test_adjoint_and_constants():
    used = np.random.default_rng(0).random(2 * N) > 0.3
    kernel = grid(used).geometry.diffusion(12.0)
    rng = np.random.default_rng(1)
    left, right = rng.normal(size=(2, 1, int(used.sum())))
    assert (kernel.smooth(left) * right).sum() == pytest.approx(
        (left * kernel.adjoint(right)).sum())
    np.testing.assert_allclose(kernel.smooth(np.full_like(left, 3.0)), 3.0)
    same = grid(used).geometry.kernel(12.0)
    np.testing.assert_allclose(same.adjoint(right[0]), kernel.adjoint(right)[0])


def test_spread_is_that_of_smoothed_noise():
    kernel = grid().geometry.diffusion(15.0)
    noise = np.random.default_rng(2).normal(size=(2000, 2 * N))
    ratio = kernel.smooth(noise).std(axis=0) / kernel.spread()
    assert ratio.mean() == pytest.approx(1, abs=0.03) and ratio.std() < 0.15


def test_filters_of_voxels_work_on_vertices():
    whole, rng = grid(), np.random.default_rng(3)
    values = rng.normal(size=2 * N)
    width = default_fwhm_mm(whole)
    assert smooth_within(values, whole, 3 * width).std() < 0.5 * values.std()
    # A sum over the neighbourhood with weight one for the vertex itself is larger than its own.
    assert evidence_around(np.ones((1, 2 * N)), whole, 3 * width).mean() > 3


def person(seed, strength=0.5, n_trials=80):
    """A cap of the left sphere responds to one latent."""
    rng = np.random.default_rng(seed)
    whole = grid()
    signal = np.zeros(2 * N, dtype=bool)
    signal[:N] = POINTS[:, 2] > surface.RADIUS * 0.75
    wanted = rng.choice([-1.0, 1.0], (n_trials, 1))
    betas = rng.normal(size=(n_trials, 2 * N)) + strength * wanted * signal
    rows = np.arange(n_trials)
    one = Person("01", whole, betas.astype(np.float32), _trials(n_trials), rows)
    return one, wanted, signal


def _trials(n):
    return pd.DataFrame({"run_group": [f"run-{k % 4}" for k in range(n)]})


def test_smooth_field_on_the_mesh_finds_more_of_the_patch():
    gains = []
    for seed in range(3):
        one, wanted, signal = person(seed, strength=0.3)
        found = [map_signal(one, wanted, field=SignalField(fwhm, 1.0)).share
                 for fwhm in (0.0, 14.0)]
        areas = [_auc(share, signal) for share in found]
        gains.append(areas[1] - areas[0])
    assert min(gains) > 0.02


def test_field_is_chosen_among_smooth_ones():
    one, wanted, _ = person(5)
    assert choose_field(one, wanted).fwhm_mm > 0


def _auc(score, truth):
    return mannwhitneyu(score[truth], score[~truth]).statistic / (truth.sum() * (~truth).sum())
