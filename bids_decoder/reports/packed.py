"""Maps in a page: bytes as text, and which of them a page has room for."""

from __future__ import annotations

import base64
import gzip
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, Protocol, TypeVar

import numpy as np
from matplotlib import colormaps
from matplotlib.colors import to_hex

Kind = Literal["signed", "positive", "mask"]

COLOURS: dict[Kind, list[str]] = {
    "signed": [to_hex(colormaps["coolwarm"](t)) for t in np.linspace(0, 1, 17)],
    "positive": [to_hex(colormaps["inferno"](t)) for t in np.linspace(0, 1, 17)],
    "mask": ["#d55e00"],
}
"""The colours of the figures; all of them can be told apart by colour-blind readers."""
_OUTLYING = 2.0
"""Larger values, in limits of the colour scale, are stored as this one."""


@dataclass(frozen=True)
class Packed:
    """An array of bytes.

    Parameters
    ----------
    shape : tuple of int
    text : str
        Base64 of the bytes, first axis fastest, compressed by gzip.
    """

    shape: tuple[int, ...]
    text: str

    @property
    def key(self) -> str:
        """Return a name that equal arrays share."""
        return hashlib.sha256(f"{self.shape}{self.text}".encode()).hexdigest()[:12]


@dataclass(frozen=True)
class Look:
    """How a map is shown.

    Parameters
    ----------
    title : str
    kind : {"signed", "positive", "mask"}
    limit : float
        Largest value of the colour scale.
    threshold : float
        Smaller absolute values are hidden at first.
    """

    title: str
    kind: Kind
    limit: float = 1.0
    threshold: float = 0.0

    @property
    def card(self) -> dict[str, Any]:
        """Return what a viewer has to know."""
        return {
            "title": self.title, "kind": self.kind, "limit": self.limit,
            "threshold": self.threshold, "colours": COLOURS[self.kind],
        }


class MapForViewer(Protocol):
    """A map that a page lets its reader explore."""

    @property
    def viewer(self) -> str:
        """The script that shows it, without ``.js``."""

    @property
    def values(self) -> Packed:
        """Its values, which are its own."""

    @property
    def shared(self) -> tuple[Packed, ...]:
        """What maps can have in common, as backgrounds and meshes."""

    @property
    def card(self) -> dict[str, Any]:
        """All that the viewer has to know beside the values."""


AnyMap = TypeVar("AnyMap", bound=MapForViewer)


def span_of(data: np.ndarray, look: Look) -> tuple[float, float]:
    """Return the values of the first and last step; outliers would leave few steps to others."""
    if look.kind == "mask":
        return 0.0, 1.0
    largest = min(float(np.abs(data).max()), _OUTLYING * look.limit) or 1.0
    return (-largest if look.kind == "signed" or data.min() < 0 else 0.0), largest


def quantise(data: np.ndarray, span: tuple[float, float]) -> np.ndarray:
    """Return values as bytes: 0 where they are 0, and 1 to 255 from *span*'s first to its last."""
    low, high = span
    steps = 1 + np.rint(254 * (data - low) / (high - low))
    return np.where(data == 0, 0, np.clip(steps, 1, 255)).astype(np.uint8)


def pack(values: np.ndarray) -> Packed:
    """Pack an array of bytes."""
    content = gzip.compress(values.tobytes(order="F"), 6, mtime=0)
    return Packed(values.shape, base64.b64encode(content).decode("ascii"))


def unpack(packed: Packed) -> np.ndarray:
    """Return the array of bytes that was packed."""
    content = gzip.decompress(base64.b64decode(packed.text))
    return np.frombuffer(content, np.uint8).reshape(packed.shape, order="F")


def fitting(
    maps: Mapping[str, AnyMap], most: int
) -> tuple[dict[str, AnyMap], list[Packed], list[str]]:
    """Choose the maps that a page has room for, first come, first served.

    Parameters
    ----------
    maps : dict of str to map
        By the name of the figure.
    most : int
        Characters that are left.

    Returns
    -------
    kept : dict of str to map
    shared : list of Packed
        What those that are kept have in common, each once.
    left_out : list of str
    """
    kept: dict[str, AnyMap] = {}
    shared: dict[str, Packed] = {}
    for name, found in maps.items():
        new = {part.key: part for part in found.shared if part.key not in shared}
        size = len(found.values.text) + sum(len(part.text) for part in new.values())
        if size <= most:
            most -= size
            kept[name] = found
            shared |= new
    return kept, list(shared.values()), [name for name in maps if name not in kept]
