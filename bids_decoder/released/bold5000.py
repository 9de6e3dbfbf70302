"""BOLD5000 release 2: betas of sessions or of regions, and names of pictures.

``CSIx_GLMbetas-TYPED-FITHRF-GLMDENOISE-RR_ses-XX.nii.gz`` holds x × y × z × trials of a session;
types A to C have other names, of which the best is taken. ``..._allses_<region>.npy`` holds all
trials × voxels of a region. ``CSIx_imgnames.txt`` names the picture of each trial, in order over
all sessions; ``rep_`` before the name of a picture marks a repetition. A run has 37 trials. Images
are used where both are there; regions are put side by side, and their voxels have no positions.
``CSIx_brainmask.nii.gz`` is the mask, if it is there.

References
----------
README of the release, https://github.com/BOLD5000-dataset/BOLD5000 (names of files, 37 stimuli per
run, per cent signal change); order of ``imgnames``: https://bold5000-dataset.github.io.
Chang et al. 2019, Sci Data 6:49.
"""

from __future__ import annotations

import re
from dataclasses import replace
from functools import partial
from pathlib import Path

import pandas as pd

from bids_decoder.errors import InputError, MissingInputError
from bids_decoder.released.base import (
    Events,
    Layout,
    Released,
    ReleasedPerson,
    ReleasedRun,
    Responses,
    Stored,
)
from bids_decoder.released.files import Shape, measure
from bids_decoder.released.grids import read_mask, without_positions
from bids_decoder.released.people import (
    Mask,
    collect_people,
    find_files,
    on_one_grid,
    whole_volume,
)
from bids_decoder.released.tables import as_text

TITLE = "BOLD5000"
RUN_LENGTH = 37
TASK = "5000scenes"
_DEPTH = 3
_REPEATED = "rep_"

_BETAS = re.compile(r"CSI(\d)_GLMbetas-TYP([A-Z]+)-[A-Z-]+_(?:ses-(\d+)\.nii(?:\.gz)?"
                    r"|allses_(\w+)\.npy)$")


def recognise(folder: Path) -> bool:
    """Return whether there are betas of participants CSI1 to CSI4."""
    return bool(_betas(folder))


def read(folder: Path, events: Events) -> Released:
    """Read the names of pictures and the shapes of the betas."""
    del events
    return collect_people(
        _betas(folder), lambda path: f"CSI{_BETAS.match(path.name)[1]}",
        partial(_person, folder=folder),
    )


def _betas(folder: Path) -> list[Path]:
    found = find_files(folder, "CSI*_GLMbetas-*", _DEPTH)
    return [path for path in found if _BETAS.match(path.name)]


def _person(label: str, paths: list[Path], folder: Path) -> tuple[ReleasedPerson, str]:
    images = [path for path in paths if not path.name.endswith(".npy")]
    chosen = images or paths
    best = max(_BETAS.match(path.name)[2] for path in chosen)
    chosen = [path for path in chosen if _BETAS.match(path.name)[2] == best]
    names = _names(label, folder)
    parts = _sessions(label, chosen, folder) if images else [(None, _regions(label, chosen))]
    n_trials = sum(len(responses.rows) for _, responses in parts)
    numbers = [int(session) for session, _ in parts if session is not None]
    is_complete = numbers == list(range(1, len(numbers) + 1))
    if n_trials > len(names) or (n_trials < len(names) and not images) or not is_complete:
        raise InputError(
            str(chosen[0]), f"{n_trials} trials of {label} (sessions: {numbers or 'all'}), but "
            f"{len(names)} names of pictures",
            "fetch all sessions from the first one on: names are in order over all sessions",
        )
    runs: list[ReleasedRun] = []
    start = 0
    for session, responses in parts:
        shown = names[start:start + len(responses.rows)]
        runs += _runs(session, shown, responses)
        start += len(shown)
    return ReleasedPerson(label, tuple(runs)), ""


def _names(label: str, folder: Path) -> list[str]:
    name = f"{label}_imgnames.txt"
    files = find_files(folder, name, _DEPTH + 1)
    if not files:
        raise MissingInputError(
            f"{folder}/**/{name}", "which picture was shown in a trial is not known without",
            "fetch it from the release of BOLD5000",
        )
    lines = [line.strip() for line in files[0].read_text(encoding="utf-8").splitlines() if line]
    known = set(lines)
    # A repetition that counted as another picture could be on the other side of the split.
    return [
        line.removeprefix(_REPEATED) if line.removeprefix(_REPEATED) in known else line
        for line in lines
    ]


def _sessions(label: str, paths: list[Path], folder: Path) -> list[tuple[str, Responses]]:
    masks = find_files(folder, f"{label}_brainmask.nii*", _DEPTH)

    def mask_of(path: Path, shape: Shape) -> Mask:
        return (*read_mask(masks[0]), masks[0].name) if masks else whole_volume(path, shape)

    responses, _ = on_one_grid([Stored(path, trials_last=True) for path in paths], mask_of)
    sessions = [_BETAS.match(path.name)[3] for path in paths]
    return list(zip(sessions, responses, strict=True))


def _regions(label: str, paths: list[Path]) -> Responses:
    parts = tuple(Stored(path) for path in paths)
    shapes = [measure(part) for part in parts]
    counts = {shape.n_trials for shape in shapes}
    if len(counts) > 1:
        raise InputError(
            f"{label} in {paths[0].parent}", f"its regions have {sorted(counts)} trials",
            "fetch the files of one release",
        )
    return without_positions(parts, shapes[0], sum(shape.n_voxels for shape in shapes))


def _runs(session: str | None, shown: list[str], responses: Responses) -> list[ReleasedRun]:
    runs = []
    for number, start in enumerate(range(0, len(shown), RUN_LENGTH), start=1):
        rows = responses.rows[start:start + RUN_LENGTH]
        table = as_text(pd.DataFrame({"stimulus": shown[start:start + RUN_LENGTH]}))
        own = replace(responses, rows=rows)
        runs.append(ReleasedRun(session, TASK, f"{number:02d}", table, own, TITLE))
    return runs


LAYOUT = Layout(
    "bold5000", TITLE, "CSIx_GLMbetas-TYPED-FITHRF-GLMDENOISE-RR_ses-XX.nii.gz or "
    "_allses_<region>.npy, with CSIx_imgnames.txt", recognise, read,
)
