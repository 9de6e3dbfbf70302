"""Colourful scenes made from a seed: pictures that are free to share."""

from __future__ import annotations

import colorsys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import scipy.fft
from PIL import Image, ImageDraw, ImageFilter

from bids_decoder.files import atomic_path
from bids_decoder.seeds import derive_seed

_OVERSAMPLING = 2


@dataclass
class _Canvas:
    """A picture while it is painted; lengths are parts of its edge."""

    image: Image.Image
    rng: np.random.Generator

    @property
    def size(self) -> int:
        return self.image.width

    def paint(self, mask: np.ndarray | Image.Image, colour: np.ndarray) -> None:
        """Put *colour*, (3,) or (size, size, 3) in [0, 1], where *mask* is set."""
        if isinstance(mask, np.ndarray):
            mask = _eight_bit(mask)
        box = mask.getbbox()
        if box is None:
            return
        if colour.ndim == 1:
            flat = tuple(int(level) for level in 255 * np.clip(colour, 0, 1))
            self.image.paste(flat, box, mask.crop(box))
            return
        layer = _eight_bit(colour[box[1] : box[3], box[0] : box[2]])
        self.image.paste(layer, box, mask.crop(box))

    def shape(self, kind: str, points: object) -> Image.Image:
        """Draw a filled ellipse, rectangle or polygon as a mask."""
        mask = Image.new("L", self.image.size)
        scaled = [tuple(self.size * np.asarray(point)) for point in points]
        getattr(ImageDraw.Draw(mask), kind)(scaled, fill=255)
        return mask

    def texture(self, exponent: float, stretch: float = 1.0) -> np.ndarray:
        """Draw noise with amplitude 1/f**exponent, unit variance, stretched sideways."""
        fy, fx = np.meshgrid(
            scipy.fft.fftfreq(self.size), scipy.fft.rfftfreq(self.size), indexing="ij"
        )
        radius = np.hypot(fy, stretch * fx)
        radius[0, 0] = np.inf
        white = self.rng.standard_normal((self.size, self.size), dtype=np.float32)
        gain = (radius**-exponent).astype(np.float32)
        noise = scipy.fft.irfft2(scipy.fft.rfft2(white) * gain, s=(self.size, self.size))
        return noise / noise.std()

    def grid(self) -> tuple[np.ndarray, np.ndarray]:
        """Return y (downwards) and x of each pixel, in [0, 1)."""
        y, x = np.mgrid[: self.size, : self.size] / self.size
        return y, x


def _eight_bit(values: np.ndarray) -> Image.Image:
    return Image.fromarray((255 * np.clip(values, 0, 1)).astype(np.uint8))


def make_scene(seed: int, size: int = 96) -> np.ndarray:
    """Paint one scene.

    Landscapes, seas, woods, towns, fruit on a table and flowers, each with its own light,
    colours, forms and textures.

    Parameters
    ----------
    seed : int
        The same seed gives the same picture.
    size : int
        Edge in pixels.

    Returns
    -------
    ndarray of uint8, shape (size, size, 3)
        sRGB.
    """
    rng = np.random.default_rng(seed)
    edge = _OVERSAMPLING * size
    canvas = _Canvas(Image.new("RGB", (edge, edge)), rng)
    painter = _PAINTERS[int(rng.integers(len(_PAINTERS)))]
    painter(canvas)
    _light(canvas)
    softened = canvas.image.filter(ImageFilter.GaussianBlur(float(rng.uniform(0, 1.2))))
    return np.asarray(softened.resize((size, size), Image.Resampling.BOX))


def write_scene(path: Path, name: str, *, seed: int, size: int = 96) -> Path:
    """Write the scene that belongs to *name* as PNG.

    Parameters
    ----------
    path : Path
    name : str
        Stimulus id; with *seed* it determines the picture.
    seed : int
    size : int
        Edge in pixels.
    """
    picture = Image.fromarray(make_scene(derive_seed(seed, "scene", name), size))
    with atomic_path(path) as temporary:
        picture.save(temporary, format="PNG")
    return path


