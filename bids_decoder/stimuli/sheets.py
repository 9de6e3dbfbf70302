"""Contact sheets: pictures side by side with captions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont, ImageOps

from bids_decoder.files import atomic_path

_GAP = 6
_LINE = 15
_INK, _SOFT, _RIGHT = (29, 39, 51), (93, 107, 122), (0, 132, 107)


@dataclass(frozen=True, eq=False)
class Tile:
    """One picture of a sheet.

    Parameters
    ----------
    picture : Image or None
        None leaves the tile empty.
    caption : str
    is_right : bool
        True for a green frame around the picture.
    """

    picture: Image.Image | None
    caption: str = ""
    is_right: bool = False


def to_picture(pixels: np.ndarray) -> Image.Image:
    """Convert sRGB values in [0, 1], (height, width, 3), to a picture of 8 bit."""
    return Image.fromarray(np.rint(np.clip(pixels, 0, 1) * 255).astype(np.uint8))


def save_picture(path: Path, picture: Image.Image) -> Path:
    """Write a PNG atomically; equal pixels have equal bytes."""
    with atomic_path(path) as temporary:
        picture.save(temporary, format="PNG", optimize=False)
    return path


def draw_sheet(rows: Sequence[Sequence[Tile]], header: Sequence[str], edge: int) -> Image.Image:
    """Lay out rows of tiles under a header.

    Parameters
    ----------
    rows : sequence of sequence of Tile
    header : sequence of str
        One title per column.
    edge : int
        Pixels along each edge of a tile; pictures are cut to squares.

    Returns
    -------
    Image
    """
    step = (edge + _GAP, edge + _GAP + _LINE)
    has_captions = any(tile.caption for row in rows for tile in row)
    height = step[1] if has_captions else edge + _GAP
    sheet = Image.new(
        "RGB", (step[0] * len(header) + _GAP, height * len(rows) + _LINE + 2 * _GAP), "white"
    )
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(11)
    for column, title in enumerate(header):
        pen.text((_GAP + column * step[0], _GAP // 2), _cut(title, edge, pen, font), _INK, font)
    for number, row in enumerate(rows):
        top = _LINE + _GAP + number * height
        for column, tile in enumerate(row):
            left = _GAP + column * step[0]
            if tile.picture is not None:
                sheet.paste(_square(tile.picture, edge), (left, top))
            if tile.is_right:
                pen.rectangle((left - 3, top - 3, left + edge + 2, top + edge + 2),
                              outline=_RIGHT, width=3)
            text = _cut(tile.caption, edge, pen, font)
            pen.text((left, top + edge + 2), text, _SOFT, font)
    return sheet


def _square(picture: Image.Image, edge: int) -> Image.Image:
    # Bicubic interpolation would put bright and dark rims around the pixels of coarse pictures.
    grows = min(picture.size) < edge
    method = Image.Resampling.BICUBIC if not grows else Image.Resampling.BILINEAR
    return ImageOps.fit(picture.convert("RGB"), (edge, edge), method)


def _cut(text: str, width: int, pen: ImageDraw.ImageDraw, font: ImageFont.ImageFont) -> str:
    """Shorten text to *width* pixels, keeping its end, in which names differ."""
    if pen.textlength(text, font) <= width:
        return text
    while text and pen.textlength("…" + text, font) > width:
        text = text[1:]
    return "…" + text
