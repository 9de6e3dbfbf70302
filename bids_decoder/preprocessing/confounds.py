"""Nuisance time series under the column names of fMRIPrep."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from bids_decoder.preprocessing.masks import eroded
from bids_decoder.preprocessing.motion import MOTION_COLUMNS

_HEAD_RADIUS_MM = 50.0

RESPONSE_SECONDS = 8.0
"""How long after the end of a trial its response lasts, for its motion: past the peak."""
_N_COMPONENTS = 10
_HIGH_PASS_HZ = 1 / 128
_MIN_VOXELS = 30


def expand(courses: pd.DataFrame) -> pd.DataFrame:
    """Add derivatives and squares: the 24 regressors of Satterthwaite et al. (2013) of six.

    Parameters
    ----------
    courses : DataFrame, n_volumes rows
        Motion parameters, or signals of tissues.

    Returns
    -------
    DataFrame, four columns for each
        Each followed by ``_derivative1``, ``_power2`` and ``_derivative1_power2``; derivatives
        are missing in the first row.
    """
    columns: dict[str, pd.Series] = {}
    for name in courses.columns:
        slope = courses[name].diff()
        columns[name] = courses[name]
        columns[f"{name}_derivative1"] = slope
        columns[f"{name}_power2"] = courses[name] ** 2
        columns[f"{name}_derivative1_power2"] = slope**2
    return pd.DataFrame(columns)


def framewise_displacement(parameters: pd.DataFrame) -> np.ndarray:
    """Sum the absolute movements between volumes, rotations as arcs on a 50 mm sphere.

    Parameters
    ----------
    parameters : DataFrame
        ``trans_*`` in mm, ``rot_*`` in radians.

    Returns
    -------
    ndarray, shape (n_volumes,)
        In mm; missing in the first row. Power et al. (2012), NeuroImage 59.
    """
    weights = np.array([1.0] * 3 + [_HEAD_RADIUS_MM] * 3)
    steps = np.abs(np.diff(parameters[list(MOTION_COLUMNS)].to_numpy(), axis=0))
    return np.concatenate([[np.nan], steps @ weights])


def trial_motion(
    parameters: pd.DataFrame, onsets: np.ndarray, durations: np.ndarray, t_r: float
) -> np.ndarray:
    """Average framewise displacement over the response to each trial.

    Parameters
    ----------
    parameters : DataFrame, n_volumes rows
        See :func:`framewise_displacement`.
    onsets, durations : ndarray, shape (n_trials,)
        Seconds; NaN where unknown.
    t_r : float

    Returns
    -------
    ndarray, shape (n_trials,)
        Mean over the volumes from the onset to :data:`RESPONSE_SECONDS` after the end of the trial;
        NaN where there is none.
    """
    displacement = framewise_displacement(parameters)
    times = np.arange(len(displacement)) * t_r
    ends = onsets + np.nan_to_num(durations) + RESPONSE_SECONDS
    inside = (times >= onsets[:, None]) & (times < ends[:, None]) & np.isfinite(displacement)
    counts = inside.sum(axis=1)
    sums = inside @ np.nan_to_num(displacement)
    return np.divide(sums, counts, out=np.full(len(sums), np.nan), where=counts > 0)


def dvars(series: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Compute DVARS, the change of all brain voxels from one volume to the next.

    Parameters
    ----------
    series : ndarray, shape (n_volumes, n_voxels)

    Returns
    -------
    dvars : ndarray, shape (n_volumes,)
        Root mean square of the differences, after the median of all values is scaled to 1000.
    std_dvars : ndarray, shape (n_volumes,)
        Divided by the value expected for a first-order autoregressive series with the same
        robust spread (Nichols 2013, arXiv:1704.01469). Both are missing in the first row.
    """
    values = series.astype(np.float64)
    values = values[:, values.std(axis=0) > 0]
    if not values.size or len(values) < 3:
        return np.full(len(series), np.nan), np.full(len(series), np.nan)
    values *= 1000.0 / np.median(values)
    lower, upper = np.percentile(values, [25, 75], axis=0, method="lower")
    spread = (upper - lower) / 1.349
    centred = values - values.mean(axis=0)
    lagged = (centred[1:] * centred[:-1]).sum(axis=0) / (centred**2).sum(axis=0)
    expected = np.sqrt(2 * (1 - lagged)) * spread
    change = np.sqrt((np.diff(values, axis=0) ** 2).mean(axis=1))
    usual = float(expected.mean())
    standard = change / usual if usual > 0 else np.full_like(change, np.nan)
    return np.concatenate([[np.nan], change]), np.concatenate([[np.nan], standard])


