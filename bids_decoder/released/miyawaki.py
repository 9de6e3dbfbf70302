"""Visual image reconstruction (Miyawaki et al. 2008), as ``fetch_miyawaki2008`` of nilearn has it.

``func/data_random_run01.nii.gz`` to ``20`` and ``func/data_figure_run01.nii.gz`` to ``12`` are BOLD
time series of one participant, ``label/data_<kind>_run<number>_label.csv`` the 10 × 10 pixels that
were shown in each volume (:mod:`bids_decoder.pixels`), and ``mask/mask.nii.gz`` is the mask of
visual cortex. Other masks in the folder are those of regions (``--regions``).

A trial is a picture without a break. Its response is the mean over as many volumes as it was shown,
two volumes (4 s) later; the linear trend of each run is removed before. Random pictures are
``train`` and figures ``test`` in the column ``split``, and are sessions of these names. Equal
pictures are one stimulus.

References
----------
Files: ``nilearn/datasets/func.py``; shift and trend:
``examples/02_decoding/plot_miyawaki_reconstruction.py``, both in https://github.com/nilearn/nilearn.
Miyawaki et al. 2008, Neuron 60:915.
"""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pandas as pd

from bids_decoder.errors import InputError, MissingInputError
from bids_decoder.pixels import PixelTrials, read_pixel_trials
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
from bids_decoder.released.grids import read_mask
from bids_decoder.released.people import Mask, collect_people, find_files, on_one_grid
from bids_decoder.released.tables import as_text

TITLE = "Visual image reconstruction (Miyawaki et al. 2008)"
TASK = "viewing"
LABEL = "S1"
"""The participant that nilearn distributes."""

SHIFT = 2
"""Volumes by which responses come after the pictures."""

_SERIES = re.compile(r"data_(random|figure)_run(\d+)\.nii\.gz$")
_SPLIT = {"random": "train", "figure": "test"}
_DEPTH = 2


def recognise(folder: Path) -> bool:
    """Return whether there are time series of random pictures and figures."""
    return bool(_series(folder))


def read(folder: Path, events: Events) -> Released:
    """Read the pixels of all runs and the shapes of the time series."""
    del events
    released = collect_people(_series(folder), lambda path: LABEL, _person)
    labels = [path.parents[1] / "label" for path in _series(folder)[:1]]
    return replace(released, stimuli=next((place for place in labels if place.is_dir()), None))


def _series(folder: Path) -> list[Path]:
    found = find_files(folder, "data_*_run*.nii.gz", _DEPTH)
    return [path for path in found if _SERIES.match(path.name) and path.parent.name == "func"]


def _person(label: str, paths: list[Path]) -> tuple[ReleasedPerson, str]:
    found, name = on_one_grid([Stored(path, trials_last=True) for path in paths], _mask)
    names: dict[bytes, str] = {}
    runs = tuple(
        _run(path, responses, names) for path, responses in zip(paths, found, strict=True)
    )
    return ReleasedPerson(label, runs), f"voxels of {name}; responses {SHIFT} volumes later"


def _mask(path: Path, shape: Shape) -> Mask:
    del shape
    mask_file = path.parents[1] / "mask/mask.nii.gz"
    return *read_mask(mask_file), mask_file.name


def _run(path: Path, responses: Responses, names: dict[bytes, str]) -> ReleasedRun:
    table_file = path.parents[1] / "label" / path.name.replace(".nii.gz", "_label.csv")
    if not table_file.is_file():
        raise MissingInputError(
            str(table_file), "the pixels that were shown in a run are not there", "fetch the file",
        )
    trials = read_pixel_trials(table_file)
    _check_volumes(path, table_file, trials)
    kind, run = _SERIES.match(path.name).groups()
    stimuli = [
        names.setdefault(picture.tobytes(), f"{table_file.name}#{number}")
        for number, picture in enumerate(trials.pictures)
    ]
    table = as_text(pd.DataFrame({"stimulus": stimuli, "split": _SPLIT[kind]}))
    own = replace(responses, rows=trials.starts + SHIFT, n_volumes=trials.n_volumes)
    return ReleasedRun(kind, TASK, run, table, own, TITLE)


def _check_volumes(path: Path, table_file: Path, trials: PixelTrials) -> None:
    n_volumes = measure(Stored(path, trials_last=True)).n_trials
    if n_volumes != trials.n_rows:
        raise InputError(
            str(path), f"{n_volumes} volumes, but {table_file} has {trials.n_rows} rows",
            "fetch both files again",
        )
    if not len(trials.starts):
        raise InputError(
            str(table_file), "no picture was shown: all rows are -1", "fetch the file again",
        )
    if int((trials.starts + trials.n_volumes).max()) + SHIFT > n_volumes:
        raise InputError(
            str(table_file), f"fewer than {SHIFT} volumes follow the last picture, so that its "
            "response is not complete", "fetch the file again as it is released",
        )


LAYOUT = Layout(
    "miyawaki2008", TITLE, "func/data_random_run*.nii.gz and data_figure_run*.nii.gz with "
    "label/*_label.csv and mask/mask.nii.gz", recognise, read,
)
