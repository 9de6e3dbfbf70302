"""Building blocks of a report page."""

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
    """A paragraph, or a coloured note if the tone is not ``"plain"``."""

    text: str
    tone: Tone = "plain"
    kind: str = field(default="text", init=False)


@dataclass(frozen=True)
class Headline:
    """The main result as one large number, with its reference values."""

    value: str
    what: str
    against: Sequence[tuple[str, str]]
    kind: str = field(default="headline", init=False)


@dataclass(frozen=True)
class Table:
    """A table; cells are shown as text, columns in *numeric* are aligned to the right.

    Rows numbered in *strong* are bold; rows numbered in *groups* hold one cell, the title of
    the rows below. Cells of class ``Markup`` are not escaped. Tables without *groups* can be
    sorted and filtered; *quick* is the title of a button and the filter that it applies.
    """

    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    caption: str = ""
    numeric: frozenset[str] = frozenset()
    strong: frozenset[int] = frozenset()
    groups: frozenset[int] = frozenset()
    folded: bool = False
    key: str = ""
    quick: tuple[str, str] | None = None
    kind: str = field(default="table", init=False)

    @property
    def is_sortable(self) -> bool:
        """Return whether rows can change places."""
        return len(self.rows) > 1 and not self.groups


@dataclass(frozen=True)
class Figure:
    """A picture with its caption.

    *drawing* is shown in its place where there is one: the same content as an inline SVG whose
    marks can be pointed at.
    """

    picture: Picture
    drawing: Markup | None = None
    kind: str = field(default="figure", init=False)


@dataclass(frozen=True)
class Pre:
    """Preformatted text, folded under a title."""

    title: str
    text: str
    kind: str = field(default="pre", init=False)


@dataclass(frozen=True)
class Html:
    """Markup of this program, already escaped."""

    markup: Markup
    kind: str = field(default="html", init=False)


@dataclass(frozen=True)
class Links:
    """Links to files beside the page: pairs of address and title."""

    links: Sequence[tuple[str, str]]
    kind: str = field(default="links", init=False)


State = Literal["yes", "no", "undecided", "invalid"]


@dataclass(frozen=True)
class Answer:
    """What was asked, the answer, and how sure it is.

    Parameters
    ----------
    question : str
    state : {"yes", "no", "undecided", "invalid"}
    text : str
        The result in a sentence.
    certainty : sequence of str
        What the test and the interval say, a sentence each.
    """

    question: str
    state: State
    text: str
    certainty: Sequence[str]


@dataclass(frozen=True)
class Worry:
    """Something that a reader should know before believing a result.

    Parameters
    ----------
    text : str
    section : str
        Key of the section that shows more.
    tone : {"warn", "bad"}
    invalidates : bool
        Whether scores are not valid because of it.
    """

    text: str
    section: str
    tone: Tone = "warn"
    invalidates: bool = False


@dataclass(frozen=True)
class Verdict:
    """Answers in words, and all that speaks against believing them."""

    answers: Sequence[Answer]
    worries: Sequence[Worry]
    kind: str = field(default="verdict", init=False)


Block = Text | Headline | Table | Figure | Pre | Html | Links | Verdict


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
    def anchor(self) -> tuple[str, str]:
        """Return the address on the page and the title."""
        return self.key, self.title

    @property
    def pictures(self) -> list[Picture]:
        """List all pictures of the section."""
        return [block.picture for block in self.blocks if isinstance(block, Figure)]


def absent(what: str, why: str) -> Text:
    """Return a note that a part of the report is missing, and why."""
    return Text(f"{what} is not shown: {why}")


def table_of(frame: pd.DataFrame, caption: str = "", *, folded: bool = False) -> Table:
    """Turn a frame into a table; align numbers to the right, show missing values as n/a."""
    numeric = frozenset(str(c) for c in frame if pd.api.types.is_numeric_dtype(frame[c]))
    rows = [
        ["n/a" if pd.isna(cell) else str(cell) for cell in row] for row in frame.to_numpy(object)
    ]
    return Table([str(c) for c in frame], rows, caption, numeric, folded=folded)