def _colour(
    rng: np.random.Generator, hue: tuple[float, float] = (0.0, 1.0),
    saturation: tuple[float, float] = (0.3, 0.9), value: tuple[float, float] = (0.3, 0.95),
) -> np.ndarray:
    draws = (rng.uniform(*hue) % 1, rng.uniform(*saturation), rng.uniform(*value))
    return np.array(colorsys.hsv_to_rgb(*draws))


def _shaded(colour: np.ndarray, shade: np.ndarray) -> np.ndarray:
    return colour.astype(np.float32) * np.clip(1 + shade, 0.2, 1.8).astype(np.float32)[..., None]


def _sky(canvas: _Canvas) -> None:
    rng = canvas.rng
    y, _ = canvas.grid()
    dusk = rng.random() < 0.35
    top = _colour(rng, (0.6, 0.8) if dusk else (0.53, 0.63), (0.4, 0.9), (0.25, 0.9))
    low = _colour(rng, (0.0, 0.12) if dusk else (0.5, 0.6), (0.1, 0.7), (0.8, 1.0))
    blend = np.clip(y / rng.uniform(0.5, 1.0), 0, 1)[..., None]
    canvas.paint(np.ones_like(y), top * (1 - blend) + low * blend)
    clouds = canvas.texture(1.6, rng.uniform(1.5, 3)) - rng.uniform(-0.3, 1.5)
    canvas.paint(0.9 * np.clip(clouds, 0, 1), np.array([1.0, 0.96, 0.93]))
    if rng.random() < 0.4:
        x, top, radius = rng.uniform(0.1, 0.9), rng.uniform(0.03, 0.25), rng.uniform(0.04, 0.09)
        disc = canvas.shape("ellipse", [(x - radius, top), (x + radius, top + 2 * radius)])
        canvas.paint(disc, np.array([1.0, 0.93, 0.7]))


def _ground(canvas: _Canvas, horizon: float, hue: tuple[float, float]) -> None:
    y, _ = canvas.grid()
    near = np.clip((y - horizon) / (1 - horizon), 0, 1)
    grain = 0.16 * canvas.texture(0.7) * (0.3 + near) + 0.1 * canvas.texture(1.5, 3.0) - 0.25 * near
    canvas.paint(y >= horizon, _shaded(_colour(canvas.rng, hue, (0.3, 0.8), (0.4, 0.85)), grain))


def _ridge(canvas: _Canvas, height: float, rough: float, colour: np.ndarray) -> None:
    """Paint hills whose outline is a random walk around *height*."""
    y, _ = canvas.grid()
    outline = canvas.texture(1.8)[0]
    mask = y >= height + rough * (outline - outline.mean())[None, :]
    canvas.paint(mask, _shaded(colour, 0.14 * canvas.texture(1.1)))


def _landscape(canvas: _Canvas) -> None:
    rng = canvas.rng
    _sky(canvas)
    horizon = rng.uniform(0.4, 0.65)
    for layer in range(int(rng.integers(1, 4))):
        colour = _colour(rng, (0.2, 0.75), (0.15, 0.6), (0.25, 0.7))
        _ridge(canvas, horizon - 0.16 + 0.07 * layer, rng.uniform(0.03, 0.12), colour)
    _ground(canvas, horizon, (0.07, 0.38))
    for _ in range(int(rng.integers(0, 6))):
        _tree(canvas, rng.uniform(0.05, 0.95), rng.uniform(horizon, 0.95))


def _sea(canvas: _Canvas) -> None:
    rng = canvas.rng
    _sky(canvas)
    horizon = rng.uniform(0.35, 0.6)
    y, _ = canvas.grid()
    waves = 0.22 * canvas.texture(1.1, rng.uniform(3, 12))
    water = _colour(rng, (0.45, 0.63), (0.4, 0.9), (0.35, 0.8))
    canvas.paint(y >= horizon, _shaded(water, waves))
    if rng.random() < 0.6:
        _ridge(canvas, rng.uniform(0.8, 0.95), 0.03, _colour(rng, (0.08, 0.14), (0.3, 0.6)))
    for _ in range(int(rng.integers(0, 4))):
        x, base = rng.uniform(0.1, 0.9), rng.uniform(horizon + 0.03, 0.8)
        length = 0.06 + 0.35 * (base - horizon)
        hull = [(x - length, base - 0.3 * length), (x + length, base - 0.3 * length),
                (x + 0.6 * length, base), (x - 0.6 * length, base)]
        canvas.paint(canvas.shape("polygon", hull), _colour(rng, (0.95, 1.1)))
        sail = [(x, base - 2 * length), (x, base - 0.35 * length),
                (x + 0.9 * length, base - 0.35 * length)]
        canvas.paint(canvas.shape("polygon", sail), _colour(rng, (0, 1), (0.0, 0.5), (0.8, 1.0)))


