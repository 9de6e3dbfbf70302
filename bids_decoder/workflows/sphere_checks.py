"""Size of searchlights: what of it the plan refuses, for all analyses that search spheres."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from bids_decoder.bids.dataset import Participant
from bids_decoder.bids.map_files import read_layout
from bids_decoder.bids.series import rows_shape
from bids_decoder.errors import ExitCode, Finding
from bids_decoder.grids.base import Density
from bids_decoder.preprocessing.templates import OutputSpace
from bids_decoder.training.searchlight_settings import (
    LEAST_SHRINKAGE,
    LEAST_VOXELS,
    Searchlight,
)
from bids_decoder.trials import VoxelGrid
from bids_decoder.workflows.spaces import response_grid

MOST_VOXELS = 5000
"""Largest sphere: time grows with the square of its voxels, and a larger one is no place."""

N_MAPS = 100
"""Permuted maps, where --n-permutations does not say how many."""


def check_settings(settings: Searchlight) -> list[Finding]:
    """Check what a file of settings may hold although no option can say it."""
    shrinkage = settings.shrinkage
    problems = {
        "radius_mm": (settings.radius_mm is not None and not 0 < settings.radius_mm < np.inf,
                      "a radius above 0"),
        "n_voxels": (settings.n_voxels is not None and settings.n_voxels < LEAST_VOXELS,
                     f"a number of at least {LEAST_VOXELS}"),
        "shrinkage": (shrinkage is not None and not LEAST_SHRINKAGE <= shrinkage <= 1,
                      f"a number from {LEAST_SHRINKAGE:g} to 1"),
    }
    found = [
        Finding(f"[searchlight] {name}", f"is {getattr(settings, name)}", f"give {wanted}",
                ExitCode.USAGE)
        for name, (is_wrong, wanted) in problems.items() if is_wrong
    ]
    if settings.radius_mm is not None and settings.n_voxels is not None:
        found.append(Finding(
            "[searchlight]", f"has a radius ({settings.radius_mm:g} mm) and a number of voxels "
            f"({settings.n_voxels})", "give radius_mm or n_voxels", ExitCode.USAGE,
        ))
    return found


def check_grid(
    label: str, densities: Sequence[Density], settings: Searchlight
) -> list[Finding]:
    """Check the size of the spheres against the voxels of a participant.

    Parameters
    ----------
    label : str
        Of the participant.
    densities : sequence of Density
        From :func:`densities_of`.
    settings : Searchlight
    """
    what = f"sub-{label}: --searchlight {settings.word}"
    if not densities:
        return [Finding(
            what, "the voxels have no positions in a volume, and no surface is known, so that "
            "there are no voxels around a voxel",
            "leave the option out, or give images on the grid of the brain, or derivatives on "
            "surfaces with their meshes",
            participant=label,
        )]
    for density in densities:
        if settings.radius_mm is None:
            why = _wrong_number(settings.n_voxels or 0, density)
        else:
            why = _wrong_radius(settings.radius_mm, density)
        if why is not None:
            return [Finding(
                what, why, f"give a radius from {density.least_mm:.3g}mm to "
                f"{density.radius_of(MOST_VOXELS):.3g}mm, or from {LEAST_VOXELS}vox "
                f"to {min(MOST_VOXELS, density.n_voxels)}vox", ExitCode.USAGE,
                participant=label,
            )]
    return []


def densities_of(participant: Participant, space: OutputSpace) -> tuple[Density, ...]:
    """Measure the voxels, or vertices, of a participant; none where they have no positions."""
    series = participant.runs[0].bold_file
    if participant.has_layout and series is not None:
        shape = rows_shape(series)[:3]
        layout = read_layout(series, participant.meshes)
        return VoxelGrid(np.ones(shape, bool), np.eye(4), layout).geometry.densities
    grid = response_grid(participant, space)
    return VoxelGrid(np.ones(grid.shape[:3], dtype=bool), grid.affine).geometry.densities


def _wrong_radius(radius_mm: float, density: Density) -> str | None:
    if radius_mm < density.least_mm - 1e-4:
        return f"it reaches no other voxel: there are {density.words}"
    if radius_mm > density.radius_of(MOST_VOXELS):
        return f"more than {MOST_VOXELS} {density.words} are within this radius"
    return None


def _wrong_number(wanted: int, density: Density) -> str | None:
    if wanted > density.n_voxels:
        words = "vertices" if density.is_flat else "voxels"
        return f"the images have {density.n_voxels} {words} only"
    if wanted > MOST_VOXELS:
        return f"a sphere may have {MOST_VOXELS} voxels"
    return None
