"""Plain arrays: one matrix of trials × voxels per participant, and a table of trials.

The folder holds, for each participant, ``sub-<label>[_ses-<label>][_<word>].npy`` (or ``.npz``,
``.mat``, ``.h5``, ``.hdf5``, or a folder ``.zarr``), also in a folder ``sub-<label>``, and
``sub-<label>_trials.tsv`` (or ``.csv``) or one ``trials.tsv`` for all. ``sub-<label>_mask.nii.gz``
or ``mask.nii.gz`` says where the voxels are (those above 0, in the order in which NumPy and nilearn
index a mask), or ``sub-<label>_coordinates.tsv``, ``.csv`` or ``.npy`` with x, y and z of each
voxel. Matrices of MATLAB are trials × voxels in MATLAB: HDF5 stores their axes in reversed order.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd

from bids_decoder.errors import ExitCode, Finding, InputError, MissingInputError
from bids_decoder.released.base import Events, Layout, Released, ReleasedPerson, Responses, Stored
from bids_decoder.released.files import (
    ARRAY_EXTENSIONS,
    Shape,
    array_names,
    collect,
    is_hdf5,
    measure,
    opened,
)
from bids_decoder.released.grids import of_coordinates, of_masked, read_mask, without_positions
from bids_decoder.released.tables import (
    TABLE_EXTENSIONS,
    bids_label,
    check_length,
    read_table,
    split_runs,
)

TITLE = "plain arrays of trials × voxels"

NAMES = ("betas", "responses", "data", "X", "fmri")
"""Arrays that are taken where a file holds several, in this order."""

_OTHER = re.compile(r"(^|_)(mask|coordinates|coords|roi|labels)\b", re.IGNORECASE)


def recognise(folder: Path) -> bool:
    """Return whether there are arrays and a table of trials."""
    return bool(_arrays(folder)) and any(_is_trials(path) for path in _files(folder))


def read(folder: Path, events: Events) -> Released:
    """Read the tables and the shapes of the arrays."""
    del events
    findings: list[Finding] = []
    people = []
    arrays = _arrays(folder)
    labels = [_label(path, folder) for path in arrays]
    for path, label in zip(arrays, labels, strict=True):
        if labels.count(label) > 1:
            same = [p.name for p, other in zip(arrays, labels, strict=True) if other == label]
            findings.append(Finding(
                str(path), f"participant {label} has several arrays: {', '.join(same)}",
                "keep one matrix per participant", participant=label, place=str(path),
            ))
            continue
        person = collect(partial(_person, path, label, folder), findings, label)
        people += [person] if person is not None else []
    findings += _without_array(folder, set(labels))
    return Released(tuple(people), tuple(findings))


def _without_array(folder: Path, labels: set[str]) -> Iterator[Finding]:
    """Yield tables of participants of whom there are no responses."""
    for path in _files(folder):
        if not _is_trials(path):
            continue
        own = path.parent.name if path.parent != folder else path.stem
        found = re.match(r"sub-([0-9A-Za-z]+)", own)
        if found and found[1] not in labels:
            yield Finding(
                str(path), f"there are no responses to these trials: no array sub-{found[1]}*",
                "fetch or copy the array, or remove the table", ExitCode.MISSING_INPUT,
                participant=found[1], place=str(path),
            )


def _files(folder: Path) -> list[Path]:
    below = [
        path for sub in sorted(folder.glob("sub-*")) if sub.is_dir() and sub.suffix != ".zarr"
        for path in sub.iterdir()
    ]
    return sorted(
        path for path in (*folder.iterdir(), *below)
        if not path.is_dir() or path.suffix == ".zarr"
    )


def _arrays(folder: Path) -> list[Path]:
    return [
        path for path in _files(folder)
        if path.suffix in ARRAY_EXTENSIONS and not _OTHER.search(path.stem)
    ]


def _is_trials(path: Path) -> bool:
    return path.suffix in TABLE_EXTENSIONS and path.stem.split("_")[-1] == "trials"


def _label(path: Path, folder: Path) -> str:
    if path.parent != folder:
        return bids_label(path.parent.name.removeprefix("sub-"))
    found = re.match(r"sub-([0-9A-Za-z]+)", path.stem)
    if found:
        return found[1]
    words = [word for word in path.stem.split("_") if word.lower() not in {*NAMES, "x"}]
    return bids_label("".join(words))


def _beside(path: Path, label: str, folder: Path, endings: list[str]) -> Path | None:
    """Return the file of a participant, or else the file for all, with one of the endings."""
    stem = path.stem
    for place, starts in (
        (path.parent, [f"{stem}_", f"sub-{label}_", f"{label}_"]), (folder, [f"sub-{label}_", ""]),
    ):
        for start in starts if place == folder else [*starts, ""]:
            for ending in endings:
                if (place / f"{start}{ending}").exists():
                    return place / f"{start}{ending}"
    return None


def _person(path: Path, label: str, folder: Path) -> ReleasedPerson:
    table_file = _beside(path, label, folder, [f"trials{ext}" for ext in TABLE_EXTENSIONS])
    if table_file is None:
        raise MissingInputError(
            str(path), f"no table of trials belongs to it; it would be sub-{label}_trials.tsv, or "
            "trials.tsv for all participants", "add the table: row i names trial i",
        )
    stored = _stored(path)
    shape, table = measure(stored), read_table(table_file)
    if len(shape.space) != 1:
        raise InputError(
            str(stored), f"shape {(shape.n_trials, *shape.space)}: a matrix has two axes",
            "save one row per trial and one column per voxel, and the mask as an image",
        )
    check_length(table, shape, str(table_file), str(stored))
    responses = _place(stored, shape, path, label, folder)
    return ReleasedPerson(label, split_runs(table, responses, "none", TITLE))


def _stored(path: Path) -> Stored:
    names = array_names(path)
    # Versions of MATLAB since 7.3 write HDF5, in which axes come in reversed order.
    reversed_axes = path.suffix == ".mat" and is_hdf5(path)
    matrices = [name for name, shape in names.items() if len(shape) > 1 and min(shape) > 1]
    known = [name for name in NAMES if name in names]
    if known or len(matrices) == 1:
        return Stored(path, (known or matrices)[0], reversed_axes, reversed_axes)
    if len(names) == 1:
        return Stored(path, next(iter(names)), reversed_axes, reversed_axes)
    raise InputError(
        str(path), f"which array holds the responses? It has "
        f"{', '.join(f'{name} {shape}' for name, shape in names.items()) or 'no array of numbers'}",
        f"name the array betas, or keep one matrix in the file; understood: {', '.join(NAMES)}",
    )


def _place(stored: Stored, shape: Shape, path: Path, label: str, folder: Path) -> Responses:
    mask_file = _beside(path, label, folder, ["mask.nii.gz", "mask.nii"])
    if mask_file is not None:
        mask, affine = read_mask(mask_file)
        return of_masked((stored,), shape, mask, affine, str(mask_file))
    words = [f"{word}{ext}" for word in ("coordinates", "coords") for ext in (*TABLE_EXTENSIONS,
                                                                              ".npy")]
    source = _beside(path, label, folder, words)
    if source is None:
        return without_positions((stored,), shape)
    return of_coordinates((stored,), shape, _coordinates(source), str(source))


def _coordinates(path: Path) -> np.ndarray:
    if path.suffix == ".npy":
        with opened(Stored(path)) as array:
            return np.asarray(array, dtype=float)
    table = read_table(path)
    axes = {name.lower(): name for name in table}
    if not {"x", "y", "z"} <= set(axes):
        raise InputError(
            str(path), f"has no columns x, y and z; columns: {', '.join(table)}",
            "name the columns x, y and z",
        )
    chosen = table[[axes[name] for name in "xyz"]]
    return chosen.apply(pd.to_numeric, errors="coerce").to_numpy(dtype=float)


LAYOUT = Layout(
    "arrays", TITLE, "sub-<label>.npy (.npz, .mat, .h5, .zarr) with sub-<label>_trials.tsv or "
    "trials.tsv",
    recognise, read,
)
