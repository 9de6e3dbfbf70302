"""Maps of searchlights as files: between nodes, and as outputs of a participant."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from bids_decoder.bids.names import OutputName
from bids_decoder.evaluation.search_maps import SearchMaps
from bids_decoder.evaluation.statistics import ALPHA
from bids_decoder.interfaces.person_outputs import PersonOutputs
from bids_decoder.training.searchlight_settings import Searchlight
from bids_decoder.training.spheres import Spheres

MAPS = {
    "accuracy": "Balanced accuracy of held-out trials, decoded from the sphere around the voxel",
    "crossnobis": "Mean crossnobis distance of all pairs of labels in the sphere around the "
                  "voxel, per voxel",
    "whitenedcorrelation": "Whitened correlation of the model with the crossnobis distances in "
                           "the sphere around the voxel",
    "tfce": "Threshold-free cluster enhancement of the distance from chance, in standard errors",
    "logp": "Minus log10 of the permutation p-value of the sphere alone, not corrected",
    "logpmax": "Minus log10 of the p-value corrected for all {tests}, by the largest value",
    "logptfce": "Minus log10 of the p-value corrected for all {tests}, after cluster enhancement",
}
"""What each ``stat`` holds."""


def save_maps(path: Path, maps: SearchMaps) -> Path:
    """Save maps for another node."""
    np.savez(path, **{name: value for name, value in vars(maps).items() if value is not None})
    return path


def read_maps(path: Path) -> SearchMaps:
    """Read what :func:`save_maps` saved."""
    with np.load(path, allow_pickle=False) as content:
        found = dict(content)
    return SearchMaps(**{name: found.get(name) for name in SearchMaps.__dataclass_fields__})


def write_maps(
    outputs: PersonOutputs, key: str | OutputName, maps: SearchMaps, spheres: Spheres, main: str,
    card: dict[str, Any], *, tests: str = "spheres", **entities: str,
) -> None:
    """Write the images of one map, and of its p-values.

    Parameters
    ----------
    outputs : PersonOutputs
    key : str or OutputName
    maps : SearchMaps
    spheres : Spheres
    main : str
        Value of ``stat`` of the map itself.
    card : dict
        Goes into all sidecars.
    tests : str
        What p-values are corrected for, in words.
    **entities : str
        Further entities of the names.
    """
    values = {main: maps.values}
    if maps.tfce is not None:
        values["tfce"] = maps.tfce
    for stat, p in (("logp", maps.p), ("logpmax", maps.p_max), ("logptfce", maps.p_tfce)):
        if p is not None:
            values[stat] = np.abs(np.log10(p))
    for stat, found in values.items():
        volume = spheres.grid.to_volume(found.astype(np.float32))
        outputs.image(key, volume, spheres.grid, {
            "Description": MAPS[stat].format(tests=tests), **card, "SkullStripped": True,
            "TrainingTrialsOnly": False, **outputs.space,
        }, stat=stat, **entities)


def write_mask(outputs: PersonOutputs, key: str | OutputName, spheres: Spheres) -> None:
    """Write which voxels are the centre of a sphere: a map may be 0 there, too."""
    grid = spheres.grid
    outputs.image(key, grid.mask.astype(np.uint8), grid, {
        "Type": "ROI", "Description": "Voxels that are the centre of a sphere.",
        "Spheres": grid.n_voxels, **outputs.space,
    })


def describe_maps(maps: SearchMaps, spheres: Spheres, settings: Searchlight) -> dict[str, Any]:
    """Return what sidecars of all searchlights say of spheres and significance."""
    sizes, n_permutations = spheres.sizes(), len(maps.null_max)
    card: dict[str, Any] = {
        "Measure": settings.measure, "Estimator": settings.estimator, "Radius": settings.radius_mm,
        "VoxelsPerSphere": int(np.median(sizes)), "Spheres": len(sizes),
        "Chance": float(maps.chance), "Permutations": n_permutations,
    }
    if settings.radius_mm is None:
        del card["Radius"]
    card["Grid"] = spheres.grid.geometry.kind
    if n_permutations:
        card["SignificantMax"] = int((maps.p_max <= ALPHA).sum())
        card["SignificantTFCE"] = int((maps.p_tfce <= ALPHA).sum())
    return card


def peak_distance(settings: Searchlight, spheres: Spheres) -> float:
    """Return the least distance of two peaks: spheres that hardly share voxels."""
    if settings.radius_mm is not None:
        return settings.radius_mm
    radii = [part.radius_of(settings.n_voxels) for part in spheres.grid.geometry.densities]
    return round(max(radii), 3)
