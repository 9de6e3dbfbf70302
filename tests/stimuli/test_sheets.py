import numpy as np
from PIL import Image

from bids_decoder.stimuli.sheets import Tile, draw_sheet, save_picture, to_picture


def plain(colour, size=(40, 30)):
    return Image.new("RGB", size, colour)


def test_tiles_lie_in_rows_under_their_titles(tmp_path):
    rows = [[Tile(plain("red"), "a"), Tile(plain("blue"), "b", is_right=True)],
            [Tile(None), Tile(plain("lime", (8, 8)))]]
    sheet = np.asarray(draw_sheet(rows, ("seen", "found"), 50))
    colours = {tuple(pixel) for pixel in sheet.reshape(-1, 3)}
    assert {(255, 0, 0), (0, 0, 255), (0, 255, 0), (0, 132, 107)} <= colours
    red, blue = (np.argwhere((sheet == c).all(axis=-1)) for c in ([255, 0, 0], [0, 0, 255]))
    assert len(red) == len(blue) == 2500
    assert red[:, 1].max() < blue[:, 1].min() and red[0, 0] == blue[0, 0]


def test_files_are_equal_for_equal_pixels(tmp_path):
    picture = to_picture(np.random.default_rng(0).random((9, 9, 3)))
    first = save_picture(tmp_path / "a.png", picture).read_bytes()
    assert save_picture(tmp_path / "b.png", picture).read_bytes() == first
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.png", "b.png"]


def test_values_beyond_the_range_are_cut():
    pixels = np.array([[[-1, 0.5, 2.0]]])
    assert np.asarray(to_picture(pixels)).tolist() == [[[0, 128, 255]]]


def test_long_names_keep_their_end():
    name = "a-very-long-name-of-a-stimulus-0042.png"
    long = np.asarray(draw_sheet([[Tile(plain("red"), name)]], ("x",), 60))
    other = np.asarray(draw_sheet([[Tile(plain("red"), name.replace("42", "43"))]], ("x",), 60))
    assert long.shape == other.shape and (long != other).any()
