"""Labels of vertices and grayordinates: FreeSurfer annotations, GIFTI and CIFTI label files."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from nibabel.cifti2 import BrainModelAxis, LabelAxis

from bids_decoder.bids.cifti import open_cifti
from bids_decoder.bids.label_files import LabelFile
from bids_decoder.errors import InputError, MissingInputError, explain_damage
from bids_decoder.grids.grayordinates import CORTEX, Grayordinates, find_rows
from bids_decoder.trials import VoxelGrid

NO_LABEL = -1
"""Of rows without a label; numbers of labels are from 0 on."""

_ANNOTATION, _CIFTI = ".annot", ".dlabel.nii"
_ENDS = (_ANNOTATION, ".gii", _CIFTI)
_EXTENSION = re.compile(r"(\.annot|(\.label|\.annot)?\.gii|\.dlabel\.nii)$")
_SIDES = ("lh", "rh")
_STRUCTURES = ("CortexLeft", "CortexRight")
_PRIMARY = "AnatomicalStructurePrimary"
_SPACE = re.compile(r"(?:^|_)(?:space|tpl)-([0-9A-Za-z]+)")
_AVERAGE = re.compile(r"(fsaverage|fsLR|onavg|civet)\d*\w?$", re.IGNORECASE)
_HEMI = re.compile(r"^(?P<fs>[lr]h)\.|(?:^|_)hemi-(?P<bids>[LR])_")
_BACKGROUND = re.compile(
    r"(.*[_-])?(unknown|corpuscallosum|\?\?\?)|.*medial[ ._-]?wall.*|background.*", re.IGNORECASE
)

_FIX = (
    "give labels on the surfaces of the responses (fsnative: label/ of the participant in the "
    "folder of FreeSurfer; fsaverage5: those of that folder), or resample them with "
    "mri_surf2surf or wb_command"
)

Labelled = tuple[np.ndarray, dict[int, str]]
"""Number of each row, and names by number."""


@dataclass(frozen=True, eq=False)
class RowLabels:
    """Labels of all vertices of both hemispheres, or of grayordinates.

    Parameters
    ----------
    path : Path
    parts : tuple of (ndarray of int64, dict of int to str)
        Label of each vertex of the left and of the right hemisphere, or of each grayordinate, and
        the names of the labels; :data:`NO_LABEL` where there is none.
    models : BrainModelAxis or None
        What the rows of a CIFTI file are.
    """

    path: Path
    parts: tuple[Labelled, ...]
    models: BrainModelAxis | None = None


def is_row_file(path: Path | str) -> bool:
    """Return whether a file holds labels of vertices or grayordinates, by its name."""
    return str(path).endswith(_ENDS)


def describe_row_file(path: Path) -> LabelFile:
    """Return what is known of a file of one hemisphere and the other one, or of CIFTI.

    Raises
    ------
    InputError
        When the name of a file of one hemisphere does not say which one.

    Examples
    --------
    >>> file = describe_row_file(Path("/fs/label/rh.aparc.annot"))
    >>> [path.name for path in file.stored_in], file.atlas
    (['lh.aparc.annot', 'rh.aparc.annot'], 'aparc')
    """
    stem = _EXTENSION.sub("", path.name)
    if path.name.endswith(_CIFTI):
        return LabelFile(path, _space_of(path), stem, None)
    left, right = (_of_side(path, side) for side in _SIDES)
    return LabelFile(left, _space_of(path), _HEMI.sub(_joint, stem), None, right)


def _space_of(path: Path) -> str | None:
    """Return the space that a name says, or the average participant of FreeSurfer's folder."""
    if found := _SPACE.search(path.name):
        return found[1]
    folder = path.parent.parent.name if path.parent.name == "label" else ""
    return folder if _AVERAGE.match(folder) else None


def check_surface(file: LabelFile, space: str) -> None:
    """Check that labels are not those of another average surface, as far as names say.

    Average surfaces may have as many vertices as another one (fsaverage and fsLR, 164k), which are
    at other places.

    Parameters
    ----------
    file : LabelFile
        From :func:`describe_row_file`.
    space : str
        Of the responses; empty where their name does not say.

    Raises
    ------
    InputError
    """
    there, here = (_AVERAGE.match(name or "") for name in (file.space, space))
    if not space or there is None or (here and here[1].casefold() == there[1].casefold()):
        return
    raise InputError(
        str(file.path), f"is on the surface {file.space} by its name or folder, and the responses "
        f"are on {space}", _FIX,
    )


def _joint(found: re.Match[str]) -> str:
    return "_" if found["bids"] and found.start() else ""


def _of_side(path: Path, side: str) -> Path:
    """Return the file of one hemisphere that belongs to a file of either."""
    found = _HEMI.search(path.name)
    if found is None:
        raise InputError(
            str(path), "its name does not say of which hemisphere it is",
            "name both files lh.NAME and rh.NAME, or with hemi-L and hemi-R",
        )
    kind = "fs" if found["fs"] else "bids"
    own = side if found["fs"] else side[0].upper()
    name = path.name[:found.start(kind)] + own + path.name[found.end(kind):]
    return path.with_name(name)


