"""BOLD on surfaces: pairs of GIFTI files, one for each hemisphere, and the meshes they are on.

Vertices of both hemispheres are joined, the left one first. An array of their values is kept as an
image of shape (n_vertices, 1, 1) or (n_vertices, 1, 1, n_volumes), like other responses without
positions in a volume; the mesh is what says which vertices are neighbours.
"""

from __future__ import annotations

import re
from functools import lru_cache
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np

from bids_decoder.bids.names import derivative_path, parse_entities, sidecar_path
from bids_decoder.errors import InputError, MissingInputError, explain_damage
from bids_decoder.files import atomic_path, write_json

_COUNTS = re.compile(rb"<DataArray\b[^>]*?Dim0=\"(\d+)\"", re.DOTALL)
_COPY = "fetch or copy the file again"
_PACKAGED = "fsaverage5"
OWN_SPACE = "fsnative"
"""Surface of a participant, whose vertices are nobody else's."""

_STRUCTURES = ("CortexLeft", "CortexRight")
_AFTER_HEMI = ("space-", "cohort-", "res-", "den-", "label-", "contrast-", "stat-", "desc-")


def is_surface(path: Path) -> bool:
    """Return whether a file is data on a surface."""
    return path.name.endswith(".gii")


def hemispheres(path: Path) -> tuple[Path, Path]:
    """Return the files of the left and the right hemisphere, of which *path* is the left one.

    fMRIPrep up to 20.2 writes ``space-fsaverage5_hemi-L``, later versions the other way round.
    """
    return path, path.with_name(path.name.replace("_hemi-L_", "_hemi-R_"))


def series_shape(path: Path) -> tuple[int, int, int, int]:
    """Return the shape of the joined series of both hemispheres, without decoding the data.

    Parameters
    ----------
    path : Path
        Of the left hemisphere.

    Raises
    ------
    MissingInputError
        When a hemisphere is absent.
    InputError
        When a file is no GIFTI series, or hemispheres differ in the number of volumes.
    """
    counts = []
    for side in hemispheres(path):
        if not side.is_file():
            raise MissingInputError(
                str(side), "the file of this hemisphere is not there",
                "copy both hemispheres from the derivatives",
            )
        state = side.stat()
        counts.append(_count(side, state.st_size, state.st_mtime_ns))
    (left, volumes), (right, others) = counts
    if volumes != others:
        raise InputError(
            str(path), f"{volumes} volumes, but {others} in the right hemisphere",
            "preprocess this run again",
        )
    return left + right, 1, 1, volumes


@lru_cache(maxsize=1 << 14)
def _count(path: Path, _size: int, _changed: int) -> tuple[int, int]:
    """Return the numbers of vertices and volumes of one hemisphere."""
    found = [int(number) for number in _COUNTS.findall(path.read_bytes())]
    if not found or len(set(found)) > 1:
        raise InputError(
            str(path), f"holds {len(found)} arrays of {sorted(set(found))} vertices: no series on "
            "one surface", "fetch or preprocess this run again",
        )
    return found[0], len(found)


def load_series(path: Path) -> nib.spatialimages.SpatialImage:
    """Load a BOLD series: a volume, or both hemispheres joined.

    Parameters
    ----------
    path : Path
        Image, or GIFTI file of the left hemisphere.

    Returns
    -------
    SpatialImage
        Of surfaces, shape (n_vertices, 1, 1, n_volumes), float32.

    Raises
    ------
    MissingInputError, InputError
        See :func:`series_shape`.
    """
    if not is_surface(path):
        return nib.load(path)
    series_shape(path)
    values = np.concatenate([_values(side) for side in hemispheres(path)])
    return nib.Nifti2Image(values[:, None, None, :], np.eye(4))


def _values(path: Path) -> np.ndarray:
    with explain_damage(str(path), "is not readable as GIFTI", _COPY):
        arrays = [array.data for array in nib.load(path).darrays]
        return np.stack(arrays, axis=1).astype(np.float32)


