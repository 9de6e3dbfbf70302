"""Maps of participants in one standard space, read for statistics over participants."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import nibabel as nib
import numpy as np

from bids_decoder.agreement import same_grid
from bids_decoder.analyses.population.collect import find_outputs
from bids_decoder.bids.map_files import read_layout_of_map, read_rows_key
from bids_decoder.bids.names import parse_entities
from bids_decoder.bids.surfaces import OWN_SPACE
from bids_decoder.errors import name_some
from bids_decoder.evaluation.statistics import ALPHA
from bids_decoder.preprocessing.templates import OutputSpace
from bids_decoder.reports.results import sidecar_of
from bids_decoder.trials import VoxelGrid

_PLACE = ("space", "cohort", "res", "den")


@dataclass(frozen=True)
class MapKind:
    """One kind of map of participants.

    Parameters
    ----------
    stage : str
        The stage that leaves it.
    key : str
        Key of :data:`bids_decoder.bids.names.NAMES`.
    stat : str or None
        Value of the entity ``stat``, where the key leaves it open.
    title : str
        In words.
    is_mask : bool
        Whether it says which voxels were selected; otherwise it holds values that are 0, or the
        chance level in the sidecar, without information about the labels.
    level : float
        Values above it are selected.
    mask : str or None
        Key of the image that says where the map has values, 0 among them; None where 0 says that
        there is none.
    """

    stage: str
    key: str
    stat: str | None
    title: str
    is_mask: bool
    level: float = 0.0
    mask: str | None = None


# Maps hold minus log10 of p in single precision.
_SIGNIFICANT = float(-np.log10(ALPHA)) - 1e-6

KINDS = (
    MapKind("decode", "troi_mask", None, "Voxels that the decoder selected", True),
    MapKind("encode", "encoder_mask", None, "Voxels that the encoding model predicts best", True),
    MapKind("encode", "encoder_map", "correlation", "Accuracy of the encoding model", False,
            mask="encoder_map_mask"),
    MapKind("searchlight", "search_map", "accuracy",
            "Accuracy of the searchlight above chance", False, mask="search_mask"),
    MapKind("searchlight", "search_map", "crossnobis",
            "Crossnobis distance of the searchlight", False, mask="search_mask"),
    MapKind("searchlight", "search_map", "logp",
            "Spheres with p ≤ .05 in a participant, not corrected", True, _SIGNIFICANT),
    MapKind("rsasearch", "rsa_search_map", "whitenedcorrelation",
            "Whitened correlation of a model with the distances of the searchlight", False,
            mask="rsa_search_mask"),
    MapKind("rsasearch", "rsa_search_map", "logp",
            "Spheres in which a model has p ≤ .05 in a participant, not corrected", True,
            _SIGNIFICANT),
)


@dataclass(frozen=True, eq=False)
class MapSet:
    """Maps of one kind of several participants on one grid.

    Parameters
    ----------
    kind : MapKind
    entities : dict
        space, res, label, that all files share.
    people : tuple of str
        Labels.
    values : ndarray, shape (n_participants, n_voxels)
        Voxels of *grid*, or vertices of a standard surface: those where some participant has a
        value; NaN where one has none.
        Chance is subtracted.
    grid : VoxelGrid
    """

    kind: MapKind
    entities: dict[str, str]
    people: tuple[str, ...]
    values: np.ndarray
    grid: VoxelGrid


def read_maps(output_dir: Path, people: Sequence[str]) -> tuple[list[MapSet], list[str]]:
    """Read the maps that several participants have in the same standard space.

    Parameters
    ----------
    output_dir : Path
    people : sequence of str
        Labels.

    Returns
    -------
    maps : list of MapSet
    notes : list of str
        What was left out and why, one sentence each.
    """
    maps, notes = [], []
    for kind in KINDS:
        files: dict[tuple[tuple[str, str], ...], dict[str, _Files]] = {}
        own: list[str] = []
        without: list[str] = []
        for label in people:
            stat = {} if kind.stat is None else {"stat": kind.stat}
            for path in find_outputs(output_dir, label, kind.stage, kind.key, **stat):
                names = _shared_names(path)
                mask = _mask_of(output_dir, label, kind, path)
                if names is None:
                    own.append(label)
                elif kind.mask is not None and mask is None:
                    without.append(label)
                else:
                    files.setdefault(names, {})[label] = _Files(path, mask)
        if own:
            notes.append(
                f"{kind.title}: maps of {name_some([f'sub-{p}' for p in dict.fromkeys(own)])} are "
                "in the participant's own space, where voxels of different participants do not "
                "correspond (--output-spaces MNI152NLin2009cAsym makes maps in a standard space)."
            )
        if without:
            notes.append(
                f"{kind.title}: {name_some([f'sub-{p}' for p in dict.fromkeys(without)])} left "
                f"out, without the mask of stage {kind.stage}, which says where the map has values "
                "(results of an earlier version: run that stage again)."
            )
        for names, paths in files.items():
            found, note = _read_set(kind, dict(names), paths)
            maps += [] if found is None else [found]
            notes += [] if note is None else [note]
    return maps, notes


class _Files(NamedTuple):
    """A map, and where it has values if another file says so."""

    map: Path
    mask: Path | None


def _mask_of(output_dir: Path, label: str, kind: MapKind, path: Path) -> Path | None:
    """Return the mask of a map, of the same stage and in the same space; None without one."""
    if kind.mask is None:
        return None
    entities = parse_entities(path)
    names = {name: entities[name] for name in _PLACE if name in entities}
    return next(iter(find_outputs(output_dir, label, kind.stage, kind.mask, **names)), None)


def _shared_names(path: Path) -> tuple[tuple[str, str], ...] | None:
    """Return space, cohort, res and label of a map; None in a participant's own space."""
    entities = parse_entities(path)
    space = entities.get("space", "func")
    if space == OWN_SPACE or not OutputSpace(space).is_template:
        return None
    return tuple((name, entities[name]) for name in (*_PLACE, "label") if name in entities)


