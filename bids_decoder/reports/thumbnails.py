"""Small pictures of stimuli for tables: each is in the page once, however often it is shown."""

from __future__ import annotations

import io
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from markupsafe import Markup, escape

from bids_decoder.bids.stimulus_files import find_stimulus_files
from bids_decoder.reports.figures import data_uri
from bids_decoder.stimuli.images import load_picture

SIDE = 56
"""Pixels of the longer side."""
MOST = 400
"""Pictures on a page; about 1 MB."""


@dataclass(frozen=True)
class Thumbnails:
    """Pictures by the name of their stimulus.

    Parameters
    ----------
    sprite : Markup
        Holds all pictures, and shows none; belongs before the first cell.
    places : dict of str to int
        Number of the picture of each stimulus that has one.
    """

    sprite: Markup
    places: dict[str, int]

    def cell(self, name: str) -> Markup:
        """Return the picture of a stimulus beside its name; the name where it has none."""
        if name not in self.places:
            return escape(name)
        return Markup(
            '<svg class="thumb" width="{0}" height="{0}" aria-hidden="true">'
            '<use href="#stimulus-{1}"/></svg>{2}'
        ).format(SIDE, self.places[name], name)

    def picture(self, name: str) -> Markup:
        """Return the picture of a stimulus; nothing where it has none."""
        if name not in self.places:
            return Markup("")
        return Markup(
            '<svg class="thumb" width="{0}" height="{0}" role="img" aria-label="{1}">'
            '<title>{1}</title><use href="#stimulus-{2}"/></svg>'
        ).format(SIDE, name, self.places[name])


def read_thumbnails(stimuli_dir: Path | None, names: Iterable[str]) -> Thumbnails:
    """Read the pictures of the first :data:`MOST` stimuli that have one.

    Parameters
    ----------
    stimuli_dir : Path or None
        None for no pictures.
    names : iterable of str
    """
    symbols: list[Markup] = []
    places: dict[str, int] = {}
    wanted = dict.fromkeys(names)
    paths = find_stimulus_files(stimuli_dir, wanted).found
    for name in [name for name in wanted if name in paths][:MOST]:
        places[name] = len(places)
        symbols.append(Markup(
            '<symbol id="stimulus-{0}" viewBox="0 0 {1} {1}">'
            '<image href="{2}" width="{1}" height="{1}"/></symbol>'
        ).format(places[name], SIDE, _small(paths[name])))
    if not symbols:
        return Thumbnails(Markup(""), {})
    sprite = Markup('<svg class="sprite" width="0" height="0" aria-hidden="true">{}</svg>')
    return Thumbnails(sprite.format(Markup("").join(symbols)), places)


def _small(path: Path) -> str:
    buffer = io.BytesIO()
    small = load_picture(path)
    small.thumbnail((SIDE, SIDE))
    small.save(buffer, "WEBP", quality=75)
    return data_uri("image/webp", buffer.getvalue())
