"""Outputs of GLMsingle, of Python and of MATLAB, with events or with the design.

A folder holds ``TYPED_FITHRF_GLMDENOISE_RR``, ``TYPEC_FITHRF_GLMDENOISE`` or ``TYPEB_FITHRF`` as
``.npy`` (a dictionary), ``.hdf5`` or ``.mat`` (version 7.3), and ``DESIGNINFO`` as ``.npy`` or
``.mat``; the type furthest in the alphabet is taken. Responses are x × y × z × trials, or voxels ×
1 × 1 × trials: ``betasmd`` in Python, ``modelmd`` in MATLAB, in order of time over all runs.
``numtrialrun`` has the number of trials of each run, ``stimorder`` the condition of each trial,
from 0 in Python and from 1 in MATLAB.

What the conditions are is not in these files. Where the BIDS dataset has events of the participant,
with as many rows in each run as there are trials, trials get their columns. Otherwise stimuli are
the numbers of conditions, counted from 0.

Affines are not in these files either: an image ``mask.nii.gz``, ``brainmask.nii.gz`` or
``ref.nii.gz`` on the grid gives positions; of the first two, voxels above 0 are used.

References
----------
Format: ``glmsingle/glmsingle.py`` and ``glmsingle/utils/h5_utils.py`` in
https://github.com/cvnlab/GLMsingle, and ``matlab/GLMestimatesingletrial.m`` there.
Method: Prince et al. 2022, eLife 11:e77599.
"""

from __future__ import annotations

from collections import Counter
from functools import partial
from itertools import chain
from pathlib import Path

import numpy as np
import pandas as pd

from bids_decoder.errors import Finding, InputError, MissingInputError
from bids_decoder.released.base import (
    Events,
    EventsOfRun,
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
    read_dictionary,
    reading,
)
from bids_decoder.released.grids import of_volumes, read_mask, without_positions
from bids_decoder.released.tables import PEOPLE, SESSIONS, as_text, find_label

TITLE = "outputs of GLMsingle"

TYPES = ("TYPED_FITHRF_GLMDENOISE_RR", "TYPEC_FITHRF_GLMDENOISE", "TYPEB_FITHRF")
"""Types with one response per trial, the best first; type A has one for all trials."""

_EXTENSIONS = (".hdf5", ".npy", ".mat")
_MASKS = ("mask.nii.gz", "brainmask.nii.gz", "mask.nii", "brainmask.nii")
_REFERENCES = ("ref.nii.gz", "ref.nii")
_NUMBERS = "numbers of conditions in DESIGNINFO"
_DEPTH = 4


def recognise(folder: Path) -> bool:
    """Return whether there is a file of single-trial responses."""
    return bool(_outputs(folder))


def read(folder: Path, events: Events) -> Released:
    """Read the designs and the shapes of the arrays."""
    findings: list[Finding] = []
    runs: dict[str, list[ReleasedRun]] = {}
    numbered: Counter[str] = Counter()
    failed, remarks = set(), []
    for path in _outputs(folder):
        label = find_label(path, PEOPLE, folder) or "01"
        found = collect(partial(_session, path, label, folder, events), findings, label)
        if found is None:
            failed.add(label)
        else:
            runs.setdefault(label, []).extend(found[0])
            remarks.append(found[1])
            numbered[label] += found[1].endswith(_NUMBERS)
    findings += [
        Finding(
            f"sub-{label}: numbers of conditions",
            f"{n_outputs} outputs of GLMsingle number their conditions, and the same number is "
            "taken for the same condition in all of them",
            "check that they were made with one list of conditions; otherwise name the BIDS "
            "dataset with the events as first argument", severity="warning", participant=label,
        )
        for label, n_outputs in numbered.items() if n_outputs > 1 and label not in failed
    ]
    people = tuple(
        ReleasedPerson(label, tuple(own)) for label, own in runs.items() if label not in failed
    )
    return Released(people, tuple(findings), tuple(sorted(set(remarks))))


def _outputs(folder: Path) -> list[Path]:
    """Return the best output of each folder, down to some depth."""
    found: dict[Path, Path] = {}
    levels = chain.from_iterable(folder.glob("/".join(["*"] * n)) for n in range(1, _DEPTH + 1))
    for path in levels:
        if path.stem not in TYPES or path.suffix not in _EXTENSIONS:
            continue
        before = found.get(path.parent)
        if before is None or _rank(path) < _rank(before):
            found[path.parent] = path
    return [found[place] for place in sorted(found)]


def _rank(path: Path) -> tuple[int, int]:
    return TYPES.index(path.stem), _EXTENSIONS.index(path.suffix)