def save_hemispheres(
    path: Path, values: np.ndarray, n_left: int, metadata: dict[str, Any]
) -> list[Path]:
    """Write values at all vertices as two GIFTI files with sidecars.

    Parameters
    ----------
    path : Path
        Name of the image with the same values; the files have ``hemi`` in it, ``.func.gii`` at its
        end, and arrays that are all float32.
    values : ndarray, shape (n_vertices, 1, 1) or (n_vertices, 1, 1, n_maps)
    n_left : int
        Vertices of the left hemisphere.
    metadata : dict
        Content of the sidecars.

    Returns
    -------
    list of Path
        Left and right, each followed by its sidecar.
    """
    maps = np.asarray(values, dtype=np.float32).reshape(len(values), -1)
    written = []
    for target, structure, part in zip(
        hemisphere_names(path), _STRUCTURES, (maps[:n_left], maps[n_left:]), strict=True
    ):
        arrays = [
            nib.gifti.GiftiDataArray(column, intent="NIFTI_INTENT_NONE", datatype="float32")
            for column in np.ascontiguousarray(part.T)
        ]
        written += [_save(target, arrays, structure), write_json(sidecar_path(target), metadata)]
    return written


def hemisphere_names(path: Path) -> tuple[Path, Path]:
    """Return the GIFTI files of the left and right hemisphere that belong to an image.

    Examples
    --------
    >>> [path.name for path in hemisphere_names(Path("sub-1_task-see_space-a_stat-z_statmap.nii"))]
    ['sub-1_task-see_hemi-L_space-a_stat-z_statmap.func.gii', \
'sub-1_task-see_hemi-R_space-a_stat-z_statmap.func.gii']
    """
    entities = path.name.split(".")[0].split("_")
    at = next((k for k, part in enumerate(entities) if part.startswith(_AFTER_HEMI)),
              len(entities) - 1)
    left, right = (
        path.with_name("_".join([*entities[:at], f"hemi-{side}", *entities[at:]]) + ".func.gii")
        for side in "LR"
    )
    return left, right


def surface_names(path: Path) -> tuple[Path, Path]:
    """Return the files of the surfaces that a map is on, left and right.

    Parameters
    ----------
    path : Path
        Map of a participant, or of the group.
    """
    entities = parse_entities(path)
    key = "midthickness" if "sub" in entities else "group_midthickness"
    # The map is in <top>/[sub-<label>/][ses-<label>/]<folder>.
    top = path.parents[1 + ("sub" in entities) + ("ses" in entities)]
    own = {k: v for k, v in entities.items() if k in ("sub", "space", "cohort")}
    left, right = (derivative_path(top, key, hemi=side, **own) for side in "LR")
    return left, right


def read_surface(path: Path) -> tuple[np.ndarray, np.ndarray, int] | None:
    """Return the surfaces that a map is on as :func:`read_meshes` does; None where none are."""
    files = surface_names(path)
    return read_meshes(files) if all(file.is_file() for file in files) else None


def save_surfaces(
    targets: tuple[Path, Path], points: np.ndarray, triangles: np.ndarray, n_left: int
) -> list[Path]:
    """Write the joined surfaces of both hemispheres as two GIFTI files.

    Parameters
    ----------
    targets : tuple of Path
        Files of the left and the right hemisphere.
    points : ndarray, shape (n_vertices, 3)
        Millimetres; those of the left hemisphere first.
    triangles : ndarray of int, shape (n_triangles, 3)
    n_left : int
        Vertices of the left hemisphere.
    """
    is_left = triangles[:, 0] < n_left
    sides = ((points[:n_left], triangles[is_left]),
             (points[n_left:], triangles[~is_left] - n_left))
    return [
        _save(target, [
            nib.gifti.GiftiDataArray(places.astype(np.float32), "NIFTI_INTENT_POINTSET"),
            nib.gifti.GiftiDataArray(faces.astype(np.int32), "NIFTI_INTENT_TRIANGLE"),
        ], structure)
        for target, structure, (places, faces) in zip(targets, _STRUCTURES, sides, strict=True)
    ]


