"""Nuisance regressors of a run, chosen by name from its table of confounds.

References
----------
.. [1] Wang et al. 2024, PLOS Comput Biol 20:e1011942: the strategies ``simple``, ``scrubbing``,
   ``compcor`` and ``ica_aroma`` of ``nilearn.interfaces.fmriprep.load_confounds_strategy``.
.. [2] Power et al. 2012, NeuroImage 59:2142.
"""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from fnmatch import fnmatchcase

import numpy as np
import pandas as pd

from bids_decoder.errors import InputError
from bids_decoder.regressors import OWN, REJECTED

MOTION = ("trans_x", "trans_y", "trans_z", "rot_x", "rot_y", "rot_z")
N_ACOMPCOR = 5
SHORTEST_SEGMENT = 5
"""Volumes between two that are scrubbed; shorter segments are scrubbed, too [2]_."""

EARLY, MOVED, SCRUBBED = "non_steady_state_outlier", "motion_outlier", "scrubbed"
"""Beginnings of names of columns with a one at a single volume, which is censored by them."""

_TISSUES = ("csf", "white_matter")
_NONE = "--confounds none"


def _expanded(names: Sequence[str]) -> tuple[str, ...]:
    ends = ("", "_derivative1", "_power2", "_derivative1_power2")
    return tuple(f"{name}{end}" for end in ends for name in names)


STRATEGIES: dict[str, tuple[str, ...]] = {
    "motion": MOTION,
    "motion24": _expanded(MOTION),
    "acompcor": (*MOTION, "a_comp_cor_*"),
    "simple": (*_expanded(MOTION), *_TISSUES),
    "scrubbing": (*_expanded(MOTION), *_expanded(_TISSUES)),
    "compcor": (*_expanded(MOTION), "a_comp_cor_*"),
    "ica_aroma": (*_TISSUES, "aroma_motion_*"),
}
"""Patterns of columns, all of which must be there, by name. The last four are those of nilearn [1]_
without its high-pass filter, since drifts are in the model. ``motion24``: Friston et al. 1996."""


def choose_columns(columns: Sequence[str], wanted: Sequence[str]) -> list[str]:
    """Choose columns of a table of confounds.

    Parameters
    ----------
    columns : sequence of str
        Names of fMRIPrep.
    wanted : sequence of str
        Names of :data:`STRATEGIES`, and patterns of column names (``*``, ``?``, ``[0-4]``).

    Returns
    -------
    list of str
        Each once, in the order of *wanted*, with the volumes before the steady state, and for
        ``scrubbing`` those with motion; all components that ``--tedana`` rejected; and all own
        columns.

    Raises
    ------
    InputError
        When a pattern matches no column.
    """
    chosen: dict[str, None] = {}
    missing: dict[str, list[str]] = {}
    for name in wanted:
        for pattern in STRATEGIES.get(name, (name,)):
            found = [column for column in columns if fnmatchcase(column, pattern)]
            if not found:
                missing.setdefault(name, []).append(pattern)
            if name == "acompcor" and pattern not in MOTION:
                found = sorted(found)[:N_ACOMPCOR]
            chosen.update(dict.fromkeys(found))
    if missing:
        raise _absent(missing, columns)
    always = (EARLY, *([MOVED] if "scrubbing" in wanted else []), REJECTED, OWN)
    chosen.update(dict.fromkeys(column for column in columns if column.startswith(always)))
    return list(chosen)


def _absent(missing: dict[str, list[str]], columns: Sequence[str]) -> InputError:
    listed = "; ".join(
        f"columns missing for {name}: {', '.join(patterns[:6])}{', …' * (len(patterns) > 6)}"
        for name, patterns in missing.items()
    )
    known = [*STRATEGIES, *columns]
    unknown = [name for name in missing if name not in STRATEGIES]
    near = [close for name in unknown for close in difflib.get_close_matches(name, known, 2)]
    if "ica_aroma" in missing:
        fix = ("ICA-AROMA's components are in tables of fMRIPrep before 23.1 (--use-aroma) or of "
               "fMRIPost-AROMA; choose other confounds")
    else:
        fix = (f"did you mean {' or '.join(near)}? " if near else "") + (
            f"choose other confounds ({', '.join(STRATEGIES)}, or columns of the table), give the "
            "table that belongs to the BOLD run")
    return InputError("confounds table", listed, f"{fix}, or use {_NONE}")


