"""Options of representational similarity analysis."""

from __future__ import annotations

from argparse import ArgumentParser
from dataclasses import dataclass
from pathlib import Path

from bids_decoder.config import Section, Settings
from bids_decoder.options import bad_value, several
from bids_decoder.training.searchlight_settings import Searchlight

LABEL, FEATURES = "label", "features"
SUFFIXES = {".tsv": "\t", ".csv": ","}
"""Of tables, and what separates their columns."""


@dataclass(frozen=True)
class Rsa(Section, table="rsa"):
    """Settings of representational similarity analysis; active when a model is named."""

    models: tuple[str, ...] = ()


SECTION = Rsa


def is_wanted(settings: Settings) -> bool:
    """Return whether a model is named, or missing where it is needed."""
    needs_model = "rsa" in settings.execution.stage or settings.section(Searchlight).maps_models
    return bool(settings.section(Rsa).models) or needs_model


def add_options(parser: ArgumentParser) -> None:
    """Add the options of this analysis."""
    group = parser.add_argument_group("Specific options for representational similarity")
    several(
        group, "--rsa", dest="rsa.models", section=Rsa, metavar="MODEL", type=_read_word,
        default="`none`",
        help="also measure how much the responses to any two labels (or stimuli) differ, and "
        "compare that with models ([rsa.md](rsa.md)): a table (`.tsv`, `.csv`) of "
        "dissimilarities with a row and a column for each label or stimulus, or an `.npz` with "
        "the arrays `names` and `rdm`; `FILE:COLUMN`, "
        "differences of the values in a column of a table, as `stimuli.tsv:size`; `label`, same "
        "or different label of two stimuli; `features`, the distance of their vectors",
    )


def _read_word(text: str) -> str:
    """Return a model with an absolute path: steps run in folders of their own.

    Examples
    --------
    >>> _read_word("label"), _read_word("/models/size.tsv:mm")
    ('label', '/models/size.tsv:mm')
    """
    if not text.strip():
        raise bad_value("the name of a model is empty", "give a table, `label` or `features`")
    if text in (LABEL, FEATURES):
        return text
    path, column = split_word(text)
    return f"{path.expanduser().absolute()}{':' if column else ''}{column}"


def model_name(word: str) -> str:
    """Return the name of a model in tables: the word itself, its column, or its file."""
    path, column = split_word(word)
    return word if word in (LABEL, FEATURES) else column or path.stem


def split_word(word: str) -> tuple[Path, str]:
    """Return file and column of a model; no column for a table of dissimilarities.

    Examples
    --------
    >>> split_word("stimuli.tsv:size")
    (PosixPath('stimuli.tsv'), 'size')
    >>> split_word("animate.csv")
    (PosixPath('animate.csv'), '')
    """
    start, _, column = word.rpartition(":")
    if Path(start).suffix.lower() in SUFFIXES:
        return Path(start), column
    return Path(word), ""