def _tree(canvas: _Canvas, x: float, base: float) -> None:
    rng = canvas.rng
    height = rng.uniform(0.12, 0.3) * (0.4 + base)
    width = height * rng.uniform(0.05, 0.1)
    trunk = canvas.shape("rectangle", [(x - width, base - height), (x + width, base)])
    canvas.paint(trunk, _colour(rng, (0.04, 0.1), (0.3, 0.7), (0.15, 0.45)))
    leaves = _colour(rng, (0.08, 0.42), (0.4, 0.9), (0.25, 0.8))
    shading = 0.35 * canvas.texture(0.8)
    if rng.random() < 0.4:
        crown = [(x - 0.4 * height, base - 0.3 * height), (x + 0.4 * height, base - 0.3 * height),
                 (x, base - 1.5 * height)]
        canvas.paint(canvas.shape("polygon", crown), _shaded(leaves, shading))
        return
    for _ in range(5):
        cx, cy = x + 0.3 * height * rng.normal(), base - height * rng.uniform(0.75, 1.25)
        radius = height * rng.uniform(0.2, 0.4)
        ball = canvas.shape("ellipse", [(cx - radius, cy - radius), (cx + radius, cy + radius)])
        canvas.paint(ball, _shaded(leaves, shading))


def _wood(canvas: _Canvas) -> None:
    rng = canvas.rng
    y, _ = canvas.grid()
    back = _colour(rng, (0.15, 0.45), (0.3, 0.8), (0.4, 0.9))
    canvas.paint(np.ones_like(y), _shaded(back, 0.35 * canvas.texture(1.0)))
    _ground(canvas, rng.uniform(0.7, 0.85), (0.05, 0.3))
    for _ in range(int(rng.integers(4, 12))):
        x, width, lean = rng.uniform(0, 1), rng.uniform(0.01, 0.06), rng.normal(0, 0.04)
        base = rng.uniform(0.75, 1.0)
        stem = [(x - width, base), (x + width, base), (x + lean + 0.6 * width, 0),
                (x + lean - 0.6 * width, 0)]
        bark = _shaded(_colour(rng, (0.03, 0.12), (0.1, 0.6), (0.1, 0.6)),
                       0.3 * canvas.texture(0.9, 0.2))
        canvas.paint(canvas.shape("polygon", stem), bark)


def _town(canvas: _Canvas) -> None:
    rng = canvas.rng
    _sky(canvas)
    _ground(canvas, 0.8, (0.05, 0.15))
    x = rng.uniform(-0.1, 0.0)
    while x < 1:
        width, top = rng.uniform(0.12, 0.3), rng.uniform(0.15, 0.6)
        wall = _shaded(_colour(rng, (0.0, 1.0), (0.1, 0.7)), 0.08 * canvas.texture(1.0))
        canvas.paint(canvas.shape("rectangle", [(x, top), (x + width, 0.85)]), wall)
        if rng.random() < 0.5:
            roof = [(x - 0.02, top), (x + width + 0.02, top), (x + width / 2, top - 0.4 * width)]
            canvas.paint(canvas.shape("polygon", roof), _colour(rng, (0.98, 1.08)))
        glass = _colour(rng, (0.1, 0.65), (0.1, 0.8), (0.1, 1.0))
        step = rng.uniform(0.05, 0.09)
        rows, columns = canvas.grid()
        panes = ((rows - top - 0.04) % step < 0.55 * step) & (rows > top + 0.03) & (rows < 0.8)
        panes &= ((columns - x - 0.025) % step < 0.45 * step) & (columns > x + 0.02)
        canvas.paint(panes & (columns < x + width - 0.02), glass)
        x += width + rng.uniform(0, 0.04)