def select_confounds(
    table: pd.DataFrame | None, wanted: Sequence[str], n_scans: int
) -> tuple[pd.DataFrame, list[str]]:
    """Select nuisance columns from a table of confounds.

    Parameters
    ----------
    table : DataFrame, n_scans rows, or None
        Numbers or text; missing cells are None or not-a-number.
    wanted : sequence of str
        See :func:`choose_columns`.
    n_scans : int
        Number of volumes of the run.

    Returns
    -------
    confounds : DataFrame of float64, n_scans rows
        Empty and constant columns are left out, as are columns that censor a volume again. A
        missing first row, as derivatives have it, becomes zero.
    notes : list of str

    Raises
    ------
    InputError
        Without a table; when rows or columns are missing, or cells after the first row.
    """
    if table is None:
        raise InputError(
            "confounds table", "there is none",
            "copy it from the derivatives to where the BOLD is, run fMRIPrep again with --level "
            f"full if it ran with another one, or use {_NONE}",
        )
    names = choose_columns([str(name) for name in table.columns], wanted)
    if len(table) != n_scans and names:
        raise InputError(
            "confounds table", f"{len(table)} rows for {n_scans} volumes",
            "which row belongs to which volume is unknown: preprocess this run again, correct the "
            f"table, or use {_NONE}",
        )
    chosen = _as_numbers(table, names)
    empty = [name for name in names if chosen[name].isna().all()]
    chosen = chosen.drop(columns=empty)
    if n_scans and len(chosen.columns):
        chosen.iloc[0] = chosen.iloc[0].fillna(0.0)
    broken = [name for name in chosen.columns if not np.isfinite(chosen[name]).all()]
    if broken:
        raise InputError(
            f"confounds {', '.join(broken)}", "missing or infinite values after the first row",
            f"repair the table, choose other confounds, or use {_NONE}",
        )
    constant = [name for name in chosen.columns if np.ptp(chosen[name].to_numpy()) == 0]
    dropped = empty + constant
    notes = [f"confounds left out, empty or constant: {', '.join(dropped)}"] if dropped else []
    chosen = chosen.drop(columns=constant)
    if "scrubbing" in wanted:
        chosen = pd.concat([chosen, short_segments(chosen)], axis=1)
    return chosen.drop(columns=_repeated(chosen)), notes


def _as_numbers(table: pd.DataFrame, names: Sequence[str]) -> pd.DataFrame:
    try:
        columns = {name: pd.to_numeric(table[name]).astype(float) for name in names}
    except (ValueError, TypeError) as error:
        raise InputError(
            "confounds table", f"cells are no numbers: {error}",
            f"repair the table, or use {_NONE}",
        ) from error
    return pd.DataFrame(columns, index=table.index)


def censored_volumes(nuisance: pd.DataFrame, *prefixes: str) -> np.ndarray:
    """Return which volumes are censored by columns of their own, shape (n_scans,).

    Parameters
    ----------
    nuisance : DataFrame, n_scans rows
    *prefixes : str
        Of the columns; by default all that censor.
    """
    begin = prefixes or (EARLY, MOVED, SCRUBBED)
    columns = [name for name in nuisance.columns if str(name).startswith(begin)]
    return nuisance[columns].to_numpy(dtype=float).any(axis=1)


def short_segments(confounds: pd.DataFrame) -> pd.DataFrame:
    """Make columns that censor the volumes in short segments between censored ones.

    Parameters
    ----------
    confounds : DataFrame, n_scans rows

    Returns
    -------
    DataFrame, n_scans rows
        One column for each volume in a segment of fewer than :data:`SHORTEST_SEGMENT` volumes,
        where any volume has motion.
    """
    kept = ~censored_volumes(confounds, EARLY, MOVED)
    segment = np.cumsum(np.r_[True, np.diff(kept.astype(int)) != 0])
    sizes = np.bincount(segment)
    rows = np.flatnonzero(kept & (sizes[segment] < SHORTEST_SEGMENT))
    if not censored_volumes(confounds, MOVED).any():
        rows = rows[:0]
    content = np.zeros((len(confounds), len(rows)))
    content[rows, np.arange(len(rows))] = 1
    names = [f"{SCRUBBED}{number:02d}" for number in range(len(rows))]
    return pd.DataFrame(content, columns=names, index=confounds.index)


def _repeated(confounds: pd.DataFrame) -> list[str]:
    """Return the columns that censor volumes which an earlier column censors."""
    columns = [name for name in confounds.columns if str(name).startswith((EARLY, MOVED))]
    seen, repeated = np.zeros(len(confounds), dtype=bool), []
    for name in columns:
        here = confounds[name].to_numpy() != 0
        if not (here & ~seen).any():
            repeated.append(name)
        seen |= here
    return repeated
