"""Natural Object Dataset: single-trial responses on the surface, in grayordinates.

``derivatives/ciftify/sub-XX/results/<run>/<run>_beta.dscalar.nii`` with a run like
``ses-imagenet01_task-imagenet_run-1`` is a CIFTI image of trials × grayordinates, and
``<run>_label.txt`` names the stimulus of each trial, one per line. The first 59,412 grayordinates
are those of cortex; all that a file has are read. They have no positions in a volume.

References
----------
Format: ``validation/nod_utils.py`` in https://github.com/BNUCNL/NOD-fmri; data: OpenNeuro ds004496.
Gong et al. 2023, Sci Data 10:559.
"""

from __future__ import annotations

import re
from collections import defaultdict
from functools import partial
from pathlib import Path

import pandas as pd

from bids_decoder.errors import Finding, InputError, MissingInputError
from bids_decoder.released.base import (
    Events,
    Layout,
    Released,
    ReleasedPerson,
    ReleasedRun,
    Responses,
    Stored,
)
from bids_decoder.released.files import collect, measure
from bids_decoder.released.grids import without_positions
from bids_decoder.released.tables import as_text, check_length, find_label

TITLE = "Natural Object Dataset"
_RUN = re.compile(r"ses-(\w+?)_task-(\w+?)_run-(\w+?)_beta\.dscalar\.nii$")
_PERSON = (r"sub-([0-9A-Za-z]+)",)
_DEPTH = 6


def recognise(folder: Path) -> bool:
    """Return whether there are responses of runs of participants."""
    return any(find_label(path, _PERSON, folder) for path in _betas(folder))


def read(folder: Path, events: Events) -> Released:
    """Read the names of stimuli and the shapes of the responses."""
    del events
    findings: list[Finding] = []
    people = []
    by_person: dict[str, list[Path]] = defaultdict(list)
    for path in _betas(folder):
        by_person[find_label(path, _PERSON, folder) or "none"].append(path)
    for label, paths in sorted(by_person.items()):
        person = collect(partial(_person, label, paths), findings, label)
        people += [person] if person is not None else []
    return Released(tuple(people), tuple(findings), ("grayordinates have no positions",))


def _betas(folder: Path) -> list[Path]:
    found = [
        path for depth in range(_DEPTH + 1)
        for path in folder.glob("*/" * depth + "ses-*_beta.dscalar.nii")
    ]
    return sorted(path for path in found if _RUN.match(path.name))


def _person(label: str, paths: list[Path]) -> ReleasedPerson:
    runs: list[ReleasedRun] = []
    first: Responses | None = None
    for path in paths:
        stored = Stored(path)
        shape = measure(stored)
        names = path.with_name(path.name.replace("_beta.dscalar.nii", "_label.txt"))
        if not names.is_file():
            raise MissingInputError(
                str(names), "the names of the stimuli of a run are not there", "fetch the file",
            )
        lines = [line.strip() for line in names.read_text(encoding="utf-8").splitlines()]
        table = as_text(pd.DataFrame({"stimulus": [line for line in lines if line]}))
        check_length(table, shape, str(names), str(stored))
        own = without_positions((stored,), shape)
        if first is not None and len(own.columns) != len(first.columns):
            raise InputError(
                str(path), f"{len(own.columns)} grayordinates; other runs of the participant have "
                f"{len(first.columns)}", "fetch the file again",
            )
        first = first or own
        session, task, run = _RUN.match(path.name).groups()
        responses = Responses((stored,), own.rows, first.columns, first.grid)
        runs.append(ReleasedRun(session, task, run, table, responses, TITLE))
    return ReleasedPerson(label, tuple(runs))


LAYOUT = Layout(
    "nod", TITLE, "sub-XX/**/ses-*_task-*_run-*_beta.dscalar.nii with _label.txt", recognise, read,
)