def _save(target: Path, arrays: list[nib.gifti.GiftiDataArray], structure: str) -> Path:
    meta = nib.gifti.GiftiMetaData({"AnatomicalStructurePrimary": structure})
    with atomic_path(target) as temporary:
        temporary.write_bytes(nib.GiftiImage(darrays=arrays, meta=meta).to_bytes())
    return target


def find_meshes(root: Path, path: Path) -> tuple[Path, ...]:
    """Find the meshes of a series: midthickness, else white and pial surfaces, of both sides.

    Parameters
    ----------
    root : Path
        Top of the derivatives.
    path : Path
        Series of the left hemisphere.

    Returns
    -------
    tuple of Path
        Left files, then as many right ones, to be averaged on each side; empty where there are
        none. For ``fsnative`` they are in ``anat`` of the participant, for ``fsaverage*`` in
        FreeSurfer's folder below ``sourcedata``; nilearn holds those of ``fsaverage5``.
    """
    entities = parse_entities(path)
    space, person = entities.get("space", ""), root / f"sub-{entities['sub']}"
    if space == OWN_SPACE:
        return _native_meshes(person)
    folder = root / "sourcedata" / "freesurfer" / space / "surf"
    for names in (("midthickness",), ("white", "pial")):
        found = [folder / f"{side}h.{name}" for side in "lr" for name in names]
        if all(file.is_file() for file in found):
            return tuple(found)
    if space == _PACKAGED:
        from nilearn.datasets import fetch_surf_fsaverage

        files = fetch_surf_fsaverage(_PACKAGED)
        return tuple(Path(files[f"{name}_{side}"]) for side in ("left", "right")
                     for name in ("white", "pial"))
    return ()


def _native_meshes(person: Path) -> tuple[Path, ...]:
    for names in (("midthickness",), ("white", "pial"), ("smoothwm",)):
        found = [
            sorted(person.glob(f"**/anat/{person.name}*_hemi-{side}_{name}.surf.gii"))
            for side in "LR" for name in names
        ]
        plain = [[p for p in files if "space" not in parse_entities(p)] for files in found]
        if all(plain):
            return tuple(files[0] for files in plain)
    return ()


def read_meshes(files: tuple[Path, ...]) -> tuple[np.ndarray, np.ndarray, int]:
    """Read meshes and join the hemispheres.

    Parameters
    ----------
    files : tuple of Path
        From :func:`find_meshes`.

    Returns
    -------
    points : ndarray, shape (n_vertices, 3)
        Millimetres, the mean of the surfaces of a side.
    triangles : ndarray of int, shape (n_triangles, 3)
    n_left : int
        Number of vertices of the left hemisphere, which come first.

    Raises
    ------
    InputError
        When a file cannot be read.
    """
    half = len(files) // 2
    sides = []
    for own in (files[:half], files[half:]):
        surfaces = [_surface(file) for file in own]
        sides.append((np.mean([points for points, _ in surfaces], axis=0), surfaces[0][1]))
    (left, first), (right, second) = sides
    return np.concatenate([left, right]), np.concatenate([first, second + len(left)]), len(left)


def _surface(file: Path) -> tuple[np.ndarray, np.ndarray]:
    with explain_damage(str(file), "is not readable as a surface", _COPY):
        if file.name.endswith((".gii", ".gii.gz")):
            points, triangles = nib.load(file).agg_data(("pointset", "triangle"))
        else:
            points, triangles = nib.freesurfer.read_geometry(file)
    return np.asarray(points, dtype=np.float64), np.asarray(triangles, dtype=np.intp)
