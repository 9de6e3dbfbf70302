"""Options of functional alignment."""

from __future__ import annotations

from argparse import ArgumentParser
from dataclasses import dataclass
from typing import Literal, get_args

from bids_decoder.config import Section, Settings
from bids_decoder.options import several

Method = Literal["procrustes", "srm", "ot"]


@dataclass(frozen=True)
class Alignment(Section, table="alignment"):
    """Methods of functional alignment; none leaves the analysis out."""

    methods: tuple[Method, ...] = ()


SECTION = Alignment


def is_wanted(settings: Settings) -> bool:
    """Return whether a method is named."""
    return bool(settings.section(Alignment).methods)


def add_options(parser: ArgumentParser) -> None:
    """Add the options of this analysis."""
    group = parser.add_argument_group("Specific options for functional alignment")
    several(
        group, "--alignment", dest="alignment.methods", section=Alignment, metavar="METHOD",
        choices=get_args(Method), default="`none`",
        help="also decode each participant with trials of the others, after aligning their "
        "responses to shared labels or stimuli ([alignment.md](alignment.md)): `procrustes`, an "
        "orthogonal transformation to the voxels of the participant; `srm`, a shared response "
        "model; `ot`, optimal transport between the voxels of a region (at most 5000). The others "
        "are the participants that are pretrained on, or, at the participant level alone, all "
        "others of the call",
    )