def cosine_drifts(n_volumes: int, t_r: float) -> pd.DataFrame:
    """Compute nilearn's cosine drifts, without the constant, in columns ``cosineNN``."""
    # Importing it takes longer than the plan of a small dataset, which reads this module.
    from nilearn.glm.first_level.design_matrix import create_cosine_drift

    basis = create_cosine_drift(_HIGH_PASS_HZ, np.arange(n_volumes) * t_r)[:, :-1]
    return pd.DataFrame(basis, columns=[f"cosine{i:02d}" for i in range(basis.shape[1])])


def anatomical_components(
    series: np.ndarray, drifts: np.ndarray, n_skip: int
) -> tuple[pd.DataFrame, np.ndarray]:
    """Compute the principal components of voxels without grey matter (aCompCor).

    Parameters
    ----------
    series : ndarray, shape (n_volumes, n_voxels)
        Voxels of CSF and white matter.
    drifts : ndarray, shape (n_volumes, n_drifts)
        Removed first, together with the mean.
    n_skip : int
        Number of volumes before the steady state, which are excluded and zero in the components.

    Returns
    -------
    components : DataFrame
        ``a_comp_cor_00`` upwards, at most ten, unit length.
    variance_explained : ndarray, shape (n_components,)
        Shares of the variance. Behzadi et al. (2007), NeuroImage 37.
    """
    kept = series[n_skip:].astype(np.float64)
    design = np.column_stack([np.ones(len(kept)), drifts[n_skip:]])
    kept = kept - design @ np.linalg.lstsq(design, kept, rcond=None)[0]
    spread = kept.std(axis=0)
    kept = kept[:, spread > 1e-6] / spread[spread > 1e-6]
    n_components = min(_N_COMPONENTS, len(kept) - design.shape[1] - 1, kept.shape[1])
    if n_components < 1:
        return pd.DataFrame(index=range(len(series))), np.empty(0)
    values, vectors = np.linalg.eigh(kept @ kept.T)
    vectors, values = vectors[:, ::-1][:, :n_components], values[::-1]
    # The sign of an eigenvector is arbitrary; its largest entry is made positive.
    vectors = vectors * np.sign(vectors[np.abs(vectors).argmax(axis=0), np.arange(n_components)])
    full = np.zeros((len(series), n_components))
    full[n_skip:] = vectors
    names = [f"a_comp_cor_{i:02d}" for i in range(n_components)]
    return pd.DataFrame(full, columns=names), (values / values.sum())[:n_components]


def outlier_columns(flags: np.ndarray, name: str) -> pd.DataFrame:
    """Build one column ``<name>NN`` per flagged volume, with a one at that volume."""
    rows = np.flatnonzero(flags)
    content = np.zeros((len(flags), len(rows)), dtype=int)
    content[rows, np.arange(len(rows))] = 1
    return pd.DataFrame(content, columns=[f"{name}{i:02d}" for i in range(len(rows))])


def tissue_masks(
    dseg: np.ndarray, brain: np.ndarray, affine: np.ndarray
) -> dict[str, np.ndarray]:
    """Compute masks of pure CSF and white matter on the grid of the BOLD series.

    Parameters
    ----------
    dseg : ndarray of int, shape (i, j, k)
        1 CSF, 2 grey, 3 white matter.
    brain : ndarray of bool, shape (i, j, k)
    affine : ndarray, shape (4, 4)

    Returns
    -------
    dict
        ``csf`` and ``white_matter``. White matter is eroded by 3 mm; CSF is restricted to 6 mm
        inside the brain, which leaves the ventricles. Masks with fewer than 30 voxels are left
        out.
    """
    white = eroded(dseg == 3, affine, 3.0) & brain
    csf = (dseg == 1) & eroded(brain, affine, 6.0)
    found = {"csf": csf, "white_matter": white}
    return {name: mask for name, mask in found.items() if mask.sum() >= _MIN_VOXELS}


