from __future__ import annotations

import numpy as np
import pytest

from bids_decoder.simulate.images import make_scene, write_scene
from bids_decoder.stimuli.images import load_image
from bids_decoder.stimuli.pyramid import GaborPyramid


@pytest.fixture(scope="module")
def scenes():
    return np.stack([make_scene(seed) for seed in range(40)])


def test_scenes_are_colourful(scenes):
    assert scenes.shape == (40, 96, 96, 3)
    assert scenes.dtype == np.uint8
    spread = scenes.astype(float).std(axis=(1, 2))
    assert (spread.max(axis=1) > 15).mean() > 0.8
    chroma = np.ptp(scenes.astype(float).mean(axis=(1, 2)), axis=1)
    assert (chroma > 10).mean() > 0.7


def test_scenes_differ(scenes):
    flat = scenes.reshape(40, -1).astype(np.float32)
    distances = np.abs(flat[:, None] - flat[None]).mean(axis=2)
    assert distances[~np.eye(40, dtype=bool)].min() > 5


def test_same_seed_same_picture(scenes):
    assert np.array_equal(make_scene(7), scenes[7])


def test_encoder_tells_scenes_apart(scenes):
    encoder = GaborPyramid()
    pictures = scenes.astype(np.float32) / 255
    resized = np.pad(pictures, ((0, 0), (16, 16), (16, 16), (0, 0)), mode="reflect")
    vectors = np.stack([encoder.encode_array(picture) for picture in resized])
    centred = vectors - vectors.mean(axis=0)
    unit = centred / np.linalg.norm(centred, axis=1, keepdims=True)
    assert (unit @ unit.T)[~np.eye(40, dtype=bool)].max() < 0.95


def test_written_scene_depends_on_name_and_seed(tmp_path):
    one = write_scene(tmp_path / "one.png", "a", seed=1).read_bytes()
    assert write_scene(tmp_path / "two.png", "a", seed=1).read_bytes() == one
    assert write_scene(tmp_path / "three.png", "b", seed=1).read_bytes() != one
    assert write_scene(tmp_path / "four.png", "a", seed=2).read_bytes() != one
    assert load_image(tmp_path / "one.png").shape == (96, 96, 3)
