"""Options of retrieval among a gallery."""

from __future__ import annotations

from argparse import ArgumentParser
from dataclasses import dataclass
from pathlib import Path

from bids_decoder.config import Section, Settings
from bids_decoder.options import option, read_path


@dataclass(frozen=True)
class Gallery(Section, table="gallery"):
    """Settings of retrieval among a gallery; without a folder there is no search."""

    folder: Path | None = None


SECTION = Gallery


def is_wanted(settings: Settings) -> bool:
    """Return whether a gallery is given."""
    return settings.section(Gallery).folder is not None


def add_options(parser: ArgumentParser) -> None:
    """Add the options of this analysis."""
    group = parser.add_argument_group("Specific options for retrieval among other images")
    option(
        group, "--gallery", dest="gallery.folder", section=Gallery, type=read_path,
        metavar="FOLDER",
        help="folder of further images (files or HDF5 stacks). The seen image is searched among "
        "the test stimuli and all of these; the report shows the nearest. Copies of test "
        "stimuli in it are left out",
    )
