"""Plan of decoding in regions: what prevents it, and one job per participant."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from bids_decoder.analyses.jobs import Job, Notes
from bids_decoder.analyses.study import Study, job_name
from bids_decoder.errors import ExitCode, Finding, name_some
from bids_decoder.interfaces.regions import PlacedLabels
from bids_decoder.markers import StageKey
from bids_decoder.training.region_settings import Regions
from bids_decoder.trials import Decision
from bids_decoder.workflows.atlas_checks import check_words
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


def check_without_trials(study: Study, notes: Notes) -> None:
    """Note atlases that no participant can have."""
    notes.findings += check_words(study.atlases.words)


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
    notes.findings += study.atlas_check.findings
    notes.decisions.append(_decide(settings, study.atlas_check.words))


def jobs(study: Study, notes: Notes, made: Mapping[str, Job]) -> list[Job]:
    """Return one job per participant."""
    del made
    notes.findings += study.region_findings
    study.say_first_fold("regions", notes)
    found = []
    for person in study.chosen_people:
        first, folds = study.first_fold(person.label), study.folds(person.label)
        folds = (first,) if first else folds
        evaluation = study.settings.evaluation
        is_crossed = len(folds) > 1
        n_permutations = (
            evaluation.count_refits(N_REFITS) if is_crossed else evaluation.n_permutations
        )
        spec = RegionSpec(person, folds, n_permutations, tuple(study.atlases.place(person)))
        stage = study.stage(_key(study, spec))
        found.append(Job(job_name("regions", person), "regions", (stage,), spec))
    return found


def _key(study: Study, spec: RegionSpec) -> StageKey:
    settings, person = study.settings, spec.person
    return StageKey("regions", f"sub-{person.label}", {
        "estimator": settings.section(Regions).estimator,
        "labels": study.atlases.describe(person, study.digest),
        "n_permutations": spec.n_permutations, "evaluation": asdict(settings.evaluation),
        "normalise": settings.glm.normalise, "seed": settings.random_seed,
        "targets": study.target_key, "betas": person.responses_key,
        "region": study.region_key(person),
    })


def _decide(settings: Regions, known: str) -> Decision:
    shown = name_some([Path(word).name for word in settings.atlases])
    return Decision(
        "regions", shown, f"{known}; {settings.estimator} for labels, ridge for images and "
        "features, on trials, folds, z-scores and permutations of the decoder; corrected for all "
        "regions by the largest value",
    )