def _read_set(
    kind: MapKind, entities: dict[str, str], files: dict[str, _Files]
) -> tuple[MapSet | None, str | None]:
    """Read maps on the most frequent grid."""
    paths = {label: found.map for label, found in files.items()}
    images = {label: nib.load(path) for label, path in paths.items()}
    grids = {label: (image.shape, image.affine) for label, image in images.items()}
    rows = {label: read_rows_key(path) for label, path in paths.items()}
    kept = max((
        [label for label in paths if rows[label] == rows[one] and same_grid(grids[label], grid)]
        for one, grid in grids.items()
    ), key=len)
    others = [f"sub-{label}" for label in paths if label not in kept]
    note = None
    if others:
        note = (f"{kind.title}: {name_some(others)} left out, on another grid of "
                f"{entities['space']}, or with other grayordinates.")
    if len(kept) < 2:
        return None, note
    volumes = np.stack([
        _values(images[label], 0.0 if kind.is_mask else _chance(paths[label]), files[label].mask)
        for label in kept
    ])
    grid = VoxelGrid(
        np.isfinite(volumes).any(axis=0), images[kept[0]].affine,
        read_layout_of_map(paths[kept[0]]),
    )
    if not grid.mask.any():
        return None, note
    return MapSet(kind, entities, tuple(kept), volumes[:, grid.mask], grid), note


def _chance(path: Path) -> float:
    return float(sidecar_of(path).get("Chance") or 0.0)


def _values(image: nib.Nifti1Image, chance: float, mask: Path | None) -> np.ndarray:
    """Return a map without its chance level; NaN where it has no value."""
    data = np.asarray(image.dataobj, np.float32)
    known = data != 0 if mask is None else np.asarray(nib.load(mask).dataobj) > 0
    return np.where(known, data - chance, np.nan)
