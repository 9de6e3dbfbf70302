"""Images of labels and their tables of names, as BIDS derivatives and TemplateFlow have them."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import nibabel as nib
import numpy as np

from bids_decoder.bids.images import read_header
from bids_decoder.bids.names import parse_entities, suffix_of
from bids_decoder.bids.writer import read_table
from bids_decoder.errors import InputError, MissingInputError, explain_damage
from bids_decoder.released.bdpy_files import read_region, region_place

FUNC = "func"
"""Space of the BOLD reference."""

_OWN_GRID = ("", "func", "boldref", "bold", "run")
_MOST_LABELS = 10_000
_MOST_COUNTED = 1 << 20
_FOLDERS_UP = 4


@dataclass(frozen=True)
class LabelFile:
    """An image of labels.

    Parameters
    ----------
    path : Path
    space : str or None
        ``func``, ``T1w`` or the name of a template; None where the name of the file does not say
        it: then that of the responses.
    atlas : str
        What it is called in tables.
    table : Path or None
        Names of labels.
    right : Path or None
        Of labels of vertices: the file of the right hemisphere; *path* is that of the left one.
    """

    path: Path
    space: str | None
    atlas: str
    table: Path | None
    right: Path | None = None

    @property
    def stored_in(self) -> tuple[Path, ...]:
        """The files on disk: the image, both hemispheres, or the file of bdpy with the region."""
        place = region_place(self.path)
        own = self.path if place is None else place[0]
        return (own,) if self.right is None else (own, self.right)


def describe_file(path: Path) -> LabelFile:
    """Return what the name of a label file says.

    Examples
    --------
    >>> file = describe_file(Path("/roi/tpl-MNI152NLin6Asym_atlas-X_dseg.nii.gz"))
    >>> file.space, file.atlas
    ('MNI152NLin6Asym', 'tpl-MNI152NLin6Asym_atlas-X_dseg')
    >>> describe_file(Path("/out/sub-01/anat/sub-01_desc-aparcaseg_dseg.nii.gz")).space
    'T1w'
    """
    entities = parse_entities(path)
    space = entities.get("space", entities.get("tpl"))
    if space is None and path.parent.name == "anat":
        # Anatomical derivatives without the entity are in the space of the T1w image.
        space = "T1w"
    if space is not None:
        space = own_space(space)
    return LabelFile(path, space, stem_of(path), find_label_table(path))


def own_space(space: str) -> str:
    """Return one name for all that mean the grid of BOLD runs.

    Examples
    --------
    >>> [own_space(space) for space in ("", "boldref", "T1w")]
    ['func', 'func', 'T1w']
    """
    return FUNC if space in _OWN_GRID else space


def stem_of(path: Path) -> str:
    """Return the name of an image without its extension."""
    return re.sub(r"\.nii(\.gz)?$", "", path.name)


def read_labels(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Read an image of labels or a mask, or a region of a file of bdpy.

    Parameters
    ----------
    path : Path
        Regions of bdpy are ``FILE/ROI_NAME``.

    Returns
    -------
    labels : ndarray of int64, shape (i, j, k)
    affine : ndarray, shape (4, 4)

    Raises
    ------
    MissingInputError
        When the file is absent, or its content.
    InputError
        When it cannot be read, or is not one volume of whole numbers.
    """
    if (place := region_place(path)) is not None:
        labels, affine = read_region(*place)
        _check_values(path, labels)
        return labels, affine
    if not path.is_file() and not path.is_symlink():
        raise MissingInputError(str(path), "there is no such file", "check the path")
    header = read_header(path)
    with explain_damage(str(path), "cannot be read", "fetch the file again"):
        values = np.asanyarray(nib.load(path).dataobj)
    values = values.reshape(values.shape[:3]) if values.size == np.prod(values.shape[:3]) \
        else values
    if values.ndim != 3:
        raise InputError(
            str(path), f"shape {values.shape}: not one volume",
            "give a 3-D image of whole numbers, or a mask; threshold a probabilistic atlas before",
        )
    _check_values(path, values)
    return np.rint(values).astype(np.int64), header.affine


