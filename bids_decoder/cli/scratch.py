"""Work folders: one per call, so that calls running at once do not share one."""

from __future__ import annotations

import contextlib
import shutil
from pathlib import Path

import bids_decoder
from bids_decoder.bids.locks import CALL
from bids_decoder.config import Settings
from bids_decoder.files import content_key, file_digest, write_text

HOME = "home"
"""Folder in the work folder of a call that is the home of its processes."""

_BUILD = "build.txt"

_WHAT_A_CALL_IS = (
    "bids_dir", "output_dir", "analysis_level", "stage", "participant_label", "session_id",
    "task_id", "run_id", "holdout_label", "leave_one_out",
)


def work_dir_of(settings: Settings) -> Path:
    """Return the work folder of a call, below the one asked for or ``work`` in the output folder.

    Parameters
    ----------
    settings : Settings

    Returns
    -------
    Path
        The same for the same participants and stages, so that a repeated call finds what an
        interrupted one left; another for other participants, who may be processed at the
        same time.
    """
    execution = settings.execution
    base = execution.work_dir or execution.output_dir / "work"
    call = {name: getattr(execution, name) for name in _WHAT_A_CALL_IS}
    return base.absolute() / f"{CALL}{content_key(call)[:12]}"


def remove_unused(work_dir: Path, stop: Path) -> None:
    """Remove the work folder of a call that did not begin, unless an equal call began in it."""
    if not (work_dir / _BUILD).exists():
        remove_folder(work_dir, stop)


def remove_folder(path: Path, stop: Path) -> None:
    """Remove *path*, then the folders above it that are now empty, at most up to *stop*."""
    shutil.rmtree(path, ignore_errors=True)
    for parent in path.parents:
        if parent == stop or not parent.is_relative_to(stop):
            return
        with contextlib.suppress(OSError):
            parent.rmdir()


def build_key() -> str:
    """Return a key of the program's code, by content: a version may have several builds."""
    package = Path(bids_decoder.__file__).parent
    files = sorted(package.rglob("*.py"))
    return content_key({str(file.relative_to(package)): file_digest(file) for file in files})


def discard_other_build(work_dir: Path) -> bool:
    """Remove what another build of the program left in the work folder of a call.

    Nodes that are done are taken over if their inputs are the same, whatever code made them, and
    another build may not understand their files. Call it with the lock of the folder held.

    Parameters
    ----------
    work_dir : Path
        Of :func:`work_dir_of`.

    Returns
    -------
    bool
        Whether there was something.
    """
    path, build = work_dir / _BUILD, build_key()
    if path.is_file() and path.read_text(encoding="utf-8") == build:
        return False
    was_used = empty_folder(work_dir)
    write_text(path, build)
    return was_used


def empty_folder(work_dir: Path) -> bool:
    """Remove what calls left in a work folder, with its lock held; return whether there was any."""
    left = [child for child in work_dir.iterdir() if child.name not in (_BUILD, HOME)]
    for child in left:
        if child.is_dir() and not child.is_symlink():
            shutil.rmtree(child)
        else:
            child.unlink()
    return bool(left)


def remove_unfinished(folder: Path) -> None:
    """Remove unfinished files of a killed process below *folder*; call it with the lock held.

    Figures are left alone: reports are written without the lock.
    """
    for path in folder.rglob(".tmp-*"):
        if path.parent.name != "figures":
            path.unlink(missing_ok=True)
