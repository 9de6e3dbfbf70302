"""Plan of decoding in regions: what prevents it, and one job per participant."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bids_decoder.analyses.jobs import Job, Notes
from bids_decoder.analyses.study import Study, job_name
from bids_decoder.errors import ExitCode, Finding, name_some
from bids_decoder.interfaces.regions import PlacedLabels
from bids_decoder.markers import StageKey
from bids_decoder.preprocessing.labels import MIN_VOXELS, Region, split_regions
from bids_decoder.training.region_settings import Regions
from bids_decoder.trials import Decision, VoxelGrid
from bids_decoder.workflows.atlases import AtlasPlan
from bids_decoder.workflows.spaces import response_grid
from bids_decoder.workflows.work import PersonWork

N_REFITS = 100
"""Permutations under cross-validation, where --n-permutations does not say how many."""


@dataclass(frozen=True, eq=False)
class RegionSpec:
    """The regions of one participant.

    Parameters
    ----------
    person : PersonWork
    folds : tuple of int
        Folds of cross-validation; empty for a fixed split.
    n_permutations : int
    placed : tuple of PlacedLabels
        Label files, and how to find their voxels.
    """

    person: PersonWork
    folds: tuple[int, ...]
    n_permutations: int
    placed: tuple[PlacedLabels, ...]


def check(study: Study, notes: Notes) -> None:
    """Note atlases and data that allow no decoding in regions."""
    settings = study.settings.section(Regions)
    if not settings.atlases:
        notes.findings.append(Finding(
            "--stage regions", "no atlas is given", "give one: --regions aparcaseg, a label file, "
            "or an atlas of TemplateFlow", ExitCode.USAGE,
        ))
        return
    if study.targets.kind == "value":
        notes.findings.append(Finding(
            f"--regions {' '.join(settings.atlases)}",
            "regions decode labels, images or features, and this call decodes values",
            "leave it out; --region decodes values from one region", ExitCode.USAGE,
        ))
    atlases = atlas_plan(study)
    small: list[Region] = []
    counts: list[int] = []
    for person in study.chosen_people:
        finding = _check_grid(study, person)
        regions, findings = ([], [finding]) if finding else atlases.check(person)
        notes.findings += findings
        large, few = split_regions(regions)
        small += few
        counts += [len(large)] if regions else []
    notes.decisions.append(_decide(settings, counts, small))


def jobs(study: Study, notes: Notes, made: Mapping[str, Job]) -> list[Job]:
    """Return one job per participant."""
    del made
    notes.findings += study.region_findings
    atlases, found = atlas_plan(study), []
    for person in study.chosen_people:
        folds = study.folds(person.label)
        evaluation = study.settings.evaluation
        n_permutations = evaluation.count_refits(N_REFITS) if folds else evaluation.n_permutations
        spec = RegionSpec(person, folds, n_permutations, tuple(atlases.place(person)))
        stage = study.stage(_key(study, spec))
        found.append(Job(job_name("regions", person), "regions", (stage,), spec))
    return found


def atlas_plan(study: Study) -> AtlasPlan:
    """Return the atlases of the call."""
    settings = study.settings
    return AtlasPlan(
        settings.section(Regions).atlases, study.output_dir, settings.preprocessing.output_spaces
    )


def _key(study: Study, spec: RegionSpec) -> StageKey:
    settings, person = study.settings, spec.person
    return StageKey("regions", f"sub-{person.label}", {
        "estimator": settings.section(Regions).estimator,
        "labels": [_content(study, one, person.source) for one in spec.placed],
        "n_permutations": spec.n_permutations, "evaluation": asdict(settings.evaluation),
        "normalise": settings.glm.normalise, "seed": settings.random_seed,
        "targets": study.target_key, "betas": person.responses_key, "region": study.region_key,
    })


def _content(study: Study, placed: PlacedLabels, source: str) -> dict[str, Any]:
    """Return what a label file holds, and the transforms to it, by content."""
    file = placed.file
    return {
        "atlas": file.atlas, "image": study.digest(file.path),
        "table": None if file.table is None else study.digest(file.table),
        # Preprocessing makes the same transforms from the same inputs, which are in other keys.
        "pulls": [
            (pull.path.name if source == "raw" else study.digest(pull.path), pull.is_inverted)
            for pull in placed.pulls
        ],
    }


def _check_grid(study: Study, person: PersonWork) -> Finding | None:
    """Return why voxels of a participant have no place in an atlas."""
    grid = response_grid(person.participant, study.space)
    voxels = VoxelGrid(np.ones(grid.shape[:3], dtype=bool), grid.affine)
    if voxels.has_geometry:
        return None
    return Finding(
        f"sub-{person.label}: --regions", "the voxels have no positions in a volume (image grid "
        f"{voxels.mask.shape}), so that no region can be found in them",
        "leave the option out, or give images on the grid of the brain",
        participant=person.label,
    )


def _decide(settings: Regions, counts: list[int], small: list[Region]) -> Decision:
    shown = name_some([Path(word).name for word in settings.atlases])
    known = "counted when their transforms have been made"
    if counts:
        known = f"{min(counts)} regions" if min(counts) == max(counts) else \
            f"{min(counts)} to {max(counts)} regions in each participant"
    few = sorted({region.name for region in small})
    left = f"; fewer than {MIN_VOXELS} voxels, left out: {name_some(few)}" if few else ""
    return Decision(
        "regions", shown, f"{known}{left}; {settings.estimator} for labels, ridge for images and "
        "features, on trials, folds, z-scores and permutations of the decoder; corrected for all "
        "regions by the largest value",
    )
