"""Small grey pictures: the right grey, one size, all problems at once."""

import numpy as np
import pytest
from PIL import Image

from bids_decoder.errors import FindingsError
from bids_decoder.stimuli.grey import load_grey


def test_grey_is_the_one_of_pillow(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (24, 24, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    Image.fromarray(np.full((40, 60, 3), 200, np.uint8)).save(tmp_path / "b.png")
    found = load_grey({"a": tmp_path / "a.png", "b": tmp_path / "b.png"}, 24)
    assert found.dtype == np.uint8 and found.shape == (2, 24, 24)
    expected = np.asarray(Image.fromarray(pixels).convert("L"), dtype=int)
    assert abs(found[0] - expected).max() <= 1
    assert (found[1] == 200).all()


def test_all_problems_at_once(tmp_path):
    (tmp_path / "broken.png").write_bytes(b"no picture")
    with pytest.raises(FindingsError) as caught:
        load_grey({"x": tmp_path / "broken.png", "y": tmp_path / "absent.png"}, 16)
    assert len(caught.value.findings) == 2