def _session(
    path: Path, label: str, folder: Path, events: Events
) -> tuple[list[ReleasedRun], str]:
    session = find_label(path, SESSIONS, folder)
    stored = _stored(path)
    shape = measure(stored)
    if len(shape.space) != 3:
        raise InputError(
            str(stored), f"has {1 + len(shape.space)} axes; GLMsingle writes x, y, z and trials",
            "give the file as GLMsingle wrote it",
        )
    conditions, lengths = _design(path, shape)
    responses = _place(stored, shape, path.parent)
    own = [run for run in events.get(label, ()) if session is None or run.session == session]
    tables = _tables(own, conditions, lengths, shape, path)
    starts = np.cumsum([0, *(len(table) for table in tables)])
    runs = []
    for number, (table, start) in enumerate(zip(tables, starts, strict=False)):
        given = own[number] if own else EventsOfRun(session, "none", str(number + 1), table, table)
        rows = responses.rows[start:start + len(table)]
        runs.append(ReleasedRun(
            given.session, given.task, given.run, table,
            Responses(responses.parts, rows, responses.columns, responses.grid),
            f"{TITLE}, type {path.stem[4]}",
        ))
    source = "events of the dataset" if own else _NUMBERS
    return runs, f"type {path.stem[4]}; trials are named by {source}"


def _stored(path: Path) -> Stored:
    if path.suffix == ".mat":
        if path.is_file() and not is_hdf5(path):
            raise InputError(
                str(path), "is no MATLAB file of version 7.3, which GLMsingle writes",
                "give the file as GLMsingle wrote it",
            )
        return Stored(path, "modelmd", is_reversed=True)
    return Stored(path, "betasmd", trials_last=True)


def _design(path: Path, shape: Shape) -> tuple[np.ndarray, list[int] | None]:
    """Return the condition of each trial, from 0, and the number of trials in each run."""
    files = [path.with_name(f"DESIGNINFO{extension}") for extension in (".npy", ".mat", ".hdf5")]
    file = next((file for file in files if file.is_file()), None)
    if file is None:
        return np.arange(0), None
    content = _design_values(file)
    order = content.get("stimorder")
    if order is None or len(order) != shape.n_trials:
        n_rows = "no" if order is None else len(order)
        raise InputError(
            str(path),
            f"{shape.n_trials} trials, but stimorder in {file.name} has {n_rows} entries",
            "give the DESIGNINFO of the same call of GLMsingle",
        )
    lengths = content.get("numtrialrun")
    given = None if lengths is None else [int(length) for length in lengths]
    if given is not None and sum(given) != shape.n_trials:
        raise InputError(
            str(file), f"numtrialrun adds up to {sum(given)} trials, there are {shape.n_trials}",
            "give the DESIGNINFO of the same call of GLMsingle",
        )
    return order.astype(int) - (1 if file.suffix == ".mat" else 0), given


def _design_values(file: Path) -> dict[str, np.ndarray]:
    names = ("stimorder", "numtrialrun")
    if file.suffix == ".npy":
        content = read_dictionary(file)
        return {name: np.ravel(np.asarray(content[name])) for name in names if name in content}
    with reading(file), h5(file).File(file, "r") as content:
        return {name: np.ravel(content[name][()]) for name in names if name in content}


def _place(stored: Stored, shape: Shape, folder: Path) -> Responses:
    for name in (*_MASKS, *_REFERENCES):
        if (folder / name).exists():
            mask, affine = read_mask(folder / name)
            whole = np.ones_like(mask) if name in _REFERENCES else mask
            return of_volumes(stored, shape, whole, affine, name)
    return without_positions((stored,), shape)


def _tables(
    events: list[EventsOfRun], conditions: np.ndarray, lengths: list[int] | None, shape: Shape,
    path: Path,
) -> list[pd.DataFrame]:
    """Return the trials of each run: events where there are some, else numbers of conditions."""
    if events:
        return _of_events(events, lengths, shape, path)
    if not len(conditions):
        raise MissingInputError(
            str(path), "there are neither DESIGNINFO nor events of the participant in the BIDS "
            "dataset: what was shown in its trials is not known",
            "copy DESIGNINFO beside it, or name the BIDS dataset as first argument",
        )
    stops = np.cumsum(lengths if lengths is not None else [len(conditions)])
    names = pd.DataFrame({"stimulus": conditions.astype(str)})
    starts = [0, *stops[:-1]]
    return [
        as_text(names.iloc[start:stop].reset_index(drop=True))
        for start, stop in zip(starts, stops, strict=True)
    ]


def _of_events(
    events: list[EventsOfRun], lengths: list[int] | None, shape: Shape, path: Path
) -> list[pd.DataFrame]:
    for tables in ([run.shown for run in events], [run.rows for run in events]):
        counts = [len(table) for table in tables]
        if counts == lengths or (lengths is None and sum(counts) == shape.n_trials):
            return tables
    counted = [len(run.shown) for run in events]
    raise InputError(
        str(path), f"trials per run: {lengths or shape.n_trials}, but the events of the dataset "
        f"have {counted} rows that show a stimulus",
        "choose the task and sessions that GLMsingle modelled with -t and --session-id, or name "
        "the folder of GLMsingle as first argument to use numbers of conditions",
    )


LAYOUT = Layout(
    "glmsingle", TITLE,
    "[sub-<label>/]TYPED_FITHRF_GLMDENOISE_RR.npy, .hdf5 or .mat (or types B, C)",
    recognise, read, needs_events=True,
)
