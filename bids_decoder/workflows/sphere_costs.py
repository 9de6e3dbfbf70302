"""Time of searchlights, in hours of one core, for all analyses that search spheres."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from bids_decoder.config import Settings
from bids_decoder.errors import ExitCode, Finding
from bids_decoder.grids.base import Density
from bids_decoder.training.searchlight_settings import Searchlight

BRAIN_MM3 = 1.84e6
"""Volume of a brain: 230,000 voxels of 2 mm. Its mask is unknown before images are made."""

MANY_HOURS = 4.0
"""From so many on, the plan warns."""

_VOXELS, _CLASSES = 250, 8
"""Sphere and number of labels of the measurements."""


@dataclass(frozen=True)
class Work:
    """What is computed in each sphere.

    Parameters
    ----------
    words : str
        The same in words, for a warning.
    fixed, repeated : float
        Milliseconds of one core in a sphere of 250 voxels: once, and for all permutations.
    """

    words: str
    fixed: float
    repeated: float


def label_work(table: pd.DataFrame, settings: Searchlight, n_permutations: int) -> Work:
    """Estimate the time of decoding labels in a sphere.

    Parameters
    ----------
    table : DataFrame
        Usable trials of a participant.
    settings : Searchlight
    n_permutations : int
        With which everything is fitted again under cross-validation; with a fixed split
        predictions stay, which takes no time.

    Returns
    -------
    Work
        From the times of ``benchmarks/searchlight.py`` (8 labels, 80 test trials).
    """
    n_folds = table["fold"].nunique()
    if not n_folds:
        n_folds, n_permutations = 1, 0
    labels = table["label"].nunique() / _CLASSES
    fixed, each = (0.15 * labels, 0.15) if settings.estimator == "gnb" else (0.65, 0.03)
    return Work(
        f"{n_folds} fold(s), {n_permutations} permutations", n_folds * fixed,
        n_folds * n_permutations * each * labels,
    )


def model_work(n_models: int, n_conditions: int, n_runs: int, n_permutations: int) -> Work:
    """Estimate the time of comparing models with distances in a sphere.

    Parameters
    ----------
    n_models, n_conditions, n_runs, n_permutations : int

    Returns
    -------
    Work
        From the times of ``benchmarks/rsa_search.py`` with 8, 40 and 100 conditions.
    """
    n_pairs = n_conditions * (n_conditions - 1) / 2
    return Work(
        f"{n_conditions} conditions in {n_runs} runs, {n_models} model(s), {n_permutations} "
        "permutations", 2.5 + 4.5e-5 * (n_conditions * n_runs) ** 2,
        2e-6 * n_models * n_permutations * n_pairs,
    )


def check_time(
    label: str, densities: Sequence[Density], settings: Settings, work: Work
) -> list[Finding]:
    """Warn of maps of a whole brain that take long.

    Parameters
    ----------
    label : str
        Of the participant.
    densities : sequence of Density
        From :func:`.sphere_checks.densities_of`.
    settings : Settings
        With spheres of a size that :func:`.sphere_checks.check_grid` accepts.
    work : Work
    """
    if settings.troi.region != "brain":
        return []
    size = settings.section(Searchlight)
    spheres = [
        (density.n_voxels if density.is_flat else min(density.n_voxels, BRAIN_MM3 / density.unit),
         size.n_voxels or density.count_within(size.radius_mm or 0))
        for density in densities
    ]
    products = sum(n_spheres * (n_voxels / _VOXELS) ** 2 for n_spheres, n_voxels in spheres)
    once, again = (products * part / 3.6e6 for part in (work.fixed, work.repeated))
    if once + again < MANY_HOURS:
        return []
    return [Finding(
        f"sub-{label}: --searchlight {size.word}",
        f"will take about {once + again:.0f} hours of one core, {again:.0f} of them for permuted "
        f"maps: {_shown(spheres)}, "
        f"{work.words}",
        "search a region (--region FILE), smaller spheres or larger voxels, or give fewer "
        "--n-permutations", ExitCode.USAGE, "warning", label,
    )]


def _shown(spheres: Sequence[tuple[float, float]]) -> str:
    return " and ".join(f"{count:,.0f} spheres of {size:.0f} voxels" for count, size in spheres)
