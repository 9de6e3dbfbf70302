"""THINGS-fMRI: single-trial responses in table format.

``sub-0X_ResponseData.h5`` is a table of pandas (HDFStore): one row per voxel, one column per trial,
beside the column ``voxel_id``. Of its blocks, the one of real numbers holds the responses, voxels ×
trials. ``sub-0X_StimulusMetadata.csv`` has a row per trial: ``trial_type`` (train or test),
``session``, ``run``, ``stimulus``, ``concept``; the first becomes the column ``split``
(``--split-column split``), the last one the label. ``sub-0X_VoxelMetadata.csv`` has a row per
voxel, with indices ``voxel_x``, ``voxel_y``, ``voxel_z`` on the functional grid of 2 mm.

References
----------
Format: https://github.com/ViCCo-Group/THINGS-data and the description of the release,
https://doi.org/10.25452/figshare.plus.c.6161151.
Hebart et al. 2023, eLife 12:e82580.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd

from bids_decoder.errors import Finding, InputError
from bids_decoder.released.base import Events, Layout, Released, ReleasedPerson, Stored
from bids_decoder.released.files import collect, h5, measure, reading
from bids_decoder.released.grids import of_coordinates
from bids_decoder.released.tables import check_length, read_table, split_runs

TITLE = "THINGS-fMRI"
TASK = "things"
VOXEL_SIZE = 2.0
_ENDING = "_ResponseData.h5"


def recognise(folder: Path) -> bool:
    """Return whether there are responses of a participant."""
    return bool(_responses(folder))


def read(folder: Path, events: Events) -> Released:
    """Read the tables and the shapes of the responses."""
    del events
    findings: list[Finding] = []
    people = []
    for path in _responses(folder):
        label = path.name.removesuffix(_ENDING).removeprefix("sub-")
        person = collect(partial(_person, label, path), findings, label)
        people += [person] if person is not None else []
    return Released(tuple(people), tuple(findings))


def _responses(folder: Path) -> list[Path]:
    return sorted(
        path for depth in range(3) for path in folder.glob("*/" * depth + f"sub-*{_ENDING}")
    )


def _person(label: str, path: Path) -> ReleasedPerson:
    stored = _stored(path)
    shape = measure(stored)
    trials = path.with_name(f"sub-{label}_StimulusMetadata.csv")
    table = read_table(trials)
    lacking = [name for name in ("session", "run", "stimulus", "concept") if name not in table]
    if lacking:
        raise InputError(
            str(trials), f"has no column {', '.join(lacking)}; columns: {', '.join(table)}",
            "fetch the file again",
        )
    check_length(table, shape, str(trials), str(stored))
    voxels = path.with_name(f"sub-{label}_VoxelMetadata.csv")
    places = read_table(voxels)
    axes = [f"voxel_{axis}" for axis in "xyz"]
    if not set(axes) <= set(places):
        raise InputError(
            str(voxels), f"has no columns {', '.join(axes)}; columns: {', '.join(places)[:200]}",
            "fetch the file again",
        )
    indices = places[axes].apply(pd.to_numeric, errors="coerce").to_numpy(dtype=float)
    responses = of_coordinates((stored,), shape, VOXEL_SIZE * indices, str(voxels))
    named = table.rename(columns={"trial_type": "split"}).assign(label=table["concept"])
    return ReleasedPerson(label, split_runs(named, responses, TASK, TITLE))


def _stored(path: Path) -> Stored:
    """Return the block of real numbers of a table of pandas."""
    found: dict[str, int] = {}

    def look(name: str, node: object) -> None:
        dtype = getattr(node, "dtype", None)
        is_block = name.endswith("_values") and "block" in name.rsplit("/", 1)[-1]
        if is_block and dtype is not None and dtype.kind == "f" and len(node.shape) == 2:
            found[name] = int(np.prod(node.shape))

    with reading(path), h5(path).File(path, "r") as content:
        content.visititems(look)
    if not found:
        raise InputError(
            str(path), "holds no block of real numbers (blockN_values), as tables of pandas have",
            "fetch the file again",
        )
    return Stored(path, max(found, key=found.get), trials_last=True)


LAYOUT = Layout(
    "things", TITLE, "sub-0X_ResponseData.h5 with sub-0X_StimulusMetadata.csv and "
    "sub-0X_VoxelMetadata.csv", recognise, read,
)
