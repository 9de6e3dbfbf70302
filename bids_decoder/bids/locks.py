"""One process per participant and work folder: locks that survive crashes and shared disks."""

from __future__ import annotations

import logging
import os
import secrets
import shutil
import socket
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bids_decoder.errors import BidsDecoderError, ExitCode, Finding, FindingsError
from bids_decoder.files import read_json, write_json

_LOGGER = logging.getLogger(__name__)
_OWNER = "owner.json"


GROUP = "group"
"""Label of the lock of the group."""

CALL = "call-"
"""Begin of the label of the lock of a work folder, and of its name."""


@contextmanager
def all_locks(output_dir: Path, labels: Sequence[str]) -> Iterator[None]:
    """Hold the locks of all that a call processes.

    Parameters
    ----------
    output_dir : Path
    labels : sequence of str
        As of :func:`participant_lock`, in the same order in all calls.

    Raises
    ------
    FindingsError
        With code 75, naming all that other processes hold; none is held then.
    """
    with ExitStack() as locks:
        for number, label in enumerate(labels):
            try:
                locks.enter_context(participant_lock(output_dir, label))
            except BidsDecoderError as error:
                # Others are looked at only: taken, they could keep the other process from them.
                others = [_look(output_dir, other) for other in labels[number + 1:]]
                raise FindingsError([error.finding, *filter(None, others)]) from error
        yield


@contextmanager
def participant_lock(output_dir: Path, label: str) -> Iterator[Path]:
    """Hold the lock of one participant, of the group, or of the work folder of a call.

    Parameters
    ----------
    output_dir : Path
    label : str
        Participant label without ``sub-``, :data:`GROUP`, or the name of the work folder.

    Yields
    ------
    pathlib.Path
        The lock: a folder, since making a folder is atomic on network file systems too.

    Raises
    ------
    BidsDecoderError
        With code 75 when another process holds the lock. A lock left by a dead process of this
        host is removed; one left in a container that has ended is not, since it cannot be
        checked from outside.
    """
    lock = _path(output_dir, label)
    lock.parent.mkdir(parents=True, exist_ok=True)
    _acquire(lock, label)
    try:
        write_json(lock / _OWNER, {
            "host": socket.gethostname(), "pid_namespace": _pid_namespace(), "pid": os.getpid(),
            "time": datetime.now(UTC).isoformat(timespec="seconds"),
        })
        yield lock
    finally:
        _release(lock)


def remove_locks_of(pid: int, output_dir: Path) -> None:
    """Remove the locks of a process of this host that has ended.

    Parameters
    ----------
    pid : int
    output_dir : Path
    """
    for lock in (output_dir / "logs" / "locks").glob("*"):
        owner = _owner(lock)
        if owner.get("pid") == pid and _is_here(owner):
            _release(lock)


def _path(output_dir: Path, label: str) -> Path:
    return output_dir / "logs" / "locks" / label


def _look(output_dir: Path, label: str) -> Finding | None:
    """Return whether another process holds a lock."""
    lock = _path(output_dir, label)
    if not lock.exists():
        return None
    owner = _owner(lock)
    return None if _is_dead(owner) else _held(lock, label, owner).finding


def _acquire(lock: Path, label: str) -> None:
    try:
        lock.mkdir()
        return
    except FileExistsError:
        owner = _owner(lock)
    if not _is_dead(owner):
        raise _held(lock, label, owner)
    _LOGGER.warning(
        "Removing the lock of %s: its process %s on this host has ended.", label, owner["pid"]
    )
    # Renaming is atomic: of several processes that find the dead lock only one removes it.
    stale = _aside(lock)
    try:
        lock.rename(stale)
        if _owner(stale) != owner:
            # Another process was faster: the folder moved is its new lock, so it is put back.
            stale.rename(lock)
            raise _held(lock, label, _owner(lock))
        shutil.rmtree(stale)
        lock.mkdir()
    except OSError as error:
        raise _held(lock, label, owner) from error


def _aside(lock: Path) -> Path:
    return lock.with_name(f".stale-{secrets.token_hex(6)}-{lock.name}")


def _release(lock: Path) -> None:
    """Remove a lock in one step: half removed, it would have no owner and remain."""
    aside = _aside(lock)
    with suppress(OSError):
        lock.rename(aside)
        shutil.rmtree(aside, ignore_errors=True)


def _held(lock: Path, label: str, owner: dict[str, Any]) -> BidsDecoderError:
    if label.startswith(CALL):
        what = "the work folder of this call is being used"
    else:
        what = f"{'the group' if label == GROUP else f'participant {label}'} is being processed"
    return BidsDecoderError(
        f"{what} by another run",
        f"lock held by process {owner.get('pid', '?')} on {owner.get('host', '?')} since "
        f"{owner.get('time', '?')}",
        f"wait for it; if it no longer runs: rm -r '{lock}'", ExitCode.TRY_AGAIN,
    )


def _owner(lock: Path) -> dict[str, Any]:
    try:
        content = read_json(lock / _OWNER)
    except (OSError, ValueError):
        # The owner is between making the folder and writing its name.
        return {}
    return content if isinstance(content, dict) else {}


def _pid_namespace() -> str:
    """Return the namespace of process ids, since containers have their own."""
    return str(Path("/proc/self/ns/pid").readlink())


def _is_here(owner: dict[str, Any]) -> bool:
    return (
        owner.get("host") == socket.gethostname()
        and owner.get("pid_namespace") == _pid_namespace()
    )


def _is_dead(owner: dict[str, Any]) -> bool:
    pid = owner.get("pid")
    if not _is_here(owner) or not isinstance(pid, int):
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        return False
    return _is_zombie(pid)


def _is_zombie(pid: int) -> bool:
    """Return whether a process has ended but has not been reaped by its parent.

    In containers the first process often never reaps its children.
    """
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return stat.rpartition(")")[2].split()[0] == "Z"
