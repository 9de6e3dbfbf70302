"""Volumes of beta series that hold no value although their trials are used."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd

from bids_decoder.agreement import check_values
from bids_decoder.bids.dataset import BoldRun, Participant
from bids_decoder.bids.events import TrialBuild
from bids_decoder.bids.image_checks import UNREADABLE
from bids_decoder.bids.images import read_first_volumes, read_header
from bids_decoder.bids.series import is_volume
from bids_decoder.errors import BidsDecoderError, Finding, InputError

_N_PACKED = 5


def check_empty_volumes(
    build: TrialBuild, participants: Sequence[Participant]
) -> Iterator[Finding]:
    """Find used trials of beta series whose volume has no finite value.

    Parameters
    ----------
    build : TrialBuild
    participants : sequence of Participant

    Yields
    ------
    Finding
        Of compressed files only about the first volumes: the others are found when responses are
        read, before anything is fitted.
    """
    for person in participants:
        table = build.tables.get(person.label)
        for run in person.runs if table is not None else ():
            if run.source == "betas" and run.released is None and is_volume(run.image_file):
                yield from _check_run(run, table[table["run_group"] == run.run_group])


def _check_run(run: BoldRun, trials: pd.DataFrame) -> Iterator[Finding]:
    path = run.image_file
    used = trials.loc[~trials["excluded"].astype(bool), "trial"].to_numpy(dtype=int)
    try:
        empty = _find_packed(path, used) if path.suffix == ".gz" else _find(path, used)
    except (BidsDecoderError, *UNREADABLE):
        # Reported by check_run.
        return
    try:
        check_values(path, empty)
    except InputError as error:
        yield replace(error.finding, participant=run.subject, place=str(path))


def _find_packed(path: Path, numbers: np.ndarray) -> list[int]:
    has_value = np.isfinite(read_first_volumes(path, _N_PACKED)).any(axis=0)
    return [int(n) for n in numbers if n <= len(has_value) and not has_value[n - 1]]


def _find(path: Path, numbers: np.ndarray) -> list[int]:
    header = read_header(path)
    if len(header.shape) != 4:
        return []
    values, middle = nib.load(path).dataobj, header.shape[2] // 2
    # A plane is read first: nearly every volume has a value in it.
    return [
        int(n) for n in numbers if n <= header.n_volumes
        and not np.isfinite(values[:, :, middle, n - 1]).any()
        and not np.isfinite(values[..., n - 1]).any()
    ]
