"""The one place that writes images and tables: whole or not at all, same data same bytes."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pandas as pd

from bids_decoder.bids.names import sidecar_path
from bids_decoder.files import atomic_path, write_json

_MISSING = frozenset({"n/a", "", "nan", "NaN", "N/A"})


def save_nifti(
    path: Path,
    data: np.ndarray,
    affine: np.ndarray,
    *,
    t_r: float | None = None,
    metadata: dict[str, Any] | None = None,
) -> Path:
    """Write an image and, with *metadata*, its sidecar.

    Parameters
    ----------
    path : Path
        Ends in ``.nii.gz`` or ``.nii``.
    data : ndarray
        Boolean data become uint8, float64 becomes float32.
    affine : ndarray, shape (4, 4)
        Written as both q-form and s-form with code 1 (scanner).
    t_r : float or None
        Seconds between volumes, for 4-D images.
    metadata : dict or None
        Content of the JSON sidecar.
    """
    dtype = {np.dtype(bool): np.uint8, np.dtype(float): np.float32}.get(data.dtype, data.dtype)
    image = nib.Nifti1Image(np.asarray(data, dtype=dtype), affine)
    image.header.set_xyzt_units("mm", "sec")
    image.set_qform(affine, code=1)
    image.set_sform(affine, code=1)
    if t_r is not None:
        image.header.set_zooms((*image.header.get_zooms()[:3], t_r))
    with atomic_path(path) as temporary:
        temporary.write_bytes(_compressed(image, path))
    if metadata is not None:
        write_json(sidecar_path(path), metadata)
    return path


def _compressed(image: nib.Nifti1Image, path: Path) -> bytes:
    content = image.to_bytes()
    # No time stamp and no file name, so that equal data give equal bytes.
    return gzip.compress(content, compresslevel=4, mtime=0) if path.suffix == ".gz" else content


def save_table(path: Path, table: pd.DataFrame, metadata: dict[str, Any] | None = None) -> Path:
    """Write a TSV with ``n/a`` for missing values and, with *metadata*, its sidecar."""
    with atomic_path(path) as temporary:
        table.to_csv(
            temporary, sep="\t", index=False, na_rep="n/a", float_format="%.9g",
            lineterminator="\n", encoding="utf-8",
        )
    if metadata is not None:
        write_json(sidecar_path(path), metadata)
    return path


def read_table(path: Path) -> pd.DataFrame:
    """Read a TSV as text: any line ends, with or without BOM, spaces trimmed, ids never cast.

    Returns
    -------
    DataFrame
        All columns of text dtype (object); ``n/a``, empty and missing cells are None.
    """
    table = pd.read_csv(
        path, sep="\t", dtype=str, keep_default_na=False, encoding="utf-8-sig",
        skipinitialspace=True, index_col=False,
    )
    table.columns = [str(name).strip() for name in table.columns]
    for name in table.columns:
        cells = [str(cell).strip() for cell in table[name]]
        # Series.where would turn None into NaN.
        values = [None if cell in _MISSING else cell for cell in cells]
        table[name] = pd.Series(values, index=table.index, dtype=object)
    return table
