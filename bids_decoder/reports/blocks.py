"""The few kinds of things that a report page is made of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

import pandas as pd
from markupsafe import Markup

from bids_decoder.reports.figures import Picture

Tone = Literal["plain", "good", "warn", "bad"]


@dataclass(frozen=True)
class Text:
    """A paragraph; with a tone other than ``"plain"`` a coloured note."""

    text: str
    tone: Tone = "plain"
    kind: str = field(default="text", init=False)


@dataclass(frozen=True)
class Headline:
    """The result in one large number with what it has to be compared to."""

    value: str
    what: str
    against: Sequence[tuple[str, str]]
    kind: str = field(default="headline", init=False)


@dataclass(frozen=True)
class Table:
    """A table; cells are shown as text, columns of *numeric* names to the right.

    Rows numbered in *strong* are bold; rows numbered in *groups* hold one cell, the title of
    the rows that follow.
    """

    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    caption: str = ""
    numeric: frozenset[str] = frozenset()
    strong: frozenset[int] = frozenset()
    groups: frozenset[int] = frozenset()
    folded: bool = False
    kind: str = field(default="table", init=False)


@dataclass(frozen=True)
class Figure:
    """A picture with its caption."""

    picture: Picture
    kind: str = field(default="figure", init=False)


@dataclass(frozen=True)
class Pre:
    """Text kept as it is, folded away under a title."""

    title: str
    text: str
    kind: str = field(default="pre", init=False)


@dataclass(frozen=True)
class Html:
    """Markup that this program made itself and that is escaped already."""

    markup: Markup
    kind: str = field(default="html", init=False)


@dataclass(frozen=True)
class Links:
    """Links to files beside the page: pairs of address and title."""

    links: Sequence[tuple[str, str]]
    kind: str = field(default="links", init=False)


Block = Text | Headline | Table | Figure | Pre | Html | Links


@dataclass(frozen=True)
class Section:
    """One section of a page.

    Parameters
    ----------
    key : str
        Anchor.
    title : str
    blocks : sequence of Block
    """

    key: str
    title: str
    blocks: Sequence[Block]

    @property
    def pictures(self) -> list[Picture]:
        """All pictures of the section."""
        return [block.picture for block in self.blocks if isinstance(block, Figure)]


def absent(what: str, why: str) -> Text:
    """Say that a part of the report is missing, and why."""
    return Text(f"{what} is not shown: {why}")


def table_of(frame: pd.DataFrame, caption: str = "", *, folded: bool = False) -> Table:
    """Turn a frame into a table; number columns go to the right, missing becomes n/a."""
    numeric = frozenset(str(c) for c in frame if pd.api.types.is_numeric_dtype(frame[c]))
    rows = [
        ["n/a" if pd.isna(cell) else str(cell) for cell in row] for row in frame.to_numpy(object)
    ]
    return Table([str(c) for c in frame], rows, caption, numeric, folded=folded)
