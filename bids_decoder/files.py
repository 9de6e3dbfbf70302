"""Atomic writing of files, reading of JSON, and digests of content."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import secrets
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

MAX_JSON_BYTES = 256 << 20
"""Bytes above which no JSON file is read."""

MAX_NESTING = 64
"""Depth of lists and objects in a JSON file above which it is rejected."""

_EDGE = 1 << 16


DISK_ERRORS = frozenset({
    errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EROFS,
})
"""Error numbers of a full, limited or broken disk, not of a fault of program or data."""


def disk_error(error: BaseException | None) -> OSError | None:
    """Return the disk error that *error* is or was caused by; None without one."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        if isinstance(error, OSError) and error.errno in DISK_ERRORS:
            return error
        seen.add(id(error))
        error = error.__cause__ or error.__context__
    return None


def can_write(folder: Path) -> bool:
    """Return whether 64 KiB can be written to *folder* now; the test file is removed."""
    try:
        with tempfile.TemporaryFile(dir=folder, prefix=".probe-") as handle:
            handle.write(b"\1" * (1 << 16))
            handle.flush()
            os.fsync(handle.fileno())
    except OSError:
        return False
    return True


@contextmanager
def atomic_path(target: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield a temporary path beside *target* and rename it into place at the end.

    The file is synced before the rename and the folder after it. A link at *target* is
    replaced, never followed. When the body raises, the temporary file is removed and *target*
    stays as it was.

    Parameters
    ----------
    target : path
        Final path of the file. Its folder is made if absent.

    Yields
    ------
    pathlib.Path
        The path to write to; it keeps the extension(s) of *target*.
    """
    target = Path(target)
    target.parent.mkdir(parents=True, exist_ok=True)
    # Not the number of the process: in two containers it is easily the same.
    temporary = target.with_name(f".tmp-{secrets.token_hex(6)}-{target.name}")
    try:
        yield temporary
        with temporary.open("rb") as handle:
            os.fsync(handle.fileno())
        temporary.replace(target)
        sync_folder(target.parent)
    finally:
        temporary.unlink(missing_ok=True)


def sync_folder(folder: Path) -> None:
    """Sync the entries of *folder* to disk."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_bytes(target: str | os.PathLike[str], content: bytes) -> Path:
    """Write *content* to *target* atomically."""
    with atomic_path(target) as path:
        path.write_bytes(content)
    return Path(target)


def write_text(target: str | os.PathLike[str], content: str) -> Path:
    r"""Write UTF-8 text to *target* atomically, with ``\\n`` line ends."""
    return write_bytes(target, content.encode("utf-8"))


def write_json(target: str | os.PathLike[str], content: Any) -> Path:
    """Write indented JSON to *target* atomically; raise ValueError for NaN."""
    text = json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False)
    return write_text(target, text + "\n")


def read_json(path: str | os.PathLike[str], max_bytes: int = MAX_JSON_BYTES) -> Any:
    """Read a UTF-8 JSON file, with or without byte order mark.

    Parameters
    ----------
    path : path
    max_bytes : int

    Raises
    ------
    OSError
        When the file cannot be read.
    ValueError
        When it is not JSON, larger than *max_bytes* or nested deeper than :data:`MAX_NESTING`.
    """
    path = Path(path)
    with path.open("rb") as handle:
        content = read_at_most(handle, max_bytes + 1)
    if len(content) > max_bytes:
        raise ValueError(f"larger than {max_bytes >> 20} MiB, which is no file of this kind")
    try:
        parsed = json.loads(content.decode("utf-8-sig"))
    except RecursionError as error:
        raise ValueError(f"nested deeper than {MAX_NESTING} levels") from error
    if content.count(b"[") + content.count(b"{") > MAX_NESTING:
        _check_nesting(parsed)
    if b"\\u" in content:
        # A lone surrogate can be read from an escape, but cannot be written as text again.
        json.dumps(parsed, ensure_ascii=False).encode("utf-8")
    return parsed


def read_at_most(handle: BinaryIO, n_bytes: int) -> bytes:
    """Read up to *n_bytes* of an open file, with memory for what it holds only."""
    # Reading reserves memory for what is asked for; files of /proc and pipes have no size.
    size = os.fstat(handle.fileno()).st_size
    return handle.read(min(size + 1, n_bytes) if size else n_bytes)


def _check_nesting(content: Any) -> None:
    level = [content]
    for _ in range(MAX_NESTING):
        lists = [item for item in level if isinstance(item, list)]
        tables = [item.values() for item in level if isinstance(item, dict)]
        level = [item for items in (*lists, *tables) for item in items]
        if not level:
            return
    raise ValueError(f"nested deeper than {MAX_NESTING} levels")


def file_digest(path: str | os.PathLike[str]) -> str:
    """Compute a digest of the content of a file, independent of its path and dates.

    Parameters
    ----------
    path : path
        An existing file, or a folder that is one array (a Zarr store).

    Returns
    -------
    str
        SHA256 as hexadecimal text; of a folder, of the names and digests of its files. For
        ``.gz`` files only the size and both ends are read: the trailer of a gzip file holds the
        CRC32 of all that was compressed.
    """
    path = Path(path)
    if path.is_dir():
        inside = sorted(file for file in path.rglob("*") if file.is_file())
        return content_key([[str(file.relative_to(path)), file_digest(file)] for file in inside])
    digest = hashlib.sha256()
    with path.open("rb") as handle:
        size = os.fstat(handle.fileno()).st_size
        if path.suffix == ".gz" and size > 2 * _EDGE:
            digest.update(str(size).encode())
            digest.update(handle.read(_EDGE))
            handle.seek(-_EDGE, os.SEEK_END)
            digest.update(handle.read(_EDGE))
        else:
            while block := handle.read(1 << 20):
                digest.update(block)
    return digest.hexdigest()


def content_key(content: Any) -> str:
    """Hash *content* that JSON can hold, independently of the order of its keys."""
    text = json.dumps(content, sort_keys=True, ensure_ascii=False, default=str)
    return hashlib.sha256(text.encode("utf-8")).hexdigest()


def why_no_safetensors(path: str | os.PathLike[str]) -> str | None:
    """Return why a file is not a safetensors file, from its first bytes; None if it is one.

    Nothing is unpacked or executed, whatever the file holds.
    """
    with Path(path).open("rb") as handle:
        head = handle.read(9)
        size = os.fstat(handle.fileno()).st_size
    header = int.from_bytes(head[:8], "little")
    # First: the length of a header may begin with the same bytes as a pickle.
    if head[8:] == b"{" and 8 + header <= size:
        return None
    if head[:2] == b"PK":
        return "it is a zip archive, as PyTorch writes it, and no safetensors file"
    if head[:1] == b"\x80" and head[1:2] <= b"\x05":
        return "it is a pickle, which can run code on loading, and no safetensors file"
    return "it is no safetensors file: it does not begin with a header of that format"
