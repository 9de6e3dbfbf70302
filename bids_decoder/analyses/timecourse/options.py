"""Options of decoding over time."""

from __future__ import annotations

from argparse import ArgumentParser
from dataclasses import dataclass

from bids_decoder.config import Section, Settings
from bids_decoder.options import bad_value, option


@dataclass(frozen=True)
class Timecourse(Section, table="timecourse"):
    """The window of times; no analysis without one.

    Parameters
    ----------
    window : tuple of float
        First and last time in seconds from the onset; empty for none.
    """

    window: tuple[float, ...] = ()


SECTION = Timecourse


def is_wanted(settings: Settings) -> bool:
    """Return whether a window is given, or missing when only this stage is requested."""
    window = settings.section(Timecourse).window
    return bool(window) or "timecourse" in settings.execution.stage


def add_options(parser: ArgumentParser) -> None:
    """Add the options of this analysis."""
    group = parser.add_argument_group("Specific options for decoding over time")
    option(
        group, "--fir-window", dest="timecourse.window", section=Timecourse, nargs=2,
        type=_read_seconds, metavar=("FIRST", "LAST"), default="`none`",
        help="also decode labels from the responses at each time (each volume) from FIRST to LAST "
        "seconds after the onset of trials, as `-2 16`, and from each time to all others "
        "([time.md](time.md))",
    )


def _read_seconds(text: str) -> float:
    """Read seconds, which may be negative.

    Examples
    --------
    >>> _read_seconds("-2")
    -2.0
    """
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    if not abs(value) < float("inf"):
        raise bad_value(f"{text!r} is no time", "give seconds from the onset of trials, as -2 16")
    return value
