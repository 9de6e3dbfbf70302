"""Files into which MindEye2 converted the Natural Scenes Dataset: betas, and tars of trial indices.

``betas_all_subj0X_fp32_renorm.hdf5`` (or another ending) holds ``betas``, trials × voxels.
``wds/subj0X/<set>/<number>.tar`` are webdatasets whose ``*.behav.npy`` hold one row per trial; its
columns are, from 0: picture of 73,000 (from 0), participant, session, run, trial, row of the betas,
time, is old, is correct, reaction time (ms; 0 without a response), and others. Pictures are rows
of ``coco_images_224_float16.hdf5/images``. Trials of ``new_test`` (or of ``test`` where that is
absent, as the authors advise) are marked as test in the column ``split`` (``--split-column``),
those of ``train`` as training; a trial in both is a test trial. Voxels have no positions.

References
----------
Format: README of https://github.com/MedARC-AI/MindEyeV2 ("What are the behav, past_behav, ...
arrays?") and of https://huggingface.co/datasets/pscotti/mindeyev2.
Scotti et al. 2024, arXiv:2403.11207; data: Allen et al. 2022, Nat Neurosci 25:116.
"""

from __future__ import annotations

import io
import re
import tarfile
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd

from bids_decoder.errors import Finding, InputError, MissingInputError
from bids_decoder.released.base import Events, Layout, Released, ReleasedPerson, Responses, Stored
from bids_decoder.released.files import collect, measure, reading
from bids_decoder.released.grids import without_positions
from bids_decoder.released.tables import as_text, split_runs

TITLE = "files of MindEye2 (Natural Scenes Dataset)"
TASK = "nsdcore"
PICTURE, SESSION, RUN, ROW, REACTION_TIME = 0, 2, 3, 5, 9
"""Columns of the arrays of behaviour."""

_NEEDED = {"picture": PICTURE, "session": SESSION, "run": RUN, "row of the betas": ROW}

_BETAS = re.compile(r"betas_all_subj0?(\d+)(_\w+)?\.hdf5$")
_ENDINGS = ("_fp32_renorm", "_fp32", "")
_TEST = ("new_test", "test")


def recognise(folder: Path) -> bool:
    """Return whether there are betas of all trials of a participant."""
    return bool(_betas(folder))


def read(folder: Path, events: Events) -> Released:
    """Read the indices of trials and the shapes of the betas."""
    del events
    findings: list[Finding] = []
    people = []
    for label, path in sorted(_betas(folder).items()):
        person = collect(partial(_person, label, path, folder), findings, label)
        people += [person] if person is not None else []
    pictures = next(iter(sorted(folder.glob("coco_images*.hdf5"))), None)
    return Released(
        tuple(people), tuple(findings), ("voxels have no positions",),
        folder if pictures is not None else None,
    )


def _betas(folder: Path) -> dict[str, Path]:
    """Return the betas of each participant; of several files, the renormalised one."""
    found: dict[str, list[tuple[int, Path]]] = {}
    for path in sorted(folder.glob("betas_all_subj*.hdf5")):
        match = _BETAS.match(path.name)
        if match:
            ending = match[2] or ""
            rank = _ENDINGS.index(ending) if ending in _ENDINGS else len(_ENDINGS)
            found.setdefault(f"{int(match[1]):02d}", []).append((rank, path))
    return {label: min(paths)[1] for label, paths in found.items()}


def _person(label: str, path: Path, folder: Path) -> ReleasedPerson:
    stored = Stored(path, "betas")
    shape = measure(stored)
    if len(shape.space) != 1:
        raise InputError(
            str(stored), f"shape {(shape.n_trials, *shape.space)}; expected trials × voxels",
            "fetch the file again",
        )
    rows, table = _trials(label, folder)
    if rows.max() >= shape.n_trials or rows.min() < 0:
        turned = f"; it seems to be transposed ({shape.n_voxels} columns)" if (
            rows.max() < shape.n_voxels) else ""
        raise InputError(
            str(stored), f"{shape.n_trials} trials, but the tars name row {rows.max()}{turned}",
            "fetch betas and wds of one release",
        )
    whole = without_positions((stored,), shape)
    responses = Responses(whole.parts, rows, whole.columns, whole.grid)
    return ReleasedPerson(label, split_runs(table, responses, TASK, TITLE))


def _trials(label: str, folder: Path) -> tuple[np.ndarray, pd.DataFrame]:
    """Return rows of the betas in order, and what is known of the trials."""
    place = folder / "wds" / f"subj{label}"
    test = next((place / name for name in _TEST if (place / name).is_dir()), None)
    sides = [side for side in (place / "train", test) if side is not None and side.is_dir()]
    if not sides:
        raise MissingInputError(
            f"{place}/train/*.tar", "the indices of trials are not there, which name the pictures",
            "fetch wds of the release",
        )
    found: dict[int, tuple[np.ndarray, str]] = {}
    for side in sides:
        for row in _behaviour(side):
            found[int(row[ROW])] = row, "train" if side.name == "train" else "test"
    if not found:
        raise InputError(
            str(place), "its tars hold no trial (*.behav.npy)", "fetch wds of the release again"
        )
    order = np.array(sorted(found))
    values = np.stack([found[row][0] for row in order.tolist()])
    times = values[:, REACTION_TIME]
    table = pd.DataFrame({
        "session": [f"nsd{int(number):02d}" for number in values[:, SESSION]],
        "run": [f"{int(number):02d}" for number in values[:, RUN]],
        "stimulus": values[:, PICTURE].astype(int).astype(str),
        "split": [found[row][1] for row in order.tolist()],
        "rt": np.where(times > 0, times, np.nan),
    })
    return order, as_text(table)


def _behaviour(side: Path) -> list[np.ndarray]:
    """Return the last row of the behaviour of each trial: the trial itself."""
    rows = []
    for path in sorted(side.glob("*.tar"), key=lambda path: (len(path.stem), path.stem)):
        with reading(path), tarfile.open(path) as archive:
            for member in archive:
                if member.name.split(".", 1)[-1] == "behav.npy":
                    content = archive.extractfile(member).read()
                    array = np.load(io.BytesIO(content), allow_pickle=False)
                    rows.append(_last_row(array, f"{path}/{member.name}"))
    return rows


def _last_row(array: np.ndarray, source: str) -> np.ndarray:
    """Return the last row of an array of behaviour, checked to name a trial."""
    if array.dtype.kind not in "uif" or not array.size or (
            array.ndim == 0 or array.shape[-1] <= REACTION_TIME):
        raise InputError(
            source, f"behav.npy holds {array.dtype} of shape {array.shape}; expected numbers in "
            "17 columns", "fetch the file again",
        )
    row = array.reshape(-1, array.shape[-1])[-1]
    absent = [name for name, column in _NEEDED.items() if not np.isfinite(row[column])]
    if absent:
        raise InputError(
            source, f"behav.npy has no finite number for {', '.join(absent)} of the trial",
            "fetch the file again",
        )
    return row


LAYOUT = Layout(
    "mindeye2", TITLE, "betas_all_subj0X_fp32_renorm.hdf5 with wds/subj0X/train/*.tar",
    recognise, read,
)
