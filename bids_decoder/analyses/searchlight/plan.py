"""Plan of searchlights: what prevents them, and one job per participant."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass

import pandas as pd

from bids_decoder.analyses.jobs import Job, Notes
from bids_decoder.analyses.study import Study, job_name
from bids_decoder.bids.dataset import Participant
from bids_decoder.errors import ExitCode, Finding
from bids_decoder.markers import StageKey
from bids_decoder.training.searchlight_settings import Searchlight
from bids_decoder.trials import Decision
from bids_decoder.workflows.sphere_checks import (
    N_MAPS,
    check_grid,
    check_settings,
    densities_of,
)
from bids_decoder.workflows.sphere_costs import check_time, label_work
from bids_decoder.workflows.work import PersonWork


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


def check(study: Study, notes: Notes) -> None:
    """Note settings and data that allow no searchlight."""
    settings = study.settings.section(Searchlight)
    if settings.maps_models:
        notes.findings.append(Finding(
            "--stage searchlight --searchlight-estimator rsa",
            "maps of models are made by another stage", "ask for it: --stage prepare rsa",
            ExitCode.USAGE,
        ))
        return
    if not settings.is_wanted:
        notes.findings.append(Finding(
            "--stage searchlight", "no size of the spheres is given",
            "give one: --searchlight 8mm", ExitCode.USAGE,
        ))
        return
    if study.targets.kind != "category":
        notes.findings.append(Finding(
            f"--searchlight {settings.word}",
            f"spheres tell labels apart, and this call decodes {study.targets.kind}",
            "decode labels (--target category); maps of how well models fit the distances of "
            "patterns come from --searchlight-estimator rsa with --rsa, and maps of how well "
            "images or features predict single voxels from --encoder ridge", ExitCode.USAGE,
        ))
    notes.findings += check_settings(settings)
    for participant in study.roles.chosen:
        notes.findings += _check_participant(study, participant, settings)
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


def _check_participant(
    study: Study, participant: Participant, settings: Searchlight
) -> list[Finding]:
    densities = densities_of(participant, study.space)
    wrong = check_grid(participant.label, densities, settings)
    wrong += _check_labels(study, participant, settings)
    if wrong or study.targets.kind != "category":
        return wrong
    work = label_work(
        study.usable_trials(participant.label), settings,
        study.settings.evaluation.count_refits(N_MAPS),
    )
    return check_time(participant.label, densities, study.settings, work)


def _n_permutations(study: Study, folds: tuple[int, ...]) -> int:
    evaluation = study.settings.evaluation
    return evaluation.count_refits(N_MAPS) if folds else evaluation.n_permutations


def _key(study: Study, spec: SearchSpec) -> StageKey:
    settings, person = study.settings, spec.person
    return StageKey("searchlight", f"sub-{person.label}", {
        "searchlight": asdict(settings.section(Searchlight)),
        "n_permutations": spec.n_permutations,
        "normalise": settings.glm.normalise, "seed": settings.random_seed,
        "targets": study.target_key, "betas": person.responses_key,
        "region": study.region_key(person),
    })


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
