"""Layouts of released responses; the first that recognises a folder reads it."""

from __future__ import annotations

from pathlib import Path

from bids_decoder.released import (
    bdpy_files,
    bold5000,
    glmsingle,
    laion,
    mindeye,
    miyawaki,
    nod,
    nsd,
    plain,
    things,
)
from bids_decoder.released.base import Layout

LAYOUTS: tuple[Layout, ...] = (
    nsd.LAYOUT, mindeye.LAYOUT, glmsingle.LAYOUT, bold5000.LAYOUT, things.LAYOUT, nod.LAYOUT,
    laion.LAYOUT, miyawaki.LAYOUT, bdpy_files.LAYOUT, plain.LAYOUT,
)


def recognise(folder: Path) -> Layout | None:
    """Return the layout of a folder; None where it is none of those known.

    Parameters
    ----------
    folder : Path
        An existing folder.
    """
    return next((layout for layout in LAYOUTS if layout.recognise(folder)), None)


def understood() -> str:
    """Return what is understood, as text for messages."""
    return "; ".join(f"{layout.name} ({layout.looks_like})" for layout in LAYOUTS)
