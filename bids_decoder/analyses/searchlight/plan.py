"""Plan of searchlights: what prevents them, and one job per participant."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from math import pi

import numpy as np
import pandas as pd

from bids_decoder.analyses.jobs import Job, Notes
from bids_decoder.analyses.searchlight.options import LEAST_VOXELS
from bids_decoder.analyses.study import Study, job_name
from bids_decoder.bids.dataset import Participant
from bids_decoder.errors import ExitCode, Finding
from bids_decoder.markers import StageKey
from bids_decoder.training.searchlight_settings import LEAST_SHRINKAGE, Searchlight
from bids_decoder.trials import Decision, VoxelGrid
from bids_decoder.workflows.spaces import response_grid
from bids_decoder.workflows.work import PersonWork

MOST_VOXELS = 5000
"""Largest sphere: time grows with the square of its voxels, and a larger one is no place."""

N_REFITS = 100
"""Permutations under cross-validation, where --n-permutations does not say how many."""


@dataclass(frozen=True, eq=False)
class SearchSpec:
    """The searchlight of one participant.

    Parameters
    ----------
    person : PersonWork
    folds : tuple of int
        Folds of cross-validation; empty for a fixed split.
    n_permutations : int
    """

    person: PersonWork
    folds: tuple[int, ...]
    n_permutations: int

    @property
    def is_crossed(self) -> bool:
        """Whether several folds are tested."""
        return bool(self.folds)


def check(study: Study, notes: Notes) -> None:
    """Note settings and data that allow no searchlight."""
    settings = study.settings.section(Searchlight)
    if not settings.is_wanted:
        notes.findings.append(Finding(
            "--stage searchlight", "no size of the spheres is given",
            "give one: --searchlight 8mm", ExitCode.USAGE,
        ))
        return
    if study.targets.kind != "category":
        notes.findings.append(Finding(
            f"--searchlight {_shown(settings)}",
            f"spheres tell labels apart, and this call decodes {study.targets.kind}",
            "decode labels (--target category); maps of how well images or features predict "
            "single voxels come from --encoder ridge", ExitCode.USAGE,
        ))
    notes.findings += _check_settings(settings)
    for participant in study.roles.chosen:
        notes.findings += _check_grid(study, participant, settings)
        notes.findings += _check_labels(study, participant, settings)
    notes.decisions.append(_decide(study, settings))


def jobs(study: Study, notes: Notes, made: Mapping[str, Job]) -> list[Job]:
    """Return one job per participant."""
    del made
    notes.findings += study.region_findings
    found = []
    for person in study.chosen_people:
        folds = study.folds(person.label)
        spec = SearchSpec(person, folds, _n_permutations(study, folds))
        stage = study.stage(_key(study, spec))
        found.append(Job(job_name("searchlight", person), "searchlight", (stage,), spec))
    return found


def _n_permutations(study: Study, folds: tuple[int, ...]) -> int:
    evaluation = study.settings.evaluation
    return evaluation.count_refits(N_REFITS) if folds else evaluation.n_permutations


def _key(study: Study, spec: SearchSpec) -> StageKey:
    settings, person = study.settings, spec.person
    return StageKey("searchlight", f"sub-{person.label}", {
        "searchlight": asdict(settings.section(Searchlight)),
        "n_permutations": spec.n_permutations,
        "normalise": settings.glm.normalise, "seed": settings.random_seed,
        "targets": study.target_key, "betas": person.responses_key, "region": study.region_key,
    })


def _shown(settings: Searchlight) -> str:
    if settings.radius_mm is not None:
        return f"{settings.radius_mm:g}mm"
    return f"{settings.n_voxels}vox"


def _check_settings(settings: Searchlight) -> list[Finding]:
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


def _check_grid(study: Study, participant: Participant, settings: Searchlight) -> list[Finding]:
    """Check the size of the spheres against the voxels of a participant."""
    grid = response_grid(participant, study.space)
    what = f"sub-{participant.label}: --searchlight {_shown(settings)}"
    voxels = VoxelGrid(np.ones(grid.shape[:3], dtype=bool), grid.affine)
    if not voxels.has_geometry:
        return [Finding(
            what, f"the voxels have no positions in a volume (image grid {voxels.mask.shape}), so "
            "that there are no voxels around a voxel",
            "leave the option out, or give images on the grid of the brain",
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


def _check_labels(study: Study, participant: Participant, settings: Searchlight) -> list[Finding]:
    """Check that the trials allow what the estimator estimates."""
    if study.targets.kind != "category":
        return []
    table = study.usable_trials(participant.label)
    checks = {"gnb": _without_variance, "crossnobis": _without_pairs}
    why = checks[settings.estimator](table) if settings.estimator in checks else None
    if why is None:
        return []
    return [Finding(
        f"sub-{participant.label}: --searchlight-estimator {settings.estimator}", why,
        "use lda or ridge", participant=participant.label,
    )]


def _without_variance(table: pd.DataFrame) -> str | None:
    """Return which label has no variance within training trials of a fold."""
    held_out = table[table["fold"].notna()].groupby(["label", "fold"]).size()
    most = held_out.groupby("label").max()
    left = table.groupby("label").size().sub(most, fill_value=0)
    few = sorted(str(name) for name in left.index[left < 2])
    return f"{few[0]} has fewer than 2 training trials in a fold, and no variance" if few else None


def _without_pairs(table: pd.DataFrame) -> str | None:
    """Return which run has no pair of labels whose distance can be measured."""
    per_run = table[table["split"] != "train"].groupby("run_group")["label"].nunique()
    alone = per_run.index[per_run < 2]
    if not len(alone):
        return None
    return f"{alone[0]} has trials of one label only, and no difference of labels to validate"


def _decide(study: Study, settings: Searchlight) -> Decision:
    shrunk = "none" if settings.estimator == "gnb" else (
        f"{settings.shrinkage:g}" if settings.shrinkage is not None
        else "estimated without labels from the training trials of each fold (Ledoit and Wolf)"
    )
    return Decision(
        "searchlight", f"{settings.size}, {settings.estimator}",
        f"trials, folds, z-scores and permutations of the decoder; shrinkage: {shrunk}; corrected "
        "for all spheres by the largest value of permuted maps, as it is and after cluster "
        "enhancement",
    )