def label_values(labels: np.ndarray) -> list[int]:
    """List the labels in an image, without 0."""
    if labels.min() >= 0 and labels.max() < _MOST_COUNTED:
        # Much faster than sorting the voxels of a T1w image.
        found = np.flatnonzero(np.bincount(labels.ravel()))
    else:
        found = np.unique(labels)
    return [int(value) for value in found if value != 0]


def _check_values(path: Path, values: np.ndarray) -> None:
    whole = values.dtype.kind in "iub" or (
        np.isfinite(values).all() and np.allclose(values, np.rint(values), rtol=0, atol=1e-3)
    )
    if not whole:
        raise InputError(
            str(path), "its values are not whole numbers, as labels are",
            "give an image of whole numbers, or a mask; threshold a probabilistic map before",
        )
    n_labels = len(label_values(np.rint(values).astype(np.int64)))
    if not 0 < n_labels <= _MOST_LABELS:
        raise InputError(
            str(path), f"holds {n_labels:,} labels other than 0",
            f"give an image with 1 to {_MOST_LABELS:,} labels",
        )


def label_names(file: LabelFile, labels: Iterable[int]) -> dict[int, str]:
    """Return the names of the labels of a file.

    Parameters
    ----------
    file : LabelFile
    labels : iterable of int
        Those that occur, without 0.

    Returns
    -------
    dict of int to str
        From its table; the only label of a mask without one is called like the file, other
        labels by their numbers.

    Raises
    ------
    InputError
        When the table cannot be read or lacks a column.
    """
    present = sorted(labels)
    known = {} if file.table is None else read_label_table(file.table)
    if not known and len(present) == 1:
        return {present[0]: _mask_name(file.path)}
    return {label: known.get(label, str(label)) for label in present}


def _mask_name(path: Path) -> str:
    """Return the name of the region in a mask file.

    Examples
    --------
    >>> _mask_name(Path("sub-01_hemi-L_label-V1_mask.nii.gz")), _mask_name(Path("ffa.nii"))
    ('V1 L', 'ffa')
    """
    entities = parse_entities(path)
    parts = [entities[key] for key in ("label", "hemi", "desc") if key in entities]
    return " ".join(parts) if "label" in entities else stem_of(path)


def read_label_table(path: Path) -> dict[int, str]:
    """Read a table with the columns ``index`` and ``name``, as BIDS has it for ``dseg``.

    Raises
    ------
    InputError
        When it cannot be read, lacks a column, or an index is no whole number.
    """
    fix = "give a TSV with the columns index (the number in the image) and name"
    try:
        table = read_table(path)
    except (OSError, ValueError) as error:
        raise InputError(str(path), f"cannot be read as a table of labels: {error}", fix) from error
    lacking = [name for name in ("index", "name") if name not in table]
    if lacking:
        raise InputError(
            str(path), f"has no column {' and no column '.join(lacking)}; its columns are "
            f"{', '.join(map(str, table))}", fix,
        )
    rows = table[["index", "name"]].dropna()
    try:
        numbers = [int(text) for text in rows["index"]]
    except ValueError as error:
        raise InputError(str(path), f"an index is no whole number: {error}", fix) from error
    return dict(zip(numbers, rows["name"].tolist(), strict=True))


def find_label_table(path: Path) -> Path | None:
    """Find the table of names of an image: beside it, or inherited from folders above.

    Parameters
    ----------
    path : Path

    Returns
    -------
    Path or None
        The file of the same name with the extension ``.tsv``, or else the one with most of the
        entities of the image and no others, in its folder or those above within the dataset.
    """
    beside = path.with_name(f"{stem_of(path)}.tsv")
    if beside.is_file():
        return beside
    own, suffix = parse_entities(path), suffix_of(path)
    for folder in list(path.parents)[:_FOLDERS_UP]:
        fitting = [
            table for table in sorted(folder.glob(f"*_{suffix}.tsv"))
            if parse_entities(table) and parse_entities(table).items() <= own.items()
        ]
        if fitting:
            return max(fitting, key=lambda table: len(parse_entities(table)))
        if (folder / "dataset_description.json").is_file():
            break
    return None
