"""Style, colours and reproducible files of all figures."""

from __future__ import annotations

import base64
import functools
import io
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ParamSpec

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from PIL import Image

from bids_decoder.reports.meshes import MeshMap
from bids_decoder.reports.packed import MapForViewer
from bids_decoder.reports.volumes import MapVolume

INK, SOFT, GRID = "#1d2733", "#5d6b7a", "#e3e8ee"
BLUE, ORANGE, GREEN, RED, PURPLE, SKY, GREY = (
    "#0b62a4",
    "#d55e00",
    "#00846b",
    "#b3261e",
    "#8a4f9e",
    "#56a3d9",
    "#8d99a6",
)
CYCLE = (BLUE, ORANGE, GREEN, PURPLE, SKY, "#a07800", RED, GREY)
_BASELINES = (INK, BLUE, GREEN, GREY, PURPLE, SKY, "#a07800", SOFT)

_STYLE: dict[str, Any] = {
    "svg.hashsalt": "bids_decoder",
    "svg.fonttype": "path",
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 9,
    "axes.titlesize": 9.5,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.labelsize": 9,
    "axes.labelcolor": SOFT,
    "axes.edgecolor": "#b6c0ca",
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.prop_cycle": mpl.cycler(color=CYCLE),
    "grid.color": GRID,
    "grid.linewidth": 0.7,
    "text.color": INK,
    "xtick.color": SOFT,
    "ytick.color": SOFT,
    "xtick.labelsize": 8,
    "ytick.labelsize": 8,
    "legend.frameon": False,
    "legend.fontsize": 8,
    "figure.facecolor": "white",
    "lines.linewidth": 1.3,
    "text.parse_math": False,
    "axes.formatter.useoffset": False,
}

P = ParamSpec("P")

_DPI = 130


def model_colour(number: int) -> str:
    """Return the colour of a model: the decoder (0) has one that no baseline has."""
    return _BASELINES[(number - 1) % len(_BASELINES)] if number else ORANGE


@dataclass(frozen=True)
class Picture:
    """A drawn figure, ready for a file and for a page.

    Parameters
    ----------
    name : str
        Letters and digits, used in the file name.
    content : bytes
        The file.
    kind : {"svg", "png"}
    caption : str
        Content of the figure, and how to read it.
    alt : str
        The content in words for those who cannot see it.
    volume : MapVolume or None
        The map of the figure, for the slice viewer.
    mesh : MeshMap or None
        The map of the figure, for the surface viewer.
    """

    name: str
    content: bytes
    kind: str
    caption: str
    alt: str
    volume: MapVolume | None = None
    mesh: MeshMap | None = None

    @property
    def explorable(self) -> MapForViewer | None:
        """Return the map of the figure, if a viewer shows it."""
        return self.volume or self.mesh

    @cached_property
    def uri(self) -> str:
        """Return the picture as a ``data:`` URI, so that the page needs no other file.

        PNG is embedded as WebP, which is several times smaller; the file keeps its pixels.
        """
        if self.kind == "svg":
            return data_uri("image/svg+xml", self.content)
        buffer = io.BytesIO()
        with Image.open(io.BytesIO(self.content)) as image:
            image.convert("RGB").save(buffer, "WEBP", quality=88)
        return data_uri("image/webp", buffer.getvalue())


def data_uri(mime: str, content: bytes) -> str:
    """Return bytes as a ``data:`` URI."""
    return f"data:{mime};base64,{base64.b64encode(content).decode('ascii')}"


def styled(draw: Callable[P, Figure]) -> Callable[P, Figure]:
    """Run a drawing function in the style of the report; leave matplotlib's settings unchanged."""

    @functools.wraps(draw)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> Figure:
        return _in_style(draw, *args, **kwargs)

    return wrapper


def _in_style(draw: Callable[P, Figure], *args: P.args, **kwargs: P.kwargs) -> Figure:
    with mpl.rc_context(_STYLE):
        return draw(*args, **kwargs)


def new_figure(width: float, height: float) -> Figure:
    """Make an empty figure without pyplot; *width* and *height* in inches."""
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def render(figure: Figure, kind: str = "svg") -> bytes:
    """Turn a figure into the bytes of a file; the same figure has the same bytes.

    Parameters
    ----------
    figure : Figure
    kind : {"svg", "png"}
    """
    buffer = io.BytesIO()
    figure.set_dpi(_DPI)
    # Figure.savefig would draw all of it twice, the first time for the layout alone.
    with mpl.rc_context(_STYLE):
        if kind == "svg":
            FigureCanvasSVG(figure).print_svg(buffer, metadata={"Date": None, "Creator": None})
        else:
            FigureCanvasAgg(figure).print_png(buffer, metadata={"Software": None})
    return buffer.getvalue()


def picture(figure: Figure, name: str, caption: str, alt: str, kind: str = "svg") -> Picture:
    """Render *figure* into a :class:`Picture`."""
    return Picture(name, render(figure, kind), kind, caption, alt)


def image_only(axes: Axes) -> None:
    """Hide everything in *axes* except its image and its title."""
    axes.xaxis.set_visible(False)
    axes.yaxis.set_visible(False)
    axes.spines[:].set_visible(False)


def shorten(text: str, length: int = 28) -> str:
    """Cut long labels in the middle, keeping their ends.

    Examples
    --------
    >>> shorten("abcdefghij", 7)
    'abc…hij'
    """
    if len(text) <= length:
        return text
    half = (length - 1) // 2
    return f"{text[: length - 1 - half]}…{text[-half:]}"
