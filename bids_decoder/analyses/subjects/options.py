"""Options of decoding one volume per participant."""

from __future__ import annotations

from argparse import ArgumentParser
from dataclasses import dataclass

from bids_decoder.config import Section, Settings
from bids_decoder.options import option, several


@dataclass(frozen=True)
class Subjects(Section, table="subjects"):
    """Settings of one volume per participant; active when a column of labels is named."""

    label_column: str | None = None
    image: str | None = None
    external: tuple[str, ...] = ()
    site_column: str | None = None
    backbones: tuple[str, ...] = ()
    n_splits: int = 5
    n_repeats: int = 10


SECTION = Subjects


def is_wanted(settings: Settings) -> bool:
    """Return whether a column with labels is named."""
    return settings.section(Subjects).label_column is not None


def add_options(parser: ArgumentParser) -> None:
    """Add the options of this analysis."""
    group = parser.add_argument_group("Options for one volume per participant (--decoder cnn3d)")
    option(
        group, "--subject-label", dest="subjects.label_column", section=Subjects, metavar="COLUMN",
        help="column of `participants.tsv` with the label of each participant. Turns this "
        "analysis on",
    )
    option(
        group, "--subject-image", dest="subjects.image", section=Subjects, metavar="SUFFIX",
        default="the first of `pet`, `statmap`, `T1w` that is present",
        help="suffix of the images, for instance `pet`. They are taken from the dataset, or from "
        "the folder named with `-d NAME=PATH`, and must share one grid",
    )
    several(
        group, "--external-label", dest="subjects.external", section=Subjects, metavar="LABEL",
        type=str, help="labels that are in no fit and no fold, and only scored",
    )
    option(
        group, "--site-column", dest="subjects.site_column", section=Subjects, metavar="COLUMN",
        help="column of `participants.tsv` with the site. The program warns when the site "
        "predicts the label",
    )
    several(
        group, "--backbone", dest="subjects.backbones", section=Subjects, metavar="FOLDER",
        type=str,
        help="folders of vision models (transformers format) to compare with: frozen, on the "
        "mosaic of slices. `efficientnet-lite0` is a network trained on ImageNet that comes with "
        "the extra `vision`, `random-resnet50` a stand-in with random weights",
    )
