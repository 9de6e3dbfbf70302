"""Stimulus ids to image files, never outside the stimulus folder."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

IMAGE_EXTENSIONS = frozenset({
    ".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".ppm",
})


@dataclass(frozen=True)
class StimulusFiles:
    """Result of the search.

    Parameters
    ----------
    found : dict of str to Path
    absent : tuple of str
        Ids without a (unique) image file.
    refused : tuple of str
        Ids that are absolute paths or climb out of the folder.
    """

    found: dict[str, Path] = field(default_factory=dict)
    absent: tuple[str, ...] = ()
    refused: tuple[str, ...] = ()


def find_stimulus_files(folder: Path | None, ids: Iterable[str]) -> StimulusFiles:
    """Look for the image of each stimulus.

    Parameters
    ----------
    folder : Path or None
        ``stimuli/`` of the dataset or ``--stimuli-dir``.
    ids : iterable of str
        Stimulus ids: paths relative to the folder (with or without a leading ``stimuli/``), bare
        file names, or names without extension. The latter two must be unique in the folder.

    Returns
    -------
    StimulusFiles
        Links are not followed when the place of a file is judged, since annexed datasets
        consist of them; files whose content is absent count as absent.
    """
    ids = sorted(set(ids))
    refused = tuple(name for name in ids if not _is_inside(name))
    if folder is None:
        return StimulusFiles({}, tuple(name for name in ids if name not in refused), refused)
    index = _index(folder)
    found, absent = {}, []
    for name in ids:
        if name in refused:
            continue
        path = _look_up(index, PurePosixPath(name.replace("\\", "/")))
        if path is None or not path.is_file():
            absent.append(name)
        else:
            found[name] = path
    return StimulusFiles(found, tuple(absent), refused)


def _is_inside(name: str) -> bool:
    path = PurePosixPath(name.replace("\\", "/"))
    return not path.is_absolute() and ".." not in path.parts


def _index(folder: Path) -> dict[str, list[Path]]:
    """Map relative path, file name and stem to files."""
    index: dict[str, list[Path]] = defaultdict(list)
    for place, _, names in os.walk(folder):
        for name in sorted(names):
            path = Path(place, name)
            if path.suffix.lower() in IMAGE_EXTENSIONS:
                keys = {path.relative_to(folder).as_posix(), name, path.stem}
                for key in keys:
                    index[key].append(path)
    return index


def _look_up(index: dict[str, list[Path]], name: PurePosixPath) -> Path | None:
    relative = PurePosixPath(*name.parts[1:]) if name.parts[:1] == ("stimuli",) else name
    for key in (str(relative), relative.name):
        if len(index.get(key, ())) == 1:
            return index[key][0]
    return None
