"""Simulated tuning: what is known about it must be true."""

import numpy as np
import pytest
from sklearn.linear_model import LinearRegression

from bids_decoder.simulate.encoding import edge_energy, make_encoded_world


@pytest.fixture(scope="module")
def pictures():
    rng = np.random.default_rng(0)
    return rng.integers(0, 256, (150, 24, 24), dtype=np.uint8)


def test_energy_tells_the_orientation():
    x = np.arange(24)
    stripes = np.stack([
        np.tile(128 + 100 * np.sin(2 * np.pi * x / 5), (24, 1)),
        np.tile(128 + 100 * np.sin(2 * np.pi * x / 5), (24, 1)).T,
    ]).astype(np.uint8)
    energy = edge_energy(stripes)[:, :, 12, 12]
    assert energy.argmax(axis=1).tolist() == [0, 2]


@pytest.mark.parametrize("tuning", ["energy", "conjunction"])
def test_only_the_region_responds(pictures, tuning):
    region = np.arange(10) < 4
    world = make_encoded_world(pictures, region, tuning, 1)
    np.testing.assert_allclose(world.signal[:, region].std(axis=0), 1, rtol=1e-3)
    assert not world.signal[:, ~region].any()
    betas = world.respond(np.arange(150), 2.0, np.random.default_rng(0))
    spread = betas.std(axis=0)
    assert (spread[region] > 1.8).all() and (spread[~region] < 1.3).all()
    again = make_encoded_world(pictures, region, tuning, 1)
    assert (again.signal == world.signal).all()


def test_conjunctions_are_no_sum_of_energies(pictures):
    energy = edge_energy(pictures)
    explained = {}
    for tuning in ("energy", "conjunction"):
        signal = make_encoded_world(pictures, np.ones(1, bool), tuning, 2).signal[:, 0]
        explained[tuning] = max(
            LinearRegression().fit(energy[:, :, y, x], signal).score(energy[:, :, y, x], signal)
            for y in range(24) for x in range(24)
        )
    assert explained["energy"] > 0.99
    assert explained["conjunction"] < 0.6
