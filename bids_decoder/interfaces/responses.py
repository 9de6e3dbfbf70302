"""Join the single-trial responses of a participant: one memory map, one table, one mask."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pandas as pd
from nipype.interfaces.base import (
    BaseInterfaceInputSpec,
    Directory,
    File,
    SimpleInterface,
    TraitedSpec,
    isdefined,
    traits,
)

from bids_decoder.agreement import (
    check_mask,
    check_one_grid,
    check_rows,
    check_same_grid,
    check_values,
)
from bids_decoder.bids.names import parse_entities
from bids_decoder.bids.writer import read_table, save_nifti, save_table
from bids_decoder.errors import InputError
from bids_decoder.evaluation.folds import resolve_fold
from bids_decoder.files import read_json, write_json
from bids_decoder.glm.normalise import zscore_betas
from bids_decoder.interfaces.arrays import new_array
from bids_decoder.interfaces.response_grids import MASK, read_grid, save_layout
from bids_decoder.interfaces.trial_confounds import NO_FILES, ConfoundFiles, collect_confounds
from bids_decoder.training.confounds import confound_design, remove_confounds
from bids_decoder.trials import (
    KINDS,
    MEAN_SIGNAL,
    TRIAL_ORDER,
    Person,
    Targets,
    VoxelGrid,
)

ARRAY, TABLE, SPACE = "betas.npy", "trials.tsv", "space.json"
CONFOUNDS, REMOVED = "confounds.tsv", "removed.json"

_VALUES = 1 << 25
"""Numbers of a beta series that are read at a time."""

OWN_SPACES = ("", "func", "boldref", "T1w", "T2w", "anat", "orig", "individual", "scanner",
              "fsnative")
"""Values of the space entity with coordinates of the participant's own brain."""


def read_trials(path: Path) -> pd.DataFrame:
    """Read a trial table with numbers as numbers and everything else as text."""
    table = read_table(path)
    table["excluded"] = table["excluded"] == "True"
    table["trial"] = table["trial"].astype(int)
    table["fold"] = pd.to_numeric(table["fold"]).astype("Int64")
    return table


def collect_responses(
    betas_files: list[Path], trials_files: list[Path], mask_files: list[Path], folder: Path,
    confounds: ConfoundFiles = NO_FILES,
) -> Path:
    """Join the runs of one participant.

    Parameters
    ----------
    betas_files, trials_files : list of Path
        One each per run, in the same order.
    mask_files : list of Path
        Images on the same grid; a voxel must be in all of them. Without masks, all voxels that
        are finite and vary over trials are used.
    folder : Path
        Gets ``betas.npy`` (n_trials, n_voxels), ``trials.tsv``, ``confounds.tsv`` with the
        same rows, ``mask.nii.gz``, ``space.json`` and ``removed.json``; excluded trials are left
        out.
    confounds : ConfoundFiles

    Returns
    -------
    Path
        *folder*.

    Raises
    ------
    InputError
        When rows and volumes differ in number, or grids differ.
    """
    tables = [read_trials(path) for path in trials_files]
    images = [nib.load(path) for path in betas_files]
    for path, image, table in zip(betas_files, images, tables, strict=True):
        check_rows(path, image.shape[3] if image.ndim > 3 else 1, len(table))
    check_one_grid(
        "beta series", [path.name for path in betas_files],
        [(image.shape, image.affine) for image in images],
    )
    kept = [np.flatnonzero(~table["excluded"].to_numpy()) for table in tables]
    mask = _common_mask(betas_files, kept, [_read_mask(path, images[0]) for path in mask_files])
    array = new_array(folder / ARRAY, (sum(map(len, kept)), int(mask.sum())))
    row = 0
    for volumes in _volumes(betas_files, kept):
        array[row:row + volumes.shape[3]] = volumes[mask].T
        row += volumes.shape[3]
    array.flush()
    joined = pd.concat(tables, ignore_index=True)
    used = ~joined["excluded"].to_numpy()
    save_table(folder / TABLE, joined[used])
    values = collect_confounds(tables, confounds)[used]
    save_table(folder / CONFOUNDS, values.assign(**{MEAN_SIGNAL: array.mean(axis=1)}))
    write_json(folder / REMOVED, list(confounds.removed))
    save_nifti(folder / MASK, mask, images[0].affine)
    write_json(folder / SPACE, {"space": shared_space(parse_entities(betas_files[0]))})
    return folder


def shared_space(entities: Mapping[str, str]) -> str:
    """Return the standard space of a file; empty for the participant's own space.

    Parameters
    ----------
    entities : mapping of str to str
        Of its name.
    """
    space = entities.get("space", "")
    # Templates of different cohorts are different spaces under one name.
    cohort = f":cohort-{entities['cohort']}" if "cohort" in entities else ""
    return "" if space in OWN_SPACES else f"{space}{cohort}"


