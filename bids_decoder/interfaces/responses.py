"""Join the single-trial responses of a participant: one memory map, one table, one mask."""

from __future__ import annotations

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
    traits,
)

from bids_decoder.agreement import check_mask, check_one_grid, check_rows, check_same_grid
from bids_decoder.bids.names import parse_entities
from bids_decoder.bids.writer import read_table, save_nifti, save_table
from bids_decoder.errors import InputError
from bids_decoder.evaluation.folds import resolve_fold
from bids_decoder.files import read_json, write_json
from bids_decoder.glm.normalise import zscore_betas
from bids_decoder.interfaces.arrays import new_array
from bids_decoder.trials import Person, Targets, VoxelGrid

ARRAY, TABLE, MASK, SPACE = "betas.npy", "trials.tsv", "mask.nii.gz", "space.json"

OWN_SPACES = ("", "func", "boldref", "T1w", "T2w", "anat", "orig", "individual", "scanner")
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
        Gets ``betas.npy`` (n_trials, n_voxels), ``trials.tsv``, ``mask.nii.gz`` and
        ``space.json``; excluded trials are left out.

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
    mask = _common_mask(images, tables, mask_files)
    n_trials = sum(int((~table["excluded"]).sum()) for table in tables)
    array = new_array(folder / ARRAY, (n_trials, int(mask.sum())))
    row = 0
    for image, table in zip(images, tables, strict=True):
        kept = np.flatnonzero(~table["excluded"].to_numpy())
        array[row:row + len(kept)] = _volumes(image)[mask][:, kept].T
        row += len(kept)
    array.flush()
    joined = pd.concat(tables, ignore_index=True)
    save_table(folder / TABLE, joined[~joined["excluded"]])
    save_nifti(folder / MASK, mask, images[0].affine)
    write_json(folder / SPACE, {"space": _shared_space(betas_files[0])})
    return folder


def _shared_space(path: Path) -> str:
    """Return the standard space of a file; empty for the participant's own space."""
    space = parse_entities(path).get("space", "")
    return "" if space in OWN_SPACES else space


def _volumes(image: nib.Nifti1Image) -> np.ndarray:
    return np.asarray(image.dataobj, dtype=np.float32).reshape(*image.shape[:3], -1)


def _common_mask(
    images: list[nib.Nifti1Image], tables: list[pd.DataFrame], mask_files: list[Path]
) -> np.ndarray:
    mask = np.ones(images[0].shape[:3], dtype=bool)
    for path in mask_files:
        mask &= _read_mask(path, images[0]).reshape(mask.shape)
    low, high = np.full(mask.shape, np.inf), np.full(mask.shape, -np.inf)
    for image, table in zip(images, tables, strict=True):
        kept = np.flatnonzero(~table["excluded"].to_numpy())
        if not len(kept):
            continue
        volumes = _volumes(image)[..., kept]
        mask &= np.isfinite(volumes).all(axis=-1)
        low = np.minimum(low, volumes.min(axis=-1))
        high = np.maximum(high, volumes.max(axis=-1))
    mask &= high > low
    if not mask.any():
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
    """
    trials = read_trials(folder / TABLE)
    trials = resolve_fold(trials, fold)
    mask_image = nib.load(folder / MASK)
    grid = VoxelGrid(np.asarray(mask_image.dataobj) > 0, mask_image.affine)
    train = (trials["split"] == "train").to_numpy()
    betas = np.load(folder / ARRAY, mmap_mode="r")
    column = "run_group" if normalise == "run" else "session"
    groups = trials[column].fillna("none").to_numpy(dtype=str)
    scaled, _ = zscore_betas(betas, groups, train)
    names = trials["label" if targets.kind == "category" else "stimulus"].to_numpy(dtype=str)
    space = read_json(folder / SPACE)["space"]
    person = Person(label, grid, scaled, trials, targets.rows_of(names), space)
    return person.subset(train), person.subset((trials["split"] == "test").to_numpy())


class _CollectInputSpec(BaseInterfaceInputSpec):
    # Paths as text: the files may be made by the same call, before this node runs.
    betas_files = traits.List(traits.Str(), mandatory=True, desc="one per run")
    trials_files = traits.List(traits.Str(), mandatory=True, desc="one per run")
    mask_files = traits.List(File(exists=True), desc="voxels must be in all of them")
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
        )
        self._results["folder"] = runtime.cwd
        return runtime
