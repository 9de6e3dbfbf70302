"""Options of learning curves."""

from __future__ import annotations

from argparse import ArgumentParser
from dataclasses import dataclass

from bids_decoder.config import Section, Settings
from bids_decoder.options import bad_value, option


@dataclass(frozen=True)
class LearningCurve(Section, table="learning"):
    """Whether decoding is repeated with fewer training runs.

    Parameters
    ----------
    curve : bool
    target : float or None
        Headline score whose need of data is estimated; None takes the next whole steps of 5 %.
    """

    curve: bool = False
    target: float | None = None


SECTION = LearningCurve


def is_wanted(settings: Settings) -> bool:
    """Return whether the curve, or what a score needs, is asked for."""
    section = settings.section(LearningCurve)
    return section.curve or section.target is not None


def add_options(parser: ArgumentParser) -> None:
    """Add the options of this analysis."""
    group = parser.add_argument_group("Specific options for learning curves")
    option(
        group, "--learning-curve", dest="learning.curve", section=LearningCurve,
        action="store_true",
        help="also decode the same test trials after training on fewer runs, with and without "
        "pretraining and with the baselines, and estimate how many more minutes a higher score "
        "needs ([learning.md](learning.md)). Takes about as long as 15 times decoding",
    )
    option(
        group, "--learning-target", dest="learning.target", section=LearningCurve,
        type=_read_share, metavar="SHARE", default="the next two whole steps of 5 %",
        help="headline score whose need of data is estimated, as `0.8`; turns `--learning-curve` "
        "on",
    )


def _read_share(text: str) -> float:
    """Read a number between 0 and 1.

    Examples
    --------
    >>> _read_share("0.8")
    0.8
    """
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < 1:
        raise bad_value(f"{text!r} is no score to aim at", "give a number between 0 and 1, as 0.8")
    return value
