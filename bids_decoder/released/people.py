"""What layouts with files of runs or sessions share: finding files, participants, one grid."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import nibabel as nib
import numpy as np

from bids_decoder.errors import Finding
from bids_decoder.released.base import Released, ReleasedPerson, Responses, Stored
from bids_decoder.released.files import Shape, collect, measure
from bids_decoder.released.grids import of_volumes
from bids_decoder.released.tables import find_label

Mask = tuple[np.ndarray, np.ndarray, str]
"""Mask of a participant, its affine, and what it is called."""


def find_files(folder: Path, name: str, depth: int) -> list[Path]:
    """Return the files whose name fits a pattern, down to some number of folders, in order."""
    return sorted(path for level in range(depth + 1) for path in folder.glob("*/" * level + name))


def name_people(paths: Iterable[Path], patterns: Sequence[str], root: Path) -> bool:
    """Return whether names below *root* tell of whom any file is; see :func:`.find_label`."""
    return any(find_label(path, patterns, root) for path in paths)


def collect_people(
    paths: Iterable[Path], label_of: Callable[[Path], str | None],
    read: Callable[[str, list[Path]], tuple[ReleasedPerson, str]],
) -> Released:
    """Read participants one by one; those who are refused are findings.

    Parameters
    ----------
    paths : iterable of Path
        Files of all participants.
    label_of : callable
        Returns the label of the participant of a file.
    read : callable
        Takes a label and the files of the participant, in order; returns the participant and a
        remark for the plan, which may be empty.

    Returns
    -------
    Released
        Remarks that several participants share are there once.
    """
    by_person: dict[str, list[Path]] = defaultdict(list)
    for path in sorted(paths):
        by_person[label_of(path) or "none"].append(path)
    findings: list[Finding] = []
    people: list[ReleasedPerson] = []
    remarks: set[str] = set()
    for label, own in sorted(by_person.items()):
        found = collect(partial(read, label, own), findings, label)
        if found is not None:
            people.append(found[0])
            remarks |= {found[1]} - {""}
    return Released(tuple(people), tuple(findings), tuple(sorted(remarks)))


def on_one_grid(
    stored: Sequence[Stored], mask_of: Callable[[Path, Shape], Mask]
) -> tuple[list[Responses], str]:
    """Return the responses of several files of volumes, of the voxels in one mask.

    Parameters
    ----------
    stored : sequence of Stored
        One per file.
    mask_of : callable
        Takes the first file and its shape; returns the mask of the participant.

    Returns
    -------
    list of Responses
        All trials of each file. They share columns and grid, so that successive runs of a file
        are read together.
    str
        What the mask is called.

    Raises
    ------
    MissingInputError, InputError
        When a file or the mask is absent or damaged, or its grid is another one.
    """
    mask, affine, name = mask_of(stored[0].file, measure(stored[0]))
    found: list[Responses] = []
    for one in stored:
        own = of_volumes(one, measure(one), mask, affine, name)
        found.append(replace(own, columns=found[0].columns, grid=found[0].grid) if found else own)
    return found, name


def whole_volume(path: Path, shape: Shape) -> Mask:
    """Return a mask of all voxels of an image."""
    return np.ones(shape.space, dtype=bool), np.asarray(nib.load(path).affine), "the whole volume"
