"""Natural Scenes Dataset: betas of sessions, design, pictures and regions, as on its server.

``betas_sessionBB.nii.gz`` holds x × y × z × 750 trials, and ``betas_sessionBB.hdf5`` the same under
``/betas``, written by MATLAB, so that h5py sees the axes in reversed order. Whole numbers are per
cent signal change times 300. Where a participant has several preparations, 1.8 mm and
``betas_fithrf_GLMdenoise_RR`` are preferred.

``nsd_expdesign.mat`` says what was shown: trial *t* of all trials of participant *s* showed picture
``subjectim[s, masterordering[t]]`` of 73,000, counted from 1. A stimulus is named by its row in
``nsd_stimuli.hdf5/imgBrick``, from 0. The 1,000 pictures of ``sharedix`` that all participants were
to see are marked as test in the column ``split`` (``--split-column split``). A session has 12 runs,
of 63 trials (odd ones) and 62 (even ones). ``nsd_stim_info_merged.csv`` adds ``cocoId``.

``ncsnr.nii.gz`` beside the betas is the ratio of the standard deviations of signal and noise of
each voxel, estimated from all trials, those of test pictures included. It is written as a map of
the noise ceiling of single trials, and is used for nothing else.

Voxels are those above 0 in ``nsdgeneral.nii.gz`` of the participant, or else in
``brainmask.nii.gz``, or else all.

References
----------
NSD Data Manual, https://cvnlab.slite.page/p/CT9Fwl4_hc/NSD-Data-Manual: "Functional data (NSD)"
(files, type, factor), "Experiments" (design), "Behavioral data" (trials per run).
Allen et al. 2022, Nat Neurosci 25:116.
"""

from __future__ import annotations

import re
from dataclasses import replace
from functools import lru_cache, partial
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.io import loadmat

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
from bids_decoder.released.files import Shape, measure, reading
from bids_decoder.released.grids import read_map, read_mask
from bids_decoder.released.people import (
    Mask,
    collect_people,
    find_files,
    name_people,
    on_one_grid,
    whole_volume,
)
from bids_decoder.released.tables import find_label, read_table

TITLE = "Natural Scenes Dataset"

TRIALS = 750
"""Trials of a session."""

RUN_LENGTHS = (63, 62) * 6
SCALE = 300.0
TASK = "nsdcore"
N_PICTURES = 73_000

_BETAS = re.compile(r"betas_session(\d+)\.(nii\.gz|nii|hdf5)$")
_PERSON = (r"subj([0-9]+)",)
_VERSIONS = ("betas_fithrf_GLMdenoise_RR", "betas_fithrf", "betas_assumehrf")
_SPACES = ("func1pt8mm", "func1mm", "MNI")
_FORMATS = ("nii.gz", "nii", "hdf5")
_DEPTH = 6
_SESSION = "nsd"


def recognise(folder: Path) -> bool:
    """Return whether there are betas of sessions of participants named subjNN."""
    return name_people(_betas(folder), _PERSON, folder)


def read(folder: Path, events: Events) -> Released:
    """Read the design and the shapes of the betas."""
    del events
    label_of = partial(find_label, patterns=_PERSON, root=folder)
    released = collect_people(_betas(folder), label_of, partial(_person, folder=folder))
    gaps = [finding for person in released.people for finding in _gaps(person)]
    pictures = next(iter(find_files(folder, "nsd_stimuli.hdf5", _DEPTH)), None)
    return replace(
        released, findings=(*released.findings, *gaps),
        stimuli=None if pictures is None else pictures.parent,
    )


def _betas(folder: Path) -> list[Path]:
    found = find_files(folder, "betas_session*", _DEPTH)
    return [path for path in found if _BETAS.match(path.name)]


