"""The mosaic of slices, and frozen backbones where transformers imports."""

import numpy as np
import pytest

from bids_decoder.errors import MissingInputError
from bids_decoder.models.backbones import RANDOM, backbone_features, load_backbone, mosaic


def test_mosaic_has_the_published_size_and_order():
    volumes = np.arange(60, dtype=np.float32)[None, None, None].repeat(95, 1).repeat(79, 2)
    picture = mosaic(volumes)
    assert picture.shape == (1, 570, 790)
    tiles = picture[0, ::95, ::79]
    assert np.array_equal(tiles, np.arange(60).reshape(6, 10))


def test_mosaic_of_few_slices():
    assert mosaic(np.ones((2, 4, 3, 5))).shape == (2, 4, 15)
    assert mosaic(np.ones((1, 2, 2, 12))).shape == (1, 4, 20)
    assert mosaic(np.ones((1, 2, 2, 12))).sum() == 48


def test_random_backbone_depends_on_the_seed_alone():
    pytest.importorskip("transformers")
    volumes = np.random.default_rng(0).random((2, 8, 8, 4)).astype(np.float32)
    first, again, other = (
        backbone_features(load_backbone(RANDOM, seed, "cpu"), volumes, "cpu") for seed in (0, 0, 1)
    )
    assert first.shape == (2, 2048)
    assert np.array_equal(first, again)
    assert not np.allclose(first, other)


def test_missing_backbone_is_named(tmp_path):
    with pytest.raises(MissingInputError, match="--backbone"):
        load_backbone(str(tmp_path), 0, "cpu")
