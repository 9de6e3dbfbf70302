"""Files of bdpy and BrainDecoderToolbox2: Generic Object Decoding, Deep Image Reconstruction.

A file holds ``dataset`` (``dataSet``), samples × columns, and ``metadata`` (``metaData``): names
(``key``) and a row of numbers for each (``value``), not a number where a column has no such entry.
Columns with 1 in ``VoxelData`` are voxels, those with 1 in another key of the design are that
quantity: ``Run``, ``Session``, ``stimulus_id``, ``image_index``, ... ``voxel_x``, ``voxel_y`` and
``voxel_z`` are positions in millimetres. ``vmap`` names numbers by text. Regions are keys
``ROI_<name>``: 1 where a voxel belongs to it.

The stimulus is the first present of ``stimulus_name``, ``stimulus_id``, ``Label``, ``image_index``.
Numbers like 1518878.005958 are pictures of ImageNet: ``n01518878_5958``. ``DataType`` becomes the
column ``split``: 1 is train, 2 is test (``--split-column split``); imagery (3) is neither. Where a
participant has several files, each is a task (``-t``), named by the end of its name.

References
----------
Format: ``bdpy/bdata/bdata.py`` and ``bdpy/bdata/metadata.py`` in
https://github.com/KamitaniLab/bdpy; keys: ``code/matlab/convertdata_BrainData.m`` in
https://github.com/KamitaniLab/GenericObjectDecoding.
Horikawa and Kamitani 2017, Nat Commun 8:15037; Shen et al. 2019, PLoS Comput Biol 15:e1006633.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy.io import loadmat

from bids_decoder.errors import Finding, InputError
from bids_decoder.released.base import (
    Events,
    Layout,
    Released,
    ReleasedPerson,
    ReleasedRun,
    Responses,
    Stored,
)
from bids_decoder.released.files import (
    Shape,
    collect,
    h5,
    is_hdf5,
    measure,
    names_in,
    opened,
    reading,
)
from bids_decoder.released.grids import of_coordinates, without_positions
from bids_decoder.released.tables import PEOPLE, as_text, bids_label, find_label, split_runs

TITLE = "files of bdpy"

STIMULI = ("stimulus_name", "stimulus_id", "Label", "label", "image_index")
"""Keys in which the stimulus is looked for, in this order."""

_NAMES = (("dataset", "metadata"), ("dataSet", "metaData"))
_SPLIT = {1: "train", 2: "test"}
_REGION = "ROI_"


@dataclass(frozen=True)
class _Metadata:
    """Names, numbers and texts of the columns of a file."""

    array: str
    keys: tuple[str, ...]
    values: np.ndarray
    texts: dict[str, dict[float, str]]

    def of(self, key: str) -> np.ndarray:
        """Return the numbers of a key, one per column of the array."""
        return self.values[self.keys.index(key)]

    def columns(self, key: str) -> np.ndarray:
        """Return the columns that are a quantity."""
        return np.flatnonzero(self.of(key) == 1) if key in self.keys else np.arange(0)


def recognise(folder: Path) -> bool:
    """Return whether there is a file with data and metadata of bdpy."""
    return bool(_files(folder))


def read(folder: Path, events: Events) -> Released:
    """Read the metadata and the columns of the design."""
    del events
    findings: list[Finding] = []
    by_person: dict[str, list[Path]] = defaultdict(list)
    for path in _candidates(folder):
        # What is damaged may be a file of bdpy, so that the plan must tell.
        collect(partial(names_in, path), findings, _label(path, folder))
    for path in _files(folder):
        by_person[_label(path, folder)].append(path)
    people, regions, remarks = [], set(), set()
    for label, paths in sorted(by_person.items()):
        found = collect(partial(_person, label, paths), findings, label)
        if found is not None:
            people.append(found[0])
            regions |= found[1]
            remarks |= found[2]
    if regions:
        remarks.add(
            f"all voxels are read; regions in the files: {', '.join(sorted(regions))} "
            "(--regions FILE/ROI_NAME)"
        )
    return Released(tuple(people), tuple(findings), tuple(sorted(remarks)))


def region_place(path: Path) -> tuple[Path, str] | None:
    """Return file and key that a path like ``Subject1.h5/ROI_V1`` names; None for other paths."""
    file = path.parent
    is_region = path.name.startswith(_REGION) and file.suffix in (".h5", ".mat") and file.is_file()
    return (file, path.name) if is_region else None


def read_region(file: Path, key: str) -> tuple[np.ndarray, np.ndarray]:
    """Read the voxels of a region on the grid of all voxels of a file.

    Parameters
    ----------
    file : Path
    key : str
        ``ROI_<name>``.

    Returns
    -------
    labels : ndarray of int64, shape (i, j, k)
        1 in the region, 0 elsewhere.
    affine : ndarray, shape (4, 4)

    Raises
    ------
    InputError
        When the file is none of bdpy, or has no such region.
    """
    if _array_in(file) is None:
        raise InputError(
            str(file), "holds no dataset and metadata as files of bdpy do",
            "give an image of labels, or a file of bdpy",
        )
    metadata = _metadata(file)
    if key not in metadata.keys:
        there = ", ".join(name for name in metadata.keys if name.startswith(_REGION))
        raise InputError(
            f"{file}/{key}", f"there is no such region; regions: {there or 'none'}",
            "name one of them",
        )
    responses, _ = _responses(Stored(file, metadata.array), metadata)
    inside = metadata.of(key)[responses.columns] == 1
    return responses.grid.to_volume(inside.astype(np.int64)), responses.grid.affine


def _files(folder: Path) -> list[Path]:
    return [path for path in _candidates(folder) if _array_in(path) is not None]


def _candidates(folder: Path) -> list[Path]:
    paths = [p for pattern in ("*.h5", "*.mat", "*/*.h5", "*/*.mat") for p in folder.glob(pattern)]
    return sorted(path for path in paths if path.is_file())


def _label(path: Path, folder: Path) -> str:
    return find_label(path, PEOPLE, folder) or bids_label(path.stem)


def _array_in(path: Path) -> tuple[str, str] | None:
    """Return the names of data and metadata in a file; None where it is another kind of file."""
    try:
        there = names_in(path)
    except InputError:
        return None
    return next((pair for pair in _NAMES if set(pair) <= there), None)


def _person(
    label: str, paths: list[Path]
) -> tuple[ReleasedPerson, set[str], set[str]]:
    runs: list[ReleasedRun] = []
    regions, remarks = set(), set()
    for path in paths:
        task = bids_label(path.stem.split("_", 1)[-1]) if len(paths) > 1 else "none"
        metadata = _metadata(path)
        stored = Stored(path, metadata.array)
        responses, remark = _responses(stored, metadata)
        table = _table(stored, metadata)
        runs += split_runs(table, responses, task, TITLE)
        regions |= {key.removeprefix(_REGION) for key in metadata.keys if key.startswith(_REGION)}
        remarks |= {remark} if remark else set()
    return ReleasedPerson(label, tuple(runs)), regions, remarks


def _metadata(path: Path) -> _Metadata:
    array, name = _array_in(path)
    with reading(path):
        if is_hdf5(path):
            with h5(path).File(path, "r") as content:
                keys = [_text(key) for key in np.ravel(content[name]["key"][()])]
                values = np.asarray(content[name]["value"][()], dtype=float)
                texts = {
                    key: {float(n): _text(text[()]) for n, text in group.items()}
                    for key, group in content.get("vmap", {}).items()
                }
        else:
            content = loadmat(path, variable_names=[name])[name]
            keys = [str(key[0]).strip() for key in np.asarray(content["key"][0, 0])[0]]
            values, texts = np.asarray(content["value"][0, 0], dtype=float), {}
    n_columns = measure(Stored(path, array)).n_voxels
    if values.shape != (len(keys), n_columns):
        raise InputError(
            str(path), f"{name} has shape {values.shape}, but there are {len(keys)} keys and "
            f"{n_columns} columns in {array}", "copy the file again",
        )
    return _Metadata(array, tuple(keys), values, texts)


def _text(value: Any) -> str:
    return value.decode("utf-8") if isinstance(value, bytes) else str(value)


def _responses(stored: Stored, metadata: _Metadata) -> tuple[Responses, str]:
    voxels = metadata.columns("VoxelData")
    if not len(voxels):
        raise InputError(
            str(stored), f"no column is marked VoxelData; keys: {', '.join(metadata.keys)}",
            "give the file of brain data",
        )
    shape = measure(stored)
    own = Shape(shape.n_trials, (len(voxels),), shape.dtype)
    axes = [f"voxel_{axis}" for axis in "xyz"]
    remark = ""
    responses = without_positions((stored,), own)
    if set(axes) <= set(metadata.keys):
        places = np.stack([metadata.of(axis)[voxels] for axis in axes], axis=1)
        try:
            responses = of_coordinates((stored,), own, places, f"voxel_x, y, z in {stored.file}")
        except InputError:
            remark = "voxel_x, voxel_y, voxel_z are not on a grid along the axes: voxels have no "
            remark += "positions"
    return Responses(
        (stored,), responses.rows, voxels[responses.columns], responses.grid
    ), remark


def _table(stored: Stored, metadata: _Metadata) -> pd.DataFrame:
    """Return the quantities of the design that have one column, as text."""
    names = [
        key for key in metadata.keys
        if len(metadata.columns(key)) == 1 and not key.startswith((_REGION, "voxel_"))
    ]
    with opened(stored) as array:
        cells = {
            name: np.asarray(array[:, int(metadata.columns(name)[0])], dtype=float)
            for name in names
        }
    stimulus = next((name for name in STIMULI if name in cells), None)
    if stimulus is None:
        raise InputError(
            str(stored), f"no key names the stimulus ({', '.join(STIMULI)}); quantities: "
            f"{', '.join(names) or 'none'}", "give the file with the design",
        )
    table = pd.DataFrame({
        name.lower(): _named(values, metadata.texts.get(name)) for name, values in cells.items()
    }, dtype=object)
    table["stimulus"] = table[stimulus.lower()]
    if "DataType" in cells:
        table["split"] = [_SPLIT.get(kind) for kind in cells["DataType"].tolist()]
    return as_text(table)


def _named(values: np.ndarray, texts: dict[float, str] | None) -> list[str | None]:
    return [
        None if np.isnan(value) else (texts or {}).get(value) or _number(value)
        for value in values.tolist()
    ]


def _number(value: float) -> str:
    """Return a number as text; those with a fraction are pictures of ImageNet."""
    if value.is_integer():
        return str(int(value))
    whole, fraction = f"{value:.6f}".split(".")
    return f"n{int(whole):08d}_{int(fraction)}" if len(whole) > 5 else f"{value:g}"


LAYOUT = Layout(
    "bdpy", TITLE, "<participant>*.h5 or .mat with dataset and metadata (dataSet and metaData)",
    recognise, read,
)