def _one_preparation(paths: list[Path]) -> dict[int, Path]:
    """Return one file per session, all of the preparation that is preferred."""
    folder = min({path.parent for path in paths}, key=lambda place: (
        _rank(place, _VERSIONS), _rank(place, _SPACES), str(place),
    ))
    sessions: dict[int, Path] = {}
    for path in sorted(paths, key=lambda p: _FORMATS.index(_BETAS.match(p.name)[2])):
        if path.parent == folder:
            sessions.setdefault(int(_BETAS.match(path.name)[1]), path)
    return dict(sorted(sessions.items()))


def _rank(place: Path, names: tuple[str, ...]) -> int:
    return next((n for n, name in enumerate(names) if name in place.parts), len(names))


def _gaps(person: ReleasedPerson) -> list[Finding]:
    there = {int(run.session.removeprefix(_SESSION)) for run in person.runs}
    absent = sorted(set(range(1, max(there) + 1)) - there)
    return [Finding(
        f"sub-{person.label}: sessions",
        f"betas of sessions {', '.join(map(str, absent))} are not there",
        "they are left out; fetch them if they are wanted", severity="warning",
        participant=person.label,
    )] if absent else []


def _person(label: str, paths: list[Path], folder: Path) -> tuple[ReleasedPerson, str]:
    pictures = _pictures_of(int(label), folder)
    shared = _design(folder)[2]
    coco = _coco_ids(folder)
    sessions = _one_preparation(paths)
    parts = [_stored(path) for path in sessions.values()]
    found, name = on_one_grid(parts, partial(_mask, label, folder))
    ncsnr = _ncsnr(next(iter(sessions.values())).parent, found[0])
    runs: list[ReleasedRun] = []
    for (session, path), responses in zip(sessions.items(), found, strict=True):
        shown = pictures[(session - 1) * TRIALS:session * TRIALS]
        if len(shown) < TRIALS:
            raise InputError(
                str(path), f"the design has {len(pictures)} trials, session {session} is behind "
                "them", "fetch nsd_expdesign.mat again",
            )
        table = _table(shown, shared, coco)
        runs += _runs(session, table, responses, ncsnr)
    place = next(iter(sessions.values())).parent.name
    return ReleasedPerson(label, tuple(runs)), f"{place}, voxels of {Path(name).name}"


def _stored(path: Path) -> Stored:
    if path.suffix == ".hdf5":
        stored = Stored(path, "betas", is_reversed=True)
    else:
        stored = Stored(path, trials_last=True)
    shape = measure(stored)
    if shape.n_trials != TRIALS or len(shape.space) != 3:
        raise InputError(
            str(stored), f"{shape.space} voxels × {shape.n_trials} trials; a session has "
            f"{TRIALS} trials of volumes", "fetch the file again as it is released",
        )
    return replace(stored, scale=SCALE if shape.dtype.kind in "ui" else 1.0)


def _ncsnr(place: Path, responses: Responses) -> Path | None:
    """Return the map of the noise ceiling signal-to-noise ratio beside the betas, if it is there.

    Raises
    ------
    InputError
        When it is damaged or on another grid.
    """
    path = place / "ncsnr.nii.gz"
    if not path.is_file():
        return None
    shape = read_map(path).shape
    if shape != responses.grid.mask.shape:
        raise InputError(
            str(path), f"{shape} voxels, the betas beside it {responses.grid.mask.shape}",
            "fetch the file again, or take it out of the folder",
        )
    return path


def _runs(
    session: int, table: pd.DataFrame, responses: Responses, ncsnr: Path | None
) -> list[ReleasedRun]:
    stops = np.cumsum(RUN_LENGTHS)
    return [
        ReleasedRun(
            f"{_SESSION}{session:02d}", TASK, f"{number:02d}",
            table.iloc[stop - length:stop].reset_index(drop=True),
            replace(responses, rows=np.arange(stop - length, stop)), TITLE, ncsnr,
        )
        for number, (stop, length) in enumerate(zip(stops, RUN_LENGTHS, strict=True), start=1)
    ]


