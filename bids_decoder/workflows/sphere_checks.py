"""Size of searchlights: what of it the plan refuses, for all analyses that search spheres."""

from __future__ import annotations

from math import pi

import numpy as np

from bids_decoder.bids.dataset import Participant
from bids_decoder.errors import ExitCode, Finding
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
    participant: Participant, space: OutputSpace, settings: Searchlight
) -> list[Finding]:
    """Check the size of the spheres against the voxels of a participant."""
    grid = response_grid(participant, space)
    what = f"sub-{participant.label}: --searchlight {settings.word}"
    voxels = VoxelGrid(np.ones(grid.shape[:3], dtype=bool), grid.affine)
    if not voxels.has_geometry:
        return [Finding(
            what, f"the voxels have no positions in a volume (image grid {voxels.mask.shape}), so "
            "that there are no voxels around a voxel",
            "leave the option out, or give images on the grid of the brain (of derivatives on "
            "surfaces: a space of volumes, as --output-spaces T1w)",
            participant=participant.label,
        )]
    sizes = voxels.voxel_sizes
    if settings.radius_mm is None:
        why = _wrong_number(settings.n_voxels or 0, voxels.n_voxels)
    else:
        why = _wrong_radius(settings.radius_mm, sizes)
    if why is None:
        return []
    least, most = _useful_radii(sizes)
    return [Finding(
        what, why, f"give a radius from {least:.3g}mm to {most:.3g}mm, or from {LEAST_VOXELS}vox "
        f"to {min(MOST_VOXELS, voxels.n_voxels)}vox", ExitCode.USAGE,
        participant=participant.label,
    )]


def _useful_radii(sizes: np.ndarray) -> tuple[float, float]:
    """Return the radii of the smallest and the largest sphere that is searched."""
    return float(sizes.min()), float((MOST_VOXELS * sizes.prod() * 0.75 / pi) ** (1 / 3))


def _wrong_radius(radius_mm: float, sizes: np.ndarray) -> str | None:
    least, most = _useful_radii(sizes)
    shown = " × ".join(f"{size:.3g}" for size in sizes)
    if radius_mm < least - 1e-4:
        return f"no other voxel is within this radius: voxels measure {shown} mm"
    if radius_mm > most:
        return f"more than {MOST_VOXELS} voxels of {shown} mm are within this radius"
    return None


def _wrong_number(wanted: int, present: int) -> str | None:
    if wanted > present:
        return f"the images have {present} voxels only"
    if wanted > MOST_VOXELS:
        return f"a sphere may have {MOST_VOXELS} voxels"
    return None
