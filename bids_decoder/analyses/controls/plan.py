"""Plan of confounds: one job per participant."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from bids_decoder.analyses.jobs import Job, Notes
from bids_decoder.analyses.study import Study, job_name
from bids_decoder.errors import name_some
from bids_decoder.markers import StageKey
from bids_decoder.trials import (
    FROM_EVENTS,
    MEAN_SIGNAL,
    MOTION,
    TRIAL_ORDER,
    Decision,
    confound_columns,
    confounds_of,
    table_key,
)
from bids_decoder.workflows.confound_checks import counterbalanced
from bids_decoder.workflows.shared import has_motion
from bids_decoder.workflows.work import PersonWork

N_REFITS = 100
"""Permutations under cross-validation, where --n-permutations does not say how many."""


@dataclass(frozen=True, eq=False)
class ControlSpec:
    """The confounds of one participant.

    Parameters
    ----------
    person : PersonWork
    folds : tuple of int
        Folds of cross-validation; empty for a fixed split.
    names : tuple of str
        Confounds from which the target is decoded.
    n_refits : int
        Permutations under which all folds are fitted again.
    together : list of list of str
        Stimuli that folds do not separate.
    """

    person: PersonWork
    folds: tuple[int, ...]
    names: tuple[str, ...]
    n_refits: int
    together: list[list[str]]


def check(study: Study, notes: Notes) -> None:
    """Note which confounds are decoded from, and which are removed."""
    rules = study.settings.trials
    names = list(dict.fromkeys(
        name for person in study.chosen_people for name in _names(study, person)
    ))
    notes.decisions.append(Decision(
        "confounds", name_some(names, 8),
        "the target is decoded from each of them alone, on the split of the decoder",
    ))
    if rules.confound_removal == "regress":
        notes.decisions.append(Decision(
            "removed confounds", name_some(list(rules.controls), 8),
            "--confound-removal regress: fitted on the training trials of each fold",
        ))


def jobs(study: Study, notes: Notes, made: Mapping[str, Job]) -> list[Job]:
    """Return one job per participant."""
    del made
    notes.findings += study.region_findings
    found = []
    for person in study.chosen_people:
        names = _names(study, person)
        folds = study.folds(person.label)
        n_refits = study.settings.evaluation.count_refits(N_REFITS) if folds else 0
        together = study.split.options.get("together", [])
        spec = ControlSpec(person, folds, names, n_refits, together)
        stage = study.stage(_key(study, spec))
        found.append(Job(job_name("controls", person), "controls", (stage,), spec))
    return found


def _names(study: Study, person: PersonWork) -> tuple[str, ...]:
    """Return the confounds that are asked for, and those that are always looked at."""
    table = study.tables[person.label]
    used = ~table["excluded"].to_numpy(dtype=bool)
    varying = [
        name.removeprefix(FROM_EVENTS) for name in confound_columns(table)
        if table[name][used].nunique() > 1
    ]
    computed = [TRIAL_ORDER, MEAN_SIGNAL, *([MOTION] if has_motion(person.participant) else [])]
    return tuple(dict.fromkeys([*study.settings.trials.controls, *computed, *varying]))


def _key(study: Study, spec: ControlSpec) -> StageKey:
    settings, person = study.settings, spec.person
    content: dict[str, Any] = {
        "confounds": list(spec.names), "n_refits": spec.n_refits,
        "values": table_key(confounds_of(study.tables[person.label])),
        "removed": list(person.removed), "counterbalanced": list(counterbalanced(settings.trials)),
        "evaluation": asdict(settings.evaluation),
        "normalise": settings.glm.normalise, "seed": settings.random_seed,
        "targets": study.target_key, "betas": person.betas.key,
        "region": study.region_key(person),
    }
    return StageKey("controls", f"sub-{person.label}", content)