def _table(shown: np.ndarray, shared: np.ndarray, coco: dict[str, str]) -> pd.DataFrame:
    is_shared = np.isin(shown, shared)
    table = pd.DataFrame({
        "stimulus": [str(picture) for picture in shown.tolist()],
        "split": np.where(is_shared, "test", "train").tolist(),
    }, dtype=object)
    return table.assign(cocoId=[coco[name] for name in table["stimulus"]]) if coco else table


def _pictures_of(subject: int, folder: Path) -> np.ndarray:
    """Return the picture of each trial of a participant, from 0."""
    ordering, pictures, _ = _design(folder)
    if not 1 <= subject <= len(pictures):
        raise InputError(
            f"subj{subject:02d}", f"nsd_expdesign.mat has {len(pictures)} participants",
            "name folders of participants as NSD does: subj01 to subj08",
        )
    return pictures[subject - 1][ordering]


def _design(folder: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return order of pictures, pictures of each participant, and shared ones, all from 0."""
    files = find_files(folder, "nsd_expdesign.mat", _DEPTH)
    if not files:
        raise MissingInputError(
            f"{folder}/**/nsd_expdesign.mat", "what was shown in the trials is not known without",
            "fetch nsddata/experiments/nsd/nsd_expdesign.mat",
        )
    return _read_design(files[0], files[0].stat().st_mtime_ns)


@lru_cache(maxsize=4)
def _read_design(path: Path, _changed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    names = ["masterordering", "subjectim", "sharedix"]
    with reading(path):
        content = loadmat(path, variable_names=names)
        ordering, pictures, shared = (np.asarray(content[name]).astype(int) - 1 for name in names)
    ordering, shared = ordering.ravel(), shared.ravel()
    if pictures.ndim != 2 or ordering.max() >= pictures.shape[1] or pictures.max() >= N_PICTURES:
        raise InputError(
            str(path), f"masterordering up to {ordering.max() + 1}, subjectim of shape "
            f"{pictures.shape} up to {pictures.max() + 1} do not fit together", "fetch it again",
        )
    return ordering, pictures, shared


def _coco_ids(folder: Path) -> dict[str, str]:
    files = find_files(folder, "nsd_stim_info_merged.csv", _DEPTH)
    if not files:
        return {}
    table = read_table(files[0])
    if not {"nsdId", "cocoId"} <= set(table):
        raise InputError(
            str(files[0]), f"has no columns nsdId and cocoId; columns: {', '.join(table)[:200]}",
            "fetch nsddata/experiments/nsd/nsd_stim_info_merged.csv again",
        )
    found = dict(zip(table["nsdId"], table["cocoId"], strict=True))
    if len(found) < N_PICTURES:
        raise InputError(
            str(files[0]), f"{len(found)} pictures of {N_PICTURES}: it is cut off",
            "fetch it again",
        )
    return found


def _mask(label: str, folder: Path, path: Path, shape: Shape) -> Mask:
    """Return the mask of a participant in the space of the betas, and its name."""
    space = next((name for name in _SPACES if name in path.parts), None)
    for name in ("nsdgeneral.nii.gz", "brainmask.nii.gz"):
        for mask_file in find_files(folder, name, _DEPTH):
            own = find_label(mask_file, _PERSON, folder) == label
            other = {part for part in mask_file.parts if part in _SPACES} - {space}
            if own and not other:
                return *read_mask(mask_file), str(mask_file)
    if path.suffix == ".hdf5":
        raise MissingInputError(
            str(path), "neither nsdgeneral.nii.gz nor brainmask.nii.gz of the participant is "
            "there, one of which gives the positions of its voxels",
            f"fetch nsddata/ppdata/subj{label}/func1pt8mm/roi/nsdgeneral.nii.gz",
        )
    return whole_volume(path, shape)


LAYOUT = Layout(
    "nsd", TITLE, "subjNN/**/betas_sessionNN.nii.gz or .hdf5 with nsd_expdesign.mat",
    recognise, read,
)