def _volumes(files: list[Path], kept: list[np.ndarray]) -> Iterator[np.ndarray]:
    """Yield a few volumes of beta series at a time, (i, j, k, n); *kept* are their numbers."""
    for path, numbers in zip(files, kept, strict=True):
        # Left open, a compressed file is unpacked once, whatever the number of blocks.
        image = nib.load(path, keep_file_open=True)
        grid, n_volumes = image.shape[:3], image.shape[3] if image.ndim > 3 else 1
        block = max(1, _VALUES // math.prod(grid))
        for start in range(0, n_volumes, block):
            rows = numbers[(numbers >= start) & (numbers < start + block)] - start
            if len(rows):
                part = image.dataobj[..., start:start + block] if image.ndim > 3 else image.dataobj
                yield np.asarray(part, dtype=np.float32).reshape(*grid, -1)[..., rows]


def _common_mask(
    files: list[Path], kept: list[np.ndarray], masks: list[np.ndarray]
) -> np.ndarray:
    grid = nib.load(files[0]).shape[:3]
    mask = np.ones(grid, dtype=bool)
    for one in masks:
        mask &= one.reshape(grid)
    low, high = np.full(grid, np.inf), np.full(grid, -np.inf)
    for volumes in _volumes(files, kept):
        mask &= np.isfinite(volumes).all(axis=-1)
        low = np.minimum(low, volumes.min(axis=-1))
        high = np.maximum(high, volumes.max(axis=-1))
    mask &= high > low
    if not mask.any():
        for path, numbers in zip(files, kept, strict=True):
            has_value = np.concatenate([
                np.isfinite(volumes).any(axis=(0, 1, 2)) for volumes in _volumes([path], [numbers])
            ] or [np.ones(0, dtype=bool)])
            check_values(path, (numbers[~has_value] + 1).tolist())
        raise InputError("beta series", "no voxel is finite and varies over trials",
                         "look at the beta series and the mask")
    return mask


def _read_mask(path: Path, betas: nib.Nifti1Image) -> np.ndarray:
    """Read a mask that must be on the grid of the beta series."""
    image = nib.load(path)
    check_same_grid(path, (image.shape, image.affine), (betas.shape, betas.affine))
    mask = np.asarray(image.dataobj) > 0
    check_mask(path, mask)
    return mask


def load_person(
    folder: Path, label: str, targets: Targets, *, fold: int | None, normalise: str
) -> tuple[Person, Person]:
    """Load the training and the test trials of one participant.

    Parameters
    ----------
    folder : Path
        Folder written by :func:`collect_responses`.
    label : str
    targets : Targets
    fold : int or None
        Fold that is test; None for a fixed split, or to train on all cross-validated trials.
    normalise : {"session", "run"}
        Unit of the z-score; its statistics come from training trials only.

    Returns
    -------
    train, test : Person
        Confounds that the call removes are regressed out, with weights of the training trials.
    """
    trials = resolve_fold(read_trials(folder / TABLE), fold)
    return load_sides(folder, label, trials, targets, normalise)


def load_sides(
    folder: Path, label: str, trials: pd.DataFrame, targets: Targets, normalise: str
) -> tuple[Person, Person]:
    """Load the trials of one participant that are marked as training or test trials.

    Parameters
    ----------
    folder : Path
        Folder written by :func:`collect_responses`.
    label : str
    trials : DataFrame, n_trials rows
        Table of that folder, all rows; those whose ``split`` is neither train nor test are not
        used.
    targets : Targets
    normalise : {"session", "run"}

    Returns
    -------
    train, test : Person
        As of :func:`load_person`.
    """
    # Training trials first: both sides are then parts of one array, which needs no second copy.
    sides = [np.flatnonzero(trials["split"] == side) for side in ("train", "test")]
    rows, n_train = np.concatenate(sides), len(sides[0])
    trials = trials.iloc[rows].reset_index(drop=True)
    grid = read_grid(folder)
    scaled = scale_responses(folder, trials, normalise, rows)
    space, numbers = read_json(folder / SPACE)["space"], _rows(trials, targets)
    train, test = (
        Person(label, grid, scaled[own], trials[own].reset_index(drop=True), numbers[own], space)
        for own in (slice(n_train), slice(n_train, None))
    )
    return train, test


def scale_responses(
    folder: Path, trials: pd.DataFrame, normalise: str, rows: np.ndarray
) -> np.ndarray:
    """Return responses z-scored and without confounds, by statistics of the training trials.

    Parameters
    ----------
    folder : Path
        Folder written by :func:`collect_responses`.
    trials : DataFrame, n_trials rows
        Those of its table that are used, in any order.
    normalise : {"session", "run"}
    rows : ndarray of int, shape (n_trials,)
        Row of each of them in the table.

    Returns
    -------
    ndarray of float32, shape (n_trials, n_voxels)
    """
    betas, groups = np.load(folder / ARRAY, mmap_mode="r"), groups_of(trials, normalise)
    train = (trials["split"] == "train").to_numpy()
    scaled, _ = zscore_betas(betas, groups, train, rows)
    removed = read_json(folder / REMOVED)
    if removed:
        confounds = read_confound_values(folder).iloc[rows].reset_index(drop=True)
        design = np.hstack([confound_design(confounds[name], groups, train) for name in removed])
        remove_confounds(scaled, design, train, out=scaled)
    return scaled


def confound_as_responses(
    values: pd.Series, trials: pd.DataFrame, label: str, targets: Targets, *, fold: int | None,
    normalise: str,
) -> tuple[Person, Person]:
    """Put one confound in the place of the responses.

    Parameters
    ----------
    values : Series, n_trials rows
        Column of :func:`read_confound_values`.
    trials : DataFrame, n_trials rows
        Trial table of :func:`collect_responses`.
    label : str
    targets : Targets
    fold, normalise
        As in :func:`load_person`.

    Returns
    -------
    train, test : Person
        ``betas`` are the regressors of :func:`~bids_decoder.training.confounds.confound_design`.
    """
    trials = resolve_fold(trials, fold)
    train = (trials["split"] == "train").to_numpy()
    design = confound_design(values, groups_of(trials, normalise), train)
    grid = VoxelGrid(np.ones((design.shape[1], 1, 1), dtype=bool), np.eye(4))
    person = Person(label, grid, design, trials, _rows(trials, targets))
    split = trials["split"].to_numpy()
    return person.subset(split == "train"), person.subset(split == "test")


def read_confound_values(folder: Path) -> pd.DataFrame:
    """Read all confounds of trials by name, as text.

    Parameters
    ----------
    folder : Path
        Folder written by :func:`collect_responses`.

    Returns
    -------
    DataFrame, n_trials rows
        Columns of events files, framewise displacement and mean signal; columns of the trial
        table that have other names; and the position of trials in their run.
    """
    trials, values = read_table(folder / TABLE), read_table(folder / CONFOUNDS)
    values = values.drop(columns=["run_group", "trial"])
    own = trials[[name for name in trials if name not in values]]
    return pd.concat([values, own], axis=1).assign(**{TRIAL_ORDER: trials["trial"]})


def groups_of(trials: pd.DataFrame, normalise: str) -> np.ndarray:
    """Return the session or run of each trial, within which values are z-scored."""
    column = "run_group" if normalise == "run" else "session"
    return trials[column].fillna("none").to_numpy(dtype=str)


def _rows(trials: pd.DataFrame, targets: Targets) -> np.ndarray:
    names = trials[KINDS[targets.kind].column].to_numpy(dtype=str)
    return targets.rows_of(names)


class ResponsesInputSpec(BaseInterfaceInputSpec):
    """Inputs of nodes that read the responses of one participant and fit no decoder."""

    # Nipype hashes only the path of a folder; the key changes when its content does.
    key = traits.Str(desc="key of the stage")
    targets_file = File(exists=True, mandatory=True)
    folder = Directory(exists=True, mandatory=True, desc="of CollectResponses")
    participant = traits.Str(mandatory=True)
    normalise = traits.Enum("session", "run", usedefault=True, desc="unit of the z-score")


class _CollectInputSpec(BaseInterfaceInputSpec):
    # Paths as text: the files may be made by the same call, before this node runs.
    betas_files = traits.List(traits.Str(), mandatory=True, desc="one per run")
    trials_files = traits.List(traits.Str(), mandatory=True, desc="one per run")
    mask_files = traits.List(File(exists=True), desc="voxels must be in all of them")
    mesh_files = traits.List(File(exists=True), desc="surfaces: left, then right; may be empty")
    series_file = File(exists=True, desc="CIFTI file whose rows the responses have")
    events_confounds = traits.Str(desc="planned table of confounds in events files")
    motion_files = traits.List(traits.Str(), desc="confounds tables, one per run; may be empty")
    t_r = traits.List(traits.Float, desc="repetition times of the runs in motion_files")
    removed = traits.List(traits.Str(), desc="confounds that are regressed out in each fold")
    key = traits.Str(desc="key of the betas stage: what the files hold")
    after = traits.Any(desc="marker of the stage before; only for the order of nodes")


class _CollectOutputSpec(TraitedSpec):
    folder = Directory(exists=True, desc="betas.npy, trials.tsv, mask.nii.gz")


class CollectResponses(SimpleInterface):
    """Join the beta series of one participant into one memory-mapped array."""

    input_spec = _CollectInputSpec
    output_spec = _CollectOutputSpec

    def _run_interface(self, runtime: Any) -> Any:
        collect_responses(
            [Path(f) for f in self.inputs.betas_files], [Path(f) for f in self.inputs.trials_files],
            [Path(f) for f in self.inputs.mask_files or []], Path(runtime.cwd),
            self._confounds(),
        )
        series = self.inputs.series_file
        save_layout(
            Path(runtime.cwd), [Path(f) for f in self.inputs.mesh_files or []],
            Path(series) if isdefined(series) else None,
        )
        self._results["folder"] = runtime.cwd
        return runtime

    def _confounds(self) -> ConfoundFiles:
        inputs = self.inputs
        return ConfoundFiles(
            Path(inputs.events_confounds) if inputs.events_confounds else None,
            [Path(f) if f else None for f in inputs.motion_files or []],
            inputs.t_r or [], tuple(inputs.removed or []),
        )
