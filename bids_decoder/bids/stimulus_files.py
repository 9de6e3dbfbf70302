"""Image files of stimulus ids, never outside the stimulus folder."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from bids_decoder.errors import BidsDecoderError
from bids_decoder.stacks import is_stack, picture_arrays

IMAGE_EXTENSIONS = frozenset({
    ".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".ppm",
})


@dataclass(frozen=True)
class StimulusFiles:
    """Image files found for stimulus ids, and ids without one.

    Parameters
    ----------
    found : dict of str to Path
    absent : tuple of str
        Ids without a (unique) image file.
    refused : tuple of str
        Ids that are absolute paths or climb out of the folder.
    stacks : tuple of str
        Text on each array of the HDF5 stacks in the folder, for the plan.
    """

    found: dict[str, Path] = field(default_factory=dict)
    absent: tuple[str, ...] = ()
    refused: tuple[str, ...] = ()
    stacks: tuple[str, ...] = ()


def find_stimulus_files(folder: Path | None, ids: Iterable[str]) -> StimulusFiles:
    """Look for the image of each stimulus.

    Parameters
    ----------
    folder : Path or None
        ``stimuli/`` of the dataset or ``--stimuli-dir``.
    ids : iterable of str
        Stimulus ids: paths relative to the folder (with or without a leading ``stimuli/``), bare
        file names, or names without extension. Paths may have more or fewer leading folders than
        the file, but no others: ``faces/1.png`` is not ``houses/1.png``. What is not the whole path
        must be unique.
        Pictures in an HDF5 stack are ``FILE/ARRAY/ROW`` or ``FILE#ROW``, rows counted from 0;
        where the folder holds nothing but one array of one stack, a bare ``ROW`` is enough.

    Returns
    -------
    StimulusFiles
        Links are not followed when checking that a file is inside the folder, since annexed
        datasets consist of links; files whose content is absent count as absent.
    """
    ids = sorted(set(ids))
    refused = tuple(name for name in ids if not _is_inside(name))
    if folder is None:
        return StimulusFiles({}, tuple(name for name in ids if name not in refused), refused)
    index, stacks = _index(folder)
    arrays, notes = _arrays(stacks)
    only = arrays[0] if len(arrays) == 1 and not index else None
    found, absent = {}, []
    for name in ids:
        if name in refused:
            continue
        place = PurePosixPath(name.replace("\\", "/"))
        path = _look_up(index, folder, place) or _look_into(arrays, folder, place, only)
        if path is None:
            absent.append(name)
        else:
            found[name] = path
    return StimulusFiles(found, tuple(absent), refused, tuple(notes))


def list_images(folder: Path) -> dict[str, Path]:
    """List every picture of a folder and of the stacks in it, by path relative to the folder.

    Parameters
    ----------
    folder : Path

    Returns
    -------
    dict of str to Path
        Sorted. Files whose content is absent are left out, stacks that cannot be read too.
    """
    index, stacks = _index(folder)
    files = {path for paths in index.values() for path in paths if path.is_file()}
    listed = {path.relative_to(folder).as_posix(): path for path in files}
    for array in _arrays(stacks)[0]:
        for row in range(array.size):
            path = array.path / str(row)
            listed[path.relative_to(folder).as_posix()] = path
    return dict(sorted(listed.items()))


@dataclass(frozen=True)
class _Array:
    path: Path  # of the stack, then the name of the array
    file: Path
    size: int


def _is_inside(name: str) -> bool:
    path = PurePosixPath(name.replace("\\", "/"))
    return not path.is_absolute() and ".." not in path.parts


def _index(folder: Path) -> tuple[dict[str, list[Path]], list[Path]]:
    """Map file name and stem to files; list the stacks."""
    index: dict[str, list[Path]] = defaultdict(list)
    stacks = []
    for place, _, names in os.walk(folder):
        for name in sorted(names):
            path = Path(place, name)
            if is_stack(path):
                stacks.append(path)
            if path.suffix.lower() in IMAGE_EXTENSIONS:
                for key in {name, path.stem}:
                    index[key].append(path)
    return index, sorted(stacks)


def _arrays(stacks: list[Path]) -> tuple[list[_Array], list[str]]:
    arrays, notes = [], []
    for file in stacks:
        try:
            found = picture_arrays(file)
        except BidsDecoderError as error:
            notes.append(f"{file.name}: {error.finding.why}; {error.finding.fix}")
            continue
        arrays += [_Array(file / name, file, size) for name, size in sorted(found.items())]
        notes += [f"{file.name}/{name}: {size} pictures, rows counted from 0"
                  for name, size in sorted(found.items())]
    return arrays, notes


def _look_up(
    index: dict[str, list[Path]], folder: Path, name: PurePosixPath
) -> Path | None:
    relative = _relative(name)
    place = relative.parent
    alike = [
        path for path in index.get(relative.name, ())
        if _ends_alike(path.relative_to(folder).parent.parts, place.parts)
    ]
    found = [path for path in alike if path.parent == folder / place] or alike
    return found[0] if len(found) == 1 and found[0].is_file() else None


def _ends_alike(first: tuple[str, ...], second: tuple[str, ...]) -> bool:
    """Return whether the shorter one of two sequences of folders is the end of the other."""
    n = min(len(first), len(second))
    return n == 0 or first[-n:] == second[-n:]


def _relative(name: PurePosixPath) -> PurePosixPath:
    return PurePosixPath(*name.parts[1:]) if name.parts[:1] == ("stimuli",) else name


def _look_into(
    arrays: list[_Array], folder: Path, name: PurePosixPath, only: _Array | None
) -> Path | None:
    """Find a row of a stack: ``FILE/ARRAY/ROW``, ``FILE#ROW``, or ``ROW`` of the *only* array."""
    relative = _relative(name)
    stem, _, row = str(relative).rpartition("#")
    if not stem:
        stem, row = ("" if relative.parent == PurePosixPath() else str(relative.parent),
                     relative.name)
    if not row.isdecimal():
        return None
    matches = [
        array for array in arrays
        if (array is only if not stem else folder / stem in (array.path, array.file))
    ]
    if len(matches) != 1 or int(row) >= matches[0].size:
        return None
    return matches[0].path / str(int(row))
