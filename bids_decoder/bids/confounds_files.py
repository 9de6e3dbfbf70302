"""Tables of confounds as several programs write them, under the column names of fMRIPrep."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from bids_decoder.bids.writer import read_table
from bids_decoder.errors import InputError

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
_USED = re.compile(
    r"(trans|rot)_[xyz](_derivative1)?(_power2)?|a_comp_cor_\d+|non_steady_state_outlier\d+"
)


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
        found = sorted(folder.glob(pattern.format(stem=stem)))
        if len(found) == 1:
            return found[0]
    return None


def read_confounds(path: Path) -> pd.DataFrame:
    """Read the columns of a table that the GLM may use.

    Parameters
    ----------
    path : Path
        From :func:`find_confounds`.

    Returns
    -------
    DataFrame
        Text or numbers under the names of fMRIPrep since 1.2: ``trans_x`` to ``rot_z``, their
        derivatives and squares, ``a_comp_cor_NN``, ``non_steady_state_outlierNN``.

    Raises
    ------
    InputError
        When the file is not a table.
    """
    try:
        table = read_table(path) if path.suffix == ".tsv" else _read_plain(path)
    except (OSError, ValueError) as error:
        raise InputError(
            str(path), f"is not readable as a table of confounds: {str(error).strip()}",
            "correct the file, or use --confounds none",
        ) from error
    table = table.rename(columns=standard_names(list(table.columns)))
    return table[[name for name in table.columns if _USED.fullmatch(name)]]


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
