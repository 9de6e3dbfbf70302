"""Tables of confounds as several programs write them, under the column names of fMRIPrep."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from bids_decoder.bids.dataset import BoldRun
from bids_decoder.bids.layouts import MAX_SIDECAR_BYTES, same_label
from bids_decoder.bids.names import parse_entities
from bids_decoder.bids.notes import DatasetNotes
from bids_decoder.bids.writer import read_table
from bids_decoder.errors import ExitCode, Finding, InputError, name_some
from bids_decoder.files import read_json
from bids_decoder.regressors import OWN, split_wanted

_TRANS, _ROT = ("trans_x", "trans_y", "trans_z"), ("rot_x", "rot_y", "rot_z")

PLAIN_FILES = {
    "rp_*{stem}_*.txt": (*_TRANS, *_ROT),
    "{stem}_*.par": (*_ROT, *_TRANS),
    "{stem}_*.1D": ("rot_z", "rot_x", "rot_y", "trans_z", "trans_x", "trans_y"),
}
"""Motion parameters without a header, and their columns: SPM (realign), FSL (mcflirt), AFNI
(3dvolreg: roll, pitch and yaw about the axes I-S, R-L and A-P in degrees, then dS, dL, dP)."""

_OLD = {
    # fMRIPrep before 1.2
    "x": "trans_x", "y": "trans_y", "z": "trans_z",
    "rotx": "rot_x", "roty": "rot_y", "rotz": "rot_z",
    # SPM; AFNI has other axes for the same names, see _AFNI
    "pitch": "rot_x", "roll": "rot_y", "yaw": "rot_z",
}
_AFNI = {
    "roll": "rot_z", "pitch": "rot_x", "yaw": "rot_y",
    "ds": "trans_z", "dl": "trans_x", "dp": "trans_y",
}
_NUMBERED = {"acompcor": "a_comp_cor_", "nonsteadystateoutlier": "non_steady_state_outlier"}
_OF_FILES = {"echo", "space", "cohort", "res", "den", "desc"}
"""Entities in which files of one run differ."""

_OTHER_TABLES = ("_events", "_channels", "_trials")
"""Suffixes of tables of a run that hold no regressors."""

_N_UNMIXED = 6
"""Components in tables of fMRIPrep before 1.4, all of both tissues together."""

_MASKS = {"CSF": "c_comp_cor_", "WM": "w_comp_cor_"}
"""Names of components of one tissue since fMRIPrep 21, by the mask in the sidecar."""


def find_confounds(folder: Path, stem: str) -> Path | None:
    """Find the table of a run: fMRIPrep's, old or new, else motion parameters of SPM, FSL or AFNI.

    Parameters
    ----------
    folder : Path
        Of the preprocessed BOLD.
    stem : str
        Entities of the run as in its name, without ``space`` and ``res``.
    """
    names = ("desc-confounds_timeseries", "desc-confounds_regressors", "bold_confounds")
    for name in names:
        path = folder / f"{stem}_{name}.tsv"
        if path.exists():
            return path
    for pattern in PLAIN_FILES:
        found = sorted(
            path for path in folder.glob(pattern.format(stem=stem)) if _is_of_run(path, stem)
        )
        if len(found) == 1:
            return found[0]
    return None


def _is_of_run(path: Path, stem: str) -> bool:
    """Return whether a file name that holds the entities of a run adds none of another run."""
    return parse_entities(path.name.partition(stem)[2]).keys() <= _OF_FILES


def read_confounds(path: Path) -> pd.DataFrame:
    """Read a table of confounds.

    Parameters
    ----------
    path : Path
        From :func:`find_confounds`.

    Returns
    -------
    DataFrame
        Text or numbers under the names of fMRIPrep since 21: ``trans_x`` to ``rot_z``,
        ``a_comp_cor_NN`` of all tissues together, ``c_comp_cor_NN`` of CSF, …

    Raises
    ------
    InputError
        When the file is not a table, or its sidecar is no JSON.
    """
    try:
        table = read_table(path) if path.suffix == ".tsv" else _read_plain(path)
    except (OSError, ValueError) as error:
        raise InputError(
            str(path), f"is not readable as a table of confounds: {str(error).strip()}",
            "correct the file, or use --confounds none",
        ) from error
    table = table.rename(columns=standard_names(list(table.columns)))
    return table.rename(columns=_tissue_names(path, list(table.columns)))


def _tissue_names(path: Path, columns: Sequence[str]) -> dict[str, str]:
    """Return the names since fMRIPrep 21 of components that a sidecar says are of one tissue."""
    sidecar = path.with_suffix(".json")
    if path.suffix != ".tsv" or not sidecar.is_file():
        return {}
    try:
        content = read_json(sidecar, MAX_SIDECAR_BYTES)
    except (OSError, ValueError) as error:
        raise InputError(
            str(sidecar), f"cannot be read as JSON: {error}", "correct or delete the file",
        ) from error
    found = {}
    for name in (name for name in columns if name.startswith("a_comp_cor_")):
        entry = content.get(name) if isinstance(content, dict) else None
        prefix = _MASKS.get(str(entry.get("Mask"))) if isinstance(entry, dict) else None
        if prefix is not None:
            found[name] = name.replace("a_comp_cor_", prefix)
    return found


def _check_tissues(path: Path, columns: Sequence[str]) -> None:
    """Refuse components of unknown tissue: fMRIPrep 1.4 to 20 gave all of them one name."""
    n_components = sum(name.startswith("a_comp_cor_") for name in columns)
    is_told = any(name.startswith(tuple(_MASKS.values())) for name in columns)
    if n_components > _N_UNMIXED and not is_told and not path.with_suffix(".json").is_file():
        raise InputError(
            f"confounds table {path.name}", f"it has {n_components} components a_comp_cor_* and no "
            f"sidecar {path.with_suffix('.json').name}, which tells those of CSF, of white matter "
            "and of both together", "copy the sidecar beside the table, or choose columns, as "
            "'a_comp_cor_0[0-4]'",
        )


def read_regressors(
    confounds: Sequence[str], path: Path | str | None, own: Path | str | None
) -> pd.DataFrame | None:
    """Read the tables that ``--confounds`` asks for, side by side.

    Parameters
    ----------
    confounds : sequence of str
        See :func:`bids_decoder.regressors.split_wanted`.
    path : Path or str or None
        Table of confounds of the run.
    own : Path or str or None
        Own table of regressors of the run; its columns get :data:`.regressors.OWN` in front.

    Returns
    -------
    DataFrame, n_scans rows, or None
        None where nothing is asked for, or there is no table.

    Raises
    ------
    InputError
        When a file is not a table, or the two differ in the number of rows; for ``compcor``, when
        nothing tells the tissues of components apart.
    """
    wanted = split_wanted(confounds)[0]
    tables = [read_confounds(Path(path))] if wanted and path is not None else []
    if tables and "compcor" in wanted:
        _check_tissues(Path(path), list(tables[0].columns))
    if own is not None:
        tables.append(_read_own(Path(own)))
    if len(tables) == 2 and len(tables[0]) != len(tables[1]):
        raise InputError(
            f"regressors in {own}", f"{len(tables[1])} rows, but {path} has {len(tables[0])}",
            "give one row per volume",
        )
    if wanted and path is None:
        return None
    return pd.concat(tables, axis=1) if tables else None


def _read_own(path: Path) -> pd.DataFrame:
    try:
        return read_table(path).add_prefix(OWN)
    except (OSError, ValueError) as error:
        raise InputError(
            str(path), f"is not readable as a table of regressors: {str(error).strip()}",
            "give tab-separated text with names in the first row and one row per volume",
        ) from error


def with_regressors(
    runs: Sequence[BoldRun], confounds: Sequence[str], notes: DatasetNotes
) -> list[BoldRun]:
    """Add to each run its own table of regressors, where ``--confounds`` names a folder.

    Parameters
    ----------
    runs : sequence of BoldRun
    confounds : sequence of str
    notes : DatasetNotes
        Gets an error for several folders, and for runs with none or several tables.
    """
    folders = split_wanted(confounds)[1]
    if len(folders) != 1:
        if folders:
            notes.findings.append(Finding(
                f"--confounds {' '.join(folders)}", "there is more than one folder of own tables",
                "put the columns of each run into one table", ExitCode.USAGE,
            ))
        return list(runs)
    tables = OwnTables(Path(folders[0]))
    found = [tables.for_run(parse_entities(run.image_file)) for run in runs]
    bad = [run for run, paths in zip(runs, found, strict=True) if len(paths) != 1]
    if bad:
        shown = name_some([f"sub-{run.subject} {run.run_group}" for run in bad])
        notes.findings.append(Finding(
            f"--confounds {folders[0]}", f"{len(bad)} run(s) have no table there, or several: "
            f"{shown}", "give one table for each run, named as "
            "sub-01_task-see_run-1_desc-physio_timeseries.tsv", ExitCode.MISSING_INPUT,
        ))
    return [
        replace(run, regressors_file=paths[0] if len(paths) == 1 else None)
        for run, paths in zip(runs, found, strict=True)
    ]


class OwnTables:
    """Own tables of regressors, found for runs by their names.

    Parameters
    ----------
    folder : Path
        Tables ``*.tsv`` below it have names of BIDS, as
        ``sub-01_task-see_run-1_desc-physio_timeseries.tsv``; each of their entities but ``desc``
        and ``recording`` must be that of the run. Events, channels and trials are left out.
    """

    def __init__(self, folder: Path) -> None:
        found = ((parse_entities(path), path) for path in sorted(folder.rglob("*.tsv")))
        self._tables = [
            ({k: v for k, v in entities.items() if k not in ("desc", "recording")}, path)
            for entities, path in found
            if "sub" in entities and not path.stem.endswith(_OTHER_TABLES)
        ]

    def for_run(self, entities: dict[str, str]) -> list[Path]:
        """Return the tables that belong to a run; more than one is ambiguous."""
        return [
            path for own, path in self._tables
            if all(same_label(entities.get(key, ""), value) for key, value in own.items())
        ]


def _read_plain(path: Path) -> pd.DataFrame:
    pattern = next(p for p in PLAIN_FILES if p.endswith(path.suffix))
    values = np.loadtxt(path, ndmin=2)
    columns = PLAIN_FILES[pattern]
    if values.shape[1] != len(columns):
        raise ValueError(f"{values.shape[1]} columns, expected are {len(columns)}")
    table = pd.DataFrame(values, columns=list(columns))
    if path.suffix == ".1D":
        table[list(_ROT)] = np.radians(table[list(_ROT)])
    return table


def standard_names(columns: Sequence[str]) -> dict[str, str]:
    """Return fMRIPrep's name since version 1.2 for each column that has an older one.

    Examples
    --------
    >>> standard_names(["X", "RotZ", "aCompCor00", "CSF"])
    {'X': 'trans_x', 'RotZ': 'rot_z', 'aCompCor00': 'a_comp_cor_00'}
    >>> standard_names(["roll", "pitch", "yaw", "dS", "dL", "dP"])["roll"]
    'rot_z'
    """
    known = _AFNI if "ds" in map(str.lower, columns) else _OLD
    found = {}
    for name in columns:
        new = known.get(name.lower())
        numbered = re.fullmatch(r"([a-z]+)(\d+)", name.lower())
        if numbered is not None and numbered[1] in _NUMBERED:
            new = _NUMBERED[numbered[1]] + numbered[2]
        if new is not None and new not in columns:
            found[name] = new
    return found
