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
from bids_decoder.released.files import measure
from bids_decoder.released.grids import without_positions
from bids_decoder.released.people import collect_people, find_files, name_people
from bids_decoder.released.tables import as_text, check_length, find_label

TITLE = "Natural Object Dataset"
_RUN = re.compile(r"ses-(\w+?)_task-(\w+?)_run-(\w+?)_beta\.dscalar\.nii$")
_PERSON = (r"sub-([0-9A-Za-z]+)",)
_DEPTH = 6


def recognise(folder: Path) -> bool:
    """Return whether there are responses of runs of participants."""
    return name_people(_betas(folder), _PERSON, folder)


def read(folder: Path, events: Events) -> Released:
    """Read the names of stimuli and the shapes of the responses."""
    del events
    label_of = partial(find_label, patterns=_PERSON, root=folder)
    return collect_people(_betas(folder), label_of, _person)


def _betas(folder: Path) -> list[Path]:
    found = find_files(folder, "ses-*_beta.dscalar.nii", _DEPTH)
    return [path for path in found if _RUN.match(path.name)]


def _person(label: str, paths: list[Path]) -> tuple[ReleasedPerson, str]:
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
        responses = replace(own, columns=first.columns, grid=first.grid)
        runs.append(ReleasedRun(session, task, run, table, responses, TITLE))
    return ReleasedPerson(label, tuple(runs)), "grayordinates have no positions"


LAYOUT = Layout(
    "nod", TITLE, "sub-XX/**/ses-*_task-*_run-*_beta.dscalar.nii with _label.txt", recognise, read,
)
