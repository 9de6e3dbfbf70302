"""Checks of the folders that a call writes to."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

from bids_decoder.config import Execution, Settings
from bids_decoder.errors import ExitCode, Finding

WORK = "work folder"
"""What the folder of -w is called."""


def check_places(settings: Settings) -> list[Finding]:
    """Find problems of the output and work folders; no file remains in them.

    Parameters
    ----------
    settings : Settings

    Returns
    -------
    list of Finding
        Folders inside an input, and those of :func:`check_writable`.
    """
    execution = settings.execution
    inputs = [execution.bids_dir, *execution.derivatives.values()]
    findings = [
        Finding(
            f"{name} {place}", f"is {_relation(place, root)}, which is never written to",
            _elsewhere(name, execution), ExitCode.USAGE,
        )
        for name, place in _places(execution) for root in inputs if _is_inside_input(place, root)
    ]
    return [*findings, *check_writable(settings)]


def check_writable(settings: Settings) -> list[Finding]:
    """Find out whether the output and work folders can be written to; no file remains in them.

    Parameters
    ----------
    settings : Settings

    Returns
    -------
    list of Finding
    """
    places = _places(settings.execution)
    return [found for name, place in places for found in _check_writable(name, place)]


def existing_parent(place: Path) -> Path:
    """Return *place* or the nearest folder above it that exists, or a dead link in the way."""
    place = place.absolute()
    while not os.path.lexists(place) and place != place.parent:
        place = place.parent
    return place


def _places(execution: Execution) -> list[tuple[str, Path]]:
    """Return the folders that are written to, with what they are called."""
    work = execution.work_dir
    own = [] if work is None else [(WORK, work)]
    return [("output folder", execution.output_dir), *own]


def _relation(place: Path, root: Path) -> str:
    return "the input itself" if place.resolve() == root.resolve() else f"inside the input {root}"


def _elsewhere(name: str, execution: Execution) -> str:
    if name == WORK:
        return f"choose a folder outside, or leave -w out: {execution.output_dir / 'work'} is used"
    return f"choose a folder outside, or one below {execution.bids_dir / 'derivatives'}"


def _is_inside_input(place: Path, root: Path) -> bool:
    place, root = place.resolve(), root.resolve()
    return place.is_relative_to(root) and (
        place == root / "derivatives" or not place.is_relative_to(root / "derivatives")
    )


def _check_writable(name: str, place: Path) -> Iterator[Finding]:
    parent = existing_parent(place)
    try:
        with tempfile.TemporaryFile(dir=parent, prefix=".probe-"):
            return
    except OSError as error:
        reason = error.strerror or str(error)
    is_file = os.path.lexists(parent) and not parent.is_dir()
    yield Finding(
        f"{name} {place}", f"nothing can be written to {parent}: {reason}",
        "it is no folder: name another one" if is_file
        else "check owner, mount (no :ro) and --user of the container", ExitCode.CANNOT_CREATE,
    )
