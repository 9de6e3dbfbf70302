"""LAION-fMRI: single-trial responses of sessions as BIDS derivatives.

``derivatives/glmsingle-tedana/sub-XX/ses-YY/func/sub-XX_ses-YY_task-images_space-T1w_stat-effect_
desc-SingletrialBetas_statmap.nii.gz`` holds x × y × z × trials, and
``sub-XX_ses-YY_task-images_desc-SingletrialBetas_trials.tsv`` a row per volume: ``run``,
``beta_index``, and ``label``, the file name of the picture. Voxels are those of
``sub-XX_task-images_space-T1w_desc-meanR2gt15mask_mask.nii.gz``, or those above 15 in
``sub-XX_task-images_space-T1w_stat-rsquare_desc-R2mean_statmap.nii.gz``, or all.

References
----------
Format: ``laion_fmri/_paths.py`` and the documentation of the package in
https://github.com/ViCCo-Group/LAION-fMRI.
"""

from __future__ import annotations

import re
from dataclasses import replace
from functools import partial
from pathlib import Path

import nibabel as nib
import numpy as np

from bids_decoder.errors import InputError
from bids_decoder.released.base import (
    Events,
    Layout,
    Released,
    ReleasedPerson,
    ReleasedRun,
    Stored,
)
from bids_decoder.released.files import Shape, measure, reading
from bids_decoder.released.grids import read_mask
from bids_decoder.released.people import (
    Mask,
    collect_people,
    find_files,
    on_one_grid,
    whole_volume,
)
from bids_decoder.released.tables import check_length, read_table, split_runs

TITLE = "LAION-fMRI"
TASK = "images"
LEAST_R2 = 15.0
"""Per cent of variance explained, in the mean over sessions, above which voxels are used."""

_BETAS = re.compile(r"sub-(\w+?)_ses-(\w+?)_task-images_space-T1w_stat-effect_"
                    r"desc-SingletrialBetas_statmap\.nii\.gz$")
_ENDING = "_space-T1w_stat-effect_desc-SingletrialBetas_statmap.nii.gz"
_DEPTH = 6


def recognise(folder: Path) -> bool:
    """Return whether there are betas of sessions."""
    return bool(_betas(folder))


def read(folder: Path, events: Events) -> Released:
    """Read the tables of trials and the shapes of the betas."""
    del events
    released = collect_people(
        _betas(folder), lambda path: _BETAS.match(path.name)[1], _person
    )
    pictures = folder / "stimuli"
    return replace(released, stimuli=pictures if pictures.is_dir() else None)


def _betas(folder: Path) -> list[Path]:
    found = find_files(folder, f"sub-*{_ENDING}", _DEPTH)
    return [path for path in found if _BETAS.match(path.name)]


def _person(label: str, paths: list[Path]) -> tuple[ReleasedPerson, str]:
    runs: list[ReleasedRun] = []
    parts = [Stored(path, trials_last=True) for path in paths]
    found, name = on_one_grid(parts, partial(_mask, label))
    for path, responses in zip(paths, found, strict=True):
        table_file = path.with_name(
            path.name.replace(_ENDING, "_desc-SingletrialBetas_trials.tsv")
        )
        table = read_table(table_file)
        lacking = {"run", "label"} - set(table)
        if lacking:
            raise InputError(
                str(table_file), f"has no column {', '.join(sorted(lacking))}; columns: "
                f"{', '.join(table)}", "fetch the file again",
            )
        stored = responses.parts[0]
        check_length(table, measure(stored), str(table_file), str(stored))
        # The label is the picture, not a category; runs are written as run-01.
        named = table.rename(columns={"label": "stimulus"}).assign(
            session=_BETAS.match(path.name)[2],
            run=[None if cell is None else cell.removeprefix("run-") for cell in table["run"]],
        )
        runs += split_runs(named, responses, TASK, TITLE)
    return ReleasedPerson(label, tuple(runs)), f"voxels of {name.replace(f'sub-{label}_', '')}"


def _mask(label: str, path: Path, shape: Shape) -> Mask:
    """Return the mask of a participant and its name."""
    place = path.parents[2]
    stem = f"sub-{label}_task-images_space-T1w"
    mask_file = place / f"{stem}_desc-meanR2gt15mask_mask.nii.gz"
    if mask_file.exists():
        return *read_mask(mask_file), mask_file.name
    explained = place / f"{stem}_stat-rsquare_desc-R2mean_statmap.nii.gz"
    if not explained.exists():
        return whole_volume(path, shape)
    with reading(explained):
        image = nib.load(explained)
        return np.asarray(image.dataobj) > LEAST_R2, image.affine, explained.name


LAYOUT = Layout(
    "laion", TITLE, "sub-XX/ses-YY/func/*_stat-effect_desc-SingletrialBetas_statmap.nii.gz with "
    "*_desc-SingletrialBetas_trials.tsv", recognise, read,
)
