"""CIFTI files: BOLD on grayordinates, and maps of them.

Values of grayordinates are kept as an image of shape (n_grayordinates, 1, 1) or
(n_grayordinates, 1, 1, n_volumes), like those of vertices; the brain models of the file say what
its rows are.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from nibabel.cifti2 import BrainModelAxis, Cifti2Image, LabelAxis, ScalarAxis, SeriesAxis

from bids_decoder.bids.names import parse_entities
from bids_decoder.errors import InputError, explain_damage
from bids_decoder.files import atomic_path
from bids_decoder.grids.grayordinates import CORTEX

SERIES = ".dtseries.nii"
SPACE = "fsLR"
"""Space of the cortex in the derivatives."""

VOLUME_SPACE = "MNI152NLin6Asym"
"""Space of the voxels below it in the files of fMRIPrep and of the Human Connectome Project."""

_WANTED = {
    SeriesAxis: ("series", "give the dtseries of fMRIPrep (--cifti-output 91k)"),
    LabelAxis: ("labels", "give a dlabel file"),
}
"""Kind of rows -> its name, and where to get such a file."""


def is_cifti(path: Path) -> bool:
    """Return whether a file is a series of grayordinates."""
    return path.name.endswith(SERIES)


def series_shape(path: Path) -> tuple[int, int, int, int]:
    """Return the shape of a series, without reading its values.

    Raises
    ------
    InputError
        When it is no series of grayordinates, or ends early.
    """
    image = open_cifti(path, SeriesAxis)
    n_volumes, n_rows = image.shape
    data = image.dataobj
    size = data.offset + n_volumes * n_rows * data.dtype.itemsize
    if path.stat().st_size < size:
        raise InputError(
            str(path), f"truncated: {path.stat().st_size} bytes, header implies {size}",
            "fetch or copy the file again",
        )
    return n_rows, 1, 1, n_volumes


def series_t_r(path: Path) -> float | None:
    """Return the seconds between volumes in the header; None where it has another unit."""
    axis = open_cifti(path, SeriesAxis).header.get_axis(0)
    return float(axis.step) if axis.unit == "SECOND" and axis.step > 0 else None


def read_models(path: Path) -> BrainModelAxis:
    """Read what the rows of a file are.

    Raises
    ------
    InputError
        When it cannot be read.
    """
    return open_cifti(path).header.get_axis(1)


def load_series(path: Path) -> nib.Nifti2Image:
    """Load a series as an image of shape (n_grayordinates, 1, 1, n_volumes), float32.

    Raises
    ------
    InputError
        See :func:`series_shape`.
    """
    series_shape(path)
    values = np.asarray(open_cifti(path, SeriesAxis).dataobj, dtype=np.float32)
    return nib.Nifti2Image(np.ascontiguousarray(values.T)[:, None, None, :], np.eye(4))


def open_cifti(path: Path, first: type | None = None) -> Cifti2Image:
    """Open a file whose rows are maps and whose columns are grayordinates.

    Parameters
    ----------
    path : Path
    first : {SeriesAxis, LabelAxis} or None
        What the rows are; None for anything.

    Raises
    ------
    InputError
        When it cannot be read, or holds something else.
    """
    with explain_damage(str(path), "is not readable as CIFTI", "fetch or copy the file again"):
        image = nib.load(path)
        axes = [image.header.get_axis(k) for k in range(image.ndim)]
    is_known = len(axes) == 2 and isinstance(axes[1], BrainModelAxis)
    if not is_known or (first is not None and not isinstance(axes[0], first)):
        shown = " × ".join(type(axis).__name__.removesuffix("Axis") for axis in axes)
        what, fix = _WANTED[SeriesAxis if first is None else first]
        raise InputError(str(path), f"holds {shown}: no {what} of grayordinates", fix)
    return image


def find_meshes(root: Path, path: Path) -> tuple[Path, ...]:
    """Find the surfaces whose vertices a series has: midthickness, left and right.

    Parameters
    ----------
    root : Path
        Top of the derivatives.
    path : Path
        Series.

    Returns
    -------
    tuple of Path
        In ``anat`` of the participant, else the average ones in the folder of TemplateFlow where
        they are stored there; empty where none has as many vertices.
    """
    try:
        nvertices = read_models(path).nvertices
    except InputError:
        # The preflight check reports the file.
        return ()
    person = root / f"sub-{parse_entities(path)['sub']}"
    found = []
    for side, name in zip("LR", CORTEX, strict=True):
        own = sorted(person.glob(f"**/anat/{person.name}*_hemi-{side}_*midthickness.surf.gii"))
        own = [p for p in own if parse_entities(p).get("space") == SPACE]
        fitting = (p for p in (*own, *_average(side)) if _count(p) == nvertices.get(name))
        found.append(next(fitting, None))
    return tuple(path for path in found if path is not None) if all(found) else ()


def _average(side: str) -> list[Path]:
    """Return the average surfaces of one side that TemplateFlow has stored."""
    from templateflow import conf

    files = (Path(conf.TF_HOME) / f"tpl-{SPACE}").glob(
        f"tpl-{SPACE}_den-*_hemi-{side}_midthickness.surf.gii"
    )
    return sorted(file for file in files if file.stat().st_size)


def _count(path: Path) -> int:
    """Return the number of vertices; 0, which fits no series, of a file that cannot be read."""
    try:
        with explain_damage(str(path), "is not readable as GIFTI", "fetch or copy the file again"):
            return len(nib.load(path).agg_data("pointset"))
    except InputError:
        return 0


def map_name(path: Path) -> Path:
    """Return the CIFTI file that belongs to an image of the same map.

    Examples
    --------
    >>> map_name(Path("sub-1_space-fsLR_den-91k_stat-z_statmap.nii.gz")).name
    'sub-1_space-fsLR_den-91k_stat-z_statmap.dscalar.nii'
    """
    return path.with_name(path.name.split(".")[0] + ".dscalar.nii")


def save_maps(
    path: Path, values: np.ndarray, models: BrainModelAxis, metadata: dict[str, Any]
) -> list[Path]:
    """Write maps of all grayordinates as a CIFTI file beside their image.

    Parameters
    ----------
    path : Path
        Name of the image with the same values, whose sidecar goes for both files.
    values : ndarray, shape (n_grayordinates, 1, 1) or (n_grayordinates, 1, 1, n_maps)
    models : BrainModelAxis
    metadata : dict
        Content of the sidecar; its ``Labels`` name the maps.

    Returns
    -------
    list of Path
        The file alone.
    """
    maps = np.asarray(values, dtype=np.float32).reshape(len(values), -1)
    labels, n_maps = metadata.get("Labels"), maps.shape[1]
    # Of other maps it is a number.
    is_named = isinstance(labels, list) and len(labels) == n_maps
    names = labels if is_named else [f"map {k + 1}" for k in range(n_maps)]
    image = Cifti2Image(
        np.ascontiguousarray(maps.T), (ScalarAxis([str(name) for name in names]), models)
    )
    image.nifti_header.set_intent("NIFTI_INTENT_CONNECTIVITY_DENSE_SCALARS")
    target = map_name(path)
    with atomic_path(target) as temporary:
        temporary.write_bytes(image.to_bytes())
    return [target]