def confounds_table(
    bold: np.ndarray, brain: np.ndarray, parameters: pd.DataFrame, t_r: float, *, n_dummy: int = 0,
    tissues: dict[str, np.ndarray] | None = None, fd_threshold: float = 0.5,
    dvars_threshold: float = 1.5,
) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Compute the table of all nuisance regressors of a run.

    Parameters
    ----------
    bold : ndarray, shape (i, j, k, n_volumes)
        Preprocessed series.
    brain : ndarray of bool, shape (i, j, k)
    parameters : DataFrame
        From :func:`~.motion.motion_parameters`.
    t_r : float
        Seconds between volumes.
    n_dummy : int
        Volumes before the steady state.
    tissues : dict of ndarray of bool
        From :func:`tissue_masks`; columns that need an absent mask are absent.
    fd_threshold, dvars_threshold : float
        Volumes above either (mm; standardised) become ``motion_outlierNN``.

    Returns
    -------
    table : DataFrame, n_volumes rows
    metadata : dict
        Content of the sidecar.
    """
    tissues = tissues or {}
    voxels = bold[brain].T
    change, standard = dvars(voxels)
    displacement = framewise_displacement(parameters)
    signals = {"global_signal": voxels.mean(axis=1, dtype=float)}
    signals |= {name: bold[mask].mean(axis=0, dtype=float) for name, mask in tissues.items()}
    drifts = cosine_drifts(len(voxels), t_r)
    early = np.arange(len(voxels)) < n_dummy
    moved = ((displacement > fd_threshold) | (standard > dvars_threshold)) & ~early
    parts = [
        expand(pd.DataFrame(signals)),
        pd.DataFrame({"dvars": change, "std_dvars": standard,
                      "framewise_displacement": displacement}),
        expand(parameters[list(MOTION_COLUMNS)]),
    ]
    metadata = _descriptions(fd_threshold, dvars_threshold)
    if tissues:
        components, entries = _tissue_components(bold, tissues, drifts.to_numpy(), n_dummy)
        parts.append(components)
        metadata |= entries
    parts += [drifts, outlier_columns(early, "non_steady_state_outlier"),
              outlier_columns(moved, "motion_outlier")]
    table = pd.concat(parts, axis=1)
    return table, {key: text for key, text in metadata.items() if key in table}


def expected_columns(*, tissues: bool) -> list[str]:
    """Return the columns that tables of confounds have at any rate.

    Parameters
    ----------
    tissues : bool
        Whether there is a segmentation, from which masks of tissues are made.

    Returns
    -------
    list of str
        Numbered columns are there from 00 on, in a number that depends on the run.
    """
    signals = ["global_signal", *(["csf", "white_matter"] if tissues else [])]
    expanded = expand(pd.DataFrame(0.0, index=[0], columns=[*signals, *MOTION_COLUMNS]))
    numbered = [f"a_comp_cor_{number:02d}" for number in range(_N_COMPONENTS)] if tissues else []
    return [
        *expanded.columns, "dvars", "std_dvars", "framewise_displacement", *numbered,
        *(f"{name}00" for name in ("cosine", "non_steady_state_outlier", "motion_outlier")),
    ]


def _tissue_components(
    bold: np.ndarray, tissues: dict[str, np.ndarray], drifts: np.ndarray, n_dummy: int
) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Compute aCompCor over all masks together, with the sidecar entries of its columns."""
    union = np.logical_or.reduce(list(tissues.values()))
    components, shares = anatomical_components(bold[union].T, drifts, n_dummy)
    return components, {
        name: {"Method": "aCompCor", "Mask": "+".join(sorted(tissues)),
               "VarianceExplained": float(share)}
        for name, share in zip(components.columns, shares, strict=True)
    }


def _descriptions(fd_threshold: float, dvars_threshold: float) -> dict[str, Any]:
    texts = {
        "global_signal": "Mean of the brain mask.",
        "csf": "Mean of the CSF mask (ventricles).",
        "white_matter": "Mean of the eroded white matter mask.",
        "dvars": "Root mean square change between volumes, median intensity scaled to 1000.",
        "std_dvars": "DVARS divided by its expected value (Nichols 2013).",
        "framewise_displacement": "Power et al. (2012), mm, 50 mm sphere.",
        "motion_outlier00": "First of the volumes with framewise displacement above "
        f"{fd_threshold:g} mm or standardised DVARS above {dvars_threshold:g}.",
        "cosine00": f"First of the cosine drifts, high-pass {_HIGH_PASS_HZ:g} Hz.",
    }
    units = {"trans": "mm", "rot": "rad"}
    content: dict[str, Any] = {key: {"Description": text} for key, text in texts.items()}
    for name in MOTION_COLUMNS:
        content[name] = {
            "Description": "Movement from the volume to the reference about the grid centre, "
            "world axes (RAS+).",
            "Units": units[name.split("_")[0]],
        }
    return content