def read_row_labels(file: LabelFile) -> RowLabels:
    """Read the labels of both hemispheres, or of grayordinates.

    Parameters
    ----------
    file : LabelFile
        From :func:`describe_row_file`.

    Returns
    -------
    RowLabels
        Names that are in both hemispheres begin with ``lh_`` and ``rh_``. Vertices without an
        annotation, of the medial wall or of an unknown region have no label.

    Raises
    ------
    MissingInputError
        When a file is absent.
    InputError
        When a file cannot be read, holds no labels, or those of the other hemisphere.
    """
    if file.path.name.endswith(_CIFTI):
        own, models = _read_cifti(file.path)
        return RowLabels(file.path, (_without_background(file.path, own),), models)
    read = _read_annotation if file.path.name.endswith(_ANNOTATION) else _read_gifti
    found = [
        _without_background(path, read(path, structure))
        for path, structure in zip(file.stored_in, _STRUCTURES, strict=True)
    ]
    shared = set(found[0][1].values()) & set(found[1][1].values())
    return RowLabels(file.path, tuple(
        (values, {
            number: f"{side}_{name}" if name in shared else name for number, name in names.items()
        }) for side, (values, names) in zip(_SIDES, found, strict=True)
    ))


def _without_background(path: Path, labelled: Labelled) -> Labelled:
    """Leave out what is no region, and names that do not occur."""
    values, names = labelled
    kept = {int(number) for number in np.unique(values) if number >= 0}
    kept -= {number for number, name in names.items() if _BACKGROUND.fullmatch(name)}
    if not kept:
        raise InputError(
            str(path), "none of its vertices is in a named region", "give labels of regions",
        )
    values = np.where(np.isin(values, list(kept)), values, NO_LABEL)
    return values, {number: names.get(number, str(number)) for number in sorted(kept)}


def _read_annotation(path: Path, structure: str) -> Labelled:
    del structure  # annotations do not say it
    values, _, names = _try(path, nib.freesurfer.read_annot)
    return values.astype(np.int64), {k: name.decode() for k, name in enumerate(names)}


def _read_gifti(path: Path, structure: str) -> Labelled:
    image = _try(path, nib.load)
    if len(image.darrays) != 1:
        raise InputError(
            str(path), f"holds {len(image.darrays)} arrays of labels", "give one of them"
        )
    (array,) = image.darrays
    for told in (image.meta.get(_PRIMARY), array.meta.get(_PRIMARY)):
        if told in _STRUCTURES and told != structure:
            raise InputError(
                str(path), f"is of {told} by its {_PRIMARY}, and of {structure} by its name",
                "exchange the names of both files, if this is right, or correct the file",
            )
    names = image.labeltable.get_labels_as_dict()
    return _numbers(path, np.asarray(array.data).ravel(), names)


def _read_cifti(path: Path) -> tuple[Labelled, BrainModelAxis]:
    _check_there(path)
    image = open_cifti(path, LabelAxis)
    axis, models = (image.header.get_axis(k) for k in range(2))
    if len(axis) != 1:
        raise InputError(str(path), f"holds {len(axis)} maps of labels", "give one of them")
    names = {int(key): name for key, (name, _) in axis.label[0].items()}
    values = np.asarray(image.dataobj).ravel()
    return _numbers(path, values, names), models


def _numbers(path: Path, values: np.ndarray, names: dict[int, str]) -> Labelled:
    """Return labels as whole numbers; 0 is no label, as in images of labels."""
    found = np.rint(np.nan_to_num(values)).astype(np.int64)
    if not np.array_equal(found, values):
        raise InputError(
            str(path), "its values are not whole numbers, as labels are", "give labels of regions",
        )
    return np.where(found == 0, NO_LABEL, found), dict(names)


def _check_there(path: Path) -> None:
    if not path.is_file():
        raise MissingInputError(
            str(path), "there is no such file", "give the files of both hemispheres in one folder, "
            "or check the path",
        )


def _try(path: Path, read: Callable[[Path], Any]) -> Any:
    _check_there(path)
    with explain_damage(str(path), "is not readable as labels", "fetch or copy the file again"):
        return read(path)


def labels_on(labels: RowLabels, grid: VoxelGrid) -> list[Labelled]:
    """Bring labels to the rows of responses.

    Parameters
    ----------
    labels : RowLabels
    grid : VoxelGrid
        Of shape (n_rows, 1, 1).

    Returns
    -------
    list of (ndarray of int64, dict of int to str)
        Of all rows; :data:`NO_LABEL` outside. One for each hemisphere, or one in all.

    Raises
    ------
    InputError
        When they are labels of other vertices or grayordinates.
    """
    layout, n_rows = grid.layout, grid.mask.size
    sizes = [len(values) for values, _ in labels.parts]
    if labels.models is not None:
        if not isinstance(layout, Grayordinates):
            raise _other(labels, "it holds grayordinates, and the responses are vertices")
        try:
            rows = find_rows(layout.models, labels.models)
        except ValueError as error:
            raise _other(labels, str(error)) from error
    elif isinstance(layout, Grayordinates):
        wanted = [layout.models.nvertices.get(name, 0) for name in CORTEX]
        if sizes != wanted:
            raise _other(labels, f"{_say(sizes)} against {_say(wanted)} of the responses")
        rows = layout.vertices
    else:
        wanted = sizes if layout is None else [layout.n_left, n_rows - layout.n_left]
        if sizes != wanted or sum(sizes) != n_rows:
            shown = _say(wanted) if layout is not None else f"{n_rows} vertices"
            raise _other(labels, f"{_say(sizes)} against {shown} of the responses")
        rows = np.arange(n_rows)
    ends, found = np.cumsum([0, *sizes]), []
    for number, (values, names) in enumerate(labels.parts):
        whole = np.full(ends[-1] + 1, NO_LABEL, dtype=np.int64)
        whole[ends[number]:ends[number + 1]] = values
        # The last place is for rows without any, whose number is -1.
        found.append((whole[rows], names))
    return found


def _say(sizes: list[int]) -> str:
    return f"{sizes[0]} and {sizes[1]} vertices of the hemispheres"


def _other(labels: RowLabels, why: str) -> InputError:
    return InputError(
        str(labels.path), f"are labels of other vertices or grayordinates: {why}", _FIX,
    )
