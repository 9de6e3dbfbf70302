"""Pictures of any kind as arrays of one size."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import overload

import numpy as np
from PIL import Image, ImageOps

from bids_decoder.errors import MissingInputError, explain_damage
from bids_decoder.files import file_digest
from bids_decoder.stacks import largest_value, read_stack, stack_row

BACKGROUND = 128
"""Grey level behind transparent pixels: the screen colour of most experiments."""

MAX_PIXELS = 50_000_000
"""Number of pixels above which a picture is taken to be a mistake, and not decoded."""


def load_image(path: Path, size: int | None = None) -> np.ndarray:
    """Read one picture.

    Any mode that Pillow knows becomes RGB: palettes are resolved, transparent pixels are put on
    mid grey, CMYK is converted, 16 bit and float pictures are scaled, the Exif orientation is
    applied; of an animation the first frame is read.

    Parameters
    ----------
    path : Path
        A file, or a row of a stack (:mod:`bids_decoder.stacks`).
    size : int or None
        Edge in pixels of the square that is cut out of the middle and resampled; None keeps
        the picture as it is.

    Returns
    -------
    ndarray of float32, shape (height, width, 3)
        sRGB values in [0, 1].

    Raises
    ------
    MissingInputError
        When the file does not exist, or is only a dangling link.
    InputError
        When the file is not a picture, is damaged, or holds values without a known range.
    """
    picture = load_picture(path)
    if size is not None:
        picture = ImageOps.fit(picture, (size, size), Image.Resampling.BICUBIC)
    return np.asarray(picture, dtype=np.float32) / 255.0


class ImageFiles(Sequence[np.ndarray]):
    """Pictures in files that are read each time they are asked for, and not kept.

    Parameters
    ----------
    paths : sequence of Path
        As for :func:`load_image`.
    size : int
        Edge in pixels of every picture.
    """

    def __init__(self, paths: Sequence[Path], size: int) -> None:
        self.paths, self.size = list(paths), size

    def __len__(self) -> int:
        """Return the number of pictures."""
        return len(self.paths)

    @overload
    def __getitem__(self, place: int) -> np.ndarray: ...

    @overload
    def __getitem__(self, place: slice) -> ImageFiles: ...

    def __getitem__(self, place: int | slice) -> np.ndarray | ImageFiles:
        """Read one picture, or return those of a slice."""
        if isinstance(place, slice):
            return ImageFiles(self.paths[place], self.size)
        return load_image(self.paths[place], self.size)


def load_picture(path: Path) -> Image.Image:
    """Read one picture as an RGB image of Pillow; see :func:`load_image`."""
    place = stack_row(path)
    if place is None and not path.is_file():
        raise _missing(path)
    with explain_damage(
        f"stimulus {path}", "cannot be read as a picture",
        "replace the file; PNG, JPEG, TIFF, BMP, GIF and WebP are read",
    ):
        if place is not None:
            pixels = read_stack(place)
            top = 1.0 if pixels.dtype.kind in "fb" else largest_value(place)
            return _to_rgb(_from_pixels(pixels, top))
        return _open_picture(path)


def _open_picture(path: Path) -> Image.Image:
    with warnings.catch_warnings():
        # Pillow only warns about a possible decompression bomb; the limit here is lower.
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        with Image.open(path) as image:
            if image.width * image.height > MAX_PIXELS:
                raise ValueError(
                    f"{image.width} x {image.height} pixels; {MAX_PIXELS} are the most"
                )
            return _to_rgb(ImageOps.exif_transpose(image))


def picture_digest(path: Path) -> str:
    """Compute the SHA256 of a picture's content: its file, or its pixels in a stack."""
    place = stack_row(path)
    if place is None:
        return file_digest(path)
    pixels = np.ascontiguousarray(read_stack(place))
    head = f"{pixels.dtype.str} {pixels.shape} ".encode()
    return hashlib.sha256(head + pixels.tobytes()).hexdigest()


def _missing(path: Path) -> MissingInputError:
    if path.is_symlink():
        return MissingInputError(
            f"stimulus {path}", f"is a link to {path.readlink()}, which is not there",
            f"fetch its content, for instance: datalad get {path}",
        )
    return MissingInputError(
        f"stimulus {path}", "no such file",
        "put the picture there, or use --stimuli-dir, or decode from a table with --features",
    )


def _from_pixels(pixels: np.ndarray, top: float) -> Image.Image:
    """Convert stored pixels from 0 to *top* to a picture."""
    values = pixels[..., 0] if pixels.ndim == 3 and pixels.shape[-1] == 1 else pixels
    if not (np.isfinite(values).all() and values.min() >= 0 and values.max() <= top):
        raise ValueError(f"pixels outside 0 to {top:g}")
    return Image.fromarray(np.rint(values * (255.0 / top)).astype(np.uint8))


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode in ("I", "F") or image.mode.startswith("I;16"):
        return Image.fromarray(_eight_bit(image)).convert("RGB")
    if image.has_transparency_data:
        layer = image.convert("RGBA")
        background = Image.new("RGBA", layer.size, (BACKGROUND,) * 3 + (255,))
        return Image.alpha_composite(background, layer).convert("RGB")
    return image.convert("RGB")


def _eight_bit(image: Image.Image) -> np.ndarray:
    values = np.asarray(image, dtype=np.float64)
    top = 1.0 if image.mode == "F" else 65535.0
    if not (np.isfinite(values).all() and values.min() >= 0 and values.max() <= top):
        raise ValueError(f"pixel values of mode {image.mode} outside 0 to {top:g}")
    return np.rint(values * (255.0 / top)).astype(np.uint8)