def _ball(canvas: _Canvas, x: float, y: float, radius: float, colour: np.ndarray) -> None:
    """Paint a sphere that is lit from the upper left."""
    edge = max(int(2 * radius * canvas.size), 2)
    dy, dx = np.meshgrid(*[np.linspace(-1, 1, edge, dtype=np.float32)] * 2, indexing="ij")
    square = dx**2 + dy**2
    light = np.clip(-0.5 * dx - 0.55 * dy + 0.66 * np.sqrt(np.clip(1 - square, 0, 1)), 0, 1)
    body = colour * (0.25 + 0.85 * light[..., None]) + 0.7 * (light**12)[..., None]
    corner = (int((x - radius) * canvas.size), int((y - radius) * canvas.size))
    canvas.image.paste(_eight_bit(body), corner, _eight_bit(square <= 1))


def _table(canvas: _Canvas) -> None:
    rng = canvas.rng
    y, x = canvas.grid()
    wall = _shaded(_colour(rng, (0, 1), (0.1, 0.6), (0.3, 0.9)), 0.08 * canvas.texture(1.4))
    canvas.paint(np.ones_like(y), wall)
    edge = rng.uniform(0.45, 0.65)
    wood = 0.18 * canvas.texture(1.2, 8.0) + 0.1 * np.sin(40 * (y + 0.1 * x) * rng.uniform(0, 2))
    canvas.paint(y >= edge, _shaded(_colour(rng, (0.02, 0.14), (0.3, 0.8)), wood))
    for _ in range(int(rng.integers(2, 8))):
        radius = rng.uniform(0.07, 0.2)
        cx, cy = rng.uniform(0.1, 0.9), rng.uniform(edge, 0.9)
        shadow = canvas.shape("ellipse", [(cx - radius, cy + 0.6 * radius),
                                          (cx + 1.5 * radius, cy + 1.1 * radius)])
        canvas.paint(shadow, _colour(rng, (0, 0.1), (0.3, 0.5), (0.1, 0.2)))
        _ball(canvas, cx, cy, radius, _colour(rng, (0.95, 1.4), (0.6, 1.0), (0.6, 1.0)))


def _flowers(canvas: _Canvas) -> None:
    rng = canvas.rng
    y, _ = canvas.grid()
    leaves = _shaded(_colour(rng, (0.2, 0.45), (0.4, 0.9), (0.2, 0.6)), 0.4 * canvas.texture(0.9))
    canvas.paint(np.ones_like(y), leaves)
    petal_colour, n_petals = _colour(rng, (0.7, 1.2), (0.4, 1.0), (0.7, 1.0)), rng.integers(5, 10)
    for _ in range(int(rng.integers(2, 9))):
        cx, cy, radius = rng.uniform(0.05, 0.95), rng.uniform(0.05, 0.95), rng.uniform(0.07, 0.25)
        for angle in np.linspace(0, 2 * np.pi, n_petals, endpoint=False) + rng.uniform(0, 1):
            px, py = cx + 0.6 * radius * np.cos(angle), cy + 0.6 * radius * np.sin(angle)
            petal = canvas.shape("ellipse", [(px - 0.4 * radius, py - 0.4 * radius),
                                             (px + 0.4 * radius, py + 0.4 * radius)])
            canvas.paint(petal, petal_colour * rng.uniform(0.75, 1.1))
        _ball(canvas, cx, cy, 0.35 * radius, _colour(rng, (0.08, 0.16), (0.7, 1.0), (0.6, 1.0)))


def _light(canvas: _Canvas) -> None:
    """Tint and dim the whole picture, as weather and cameras do."""
    rng = canvas.rng
    levels = np.arange(256) / 255
    gains, gamma = rng.uniform(0.65, 1.15) * (1 + rng.normal(0, 0.06, 3)), rng.uniform(0.8, 1.3)
    curves = [255 * np.clip(levels * gain, 0, 1) ** gamma for gain in gains]
    canvas.image = canvas.image.point(np.concatenate(curves).astype(int).tolist())


_PAINTERS: tuple[Callable[[_Canvas], None], ...] = (
    _landscape, _sea, _wood, _town, _table, _flowers,
)
