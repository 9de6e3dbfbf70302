"""Options of representational similarity analysis."""

from __future__ import annotations

from argparse import ArgumentParser
from dataclasses import dataclass

from bids_decoder.config import Section, Settings
from bids_decoder.options import several


@dataclass(frozen=True)
class Rsa(Section, table="rsa"):
    """Settings of representational similarity analysis; active when a model is named."""

    models: tuple[str, ...] = ()


SECTION = Rsa


def is_wanted(settings: Settings) -> bool:
    """Return whether a model is named, or missing when only this stage is requested."""
    return bool(settings.section(Rsa).models) or "rsa" in settings.execution.stage


def add_options(parser: ArgumentParser) -> None:
    """Add the options of this analysis."""
    group = parser.add_argument_group("Specific options for representational similarity")
    several(
        group, "--rsa", dest="rsa.models", section=Rsa, metavar="MODEL", type=str,
        default="`none`",
        help="also measure how much the responses to any two labels (or stimuli) differ, and "
        "compare that with models ([rsa.md](rsa.md)): a table (`.tsv`, `.csv`, `.npz`) of "
        "dissimilarities with a row and a column for each label or stimulus; `FILE:COLUMN`, "
        "differences of the values in a column of a table, as `stimuli.tsv:size`; `label`, same "
        "or different label of two stimuli; `features`, the distance of their vectors",
    )
