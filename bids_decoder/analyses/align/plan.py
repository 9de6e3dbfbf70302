"""Plan of functional alignment: who shares what with whom, one job per participant."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from bids_decoder.analyses.align.options import Alignment
from bids_decoder.analyses.fitting import decoded, job_of_decoder
from bids_decoder.analyses.jobs import Job, Notes
from bids_decoder.analyses.study import Study
from bids_decoder.config import REGIONS
from bids_decoder.errors import ExitCode, Finding, name_some
from bids_decoder.training.alignment import LEAST_SHARED, MOST_VOXELS
from bids_decoder.trials import KINDS, Decision
from bids_decoder.workflows.shared import BRAIN_SHARE
from bids_decoder.workflows.spaces import n_grid_voxels
from bids_decoder.workflows.work import PersonWork

N_REFITS = 100
"""Permutations under cross-validation, where --n-permutations does not say how many."""

_FIX = "name participants that share them, or leave --alignment out"


@dataclass(frozen=True, eq=False)
class AlignSpec:
    """The alignment to one participant.

    Parameters
    ----------
    person : PersonWork
    folds : tuple of int
        Folds of cross-validation; empty for a fixed split.
    sources : tuple of PersonWork
        Participants whose trials are aligned.
    methods : tuple of str
    n_refits : int
        Permutations under which everything is estimated again.
    card : mapping
        What the pretrained decoder saw of what is decoded.
    """

    person: PersonWork
    folds: tuple[int, ...]
    sources: tuple[PersonWork, ...]
    methods: tuple[str, ...]
    n_refits: int
    card: Mapping[str, Any]


@dataclass(frozen=True)
class _Shared:
    """What a participant shares with the others, in the fold where it is least.

    Parameters
    ----------
    others : tuple of str
        All who may be aligned.
    sources : tuple of str
        Those who share enough.
    n_common : int
        Targets that all of *sources* share with the participant.
    """

    others: tuple[str, ...]
    sources: tuple[str, ...]
    n_common: int


def check(study: Study, notes: Notes) -> None:
    """Note targets that nobody shares, and participants who share too few."""
    kind = study.targets.kind
    if kind == "value":
        notes.findings.append(Finding(
            "--alignment", "people are aligned by labels or stimuli that they share, and this call "
            "decodes values", "leave the option out", ExitCode.USAGE,
        ))
        return
    if study.split.kind == "stimulus-folds":
        notes.findings.append(Finding(
            "--alignment", "all stimuli are tested, in folds, and the others would be trained on "
            "the stimuli of each", "prescribe a test set with --split-column or --test-runs, or "
            "leave the option out", ExitCode.USAGE,
        ))
        return
    found = {p.label: _find_shared(study, p.label) for p in study.roles.chosen}
    notes.findings += [*_find_problems(study, found), *_find_large(study)]
    if found:
        notes.decisions.append(_decide(study, found))


def _find_shared(study: Study, label: str) -> _Shared:
    least = LEAST_SHARED[KINDS[study.targets.kind].over_runs]
    people = study.roles.sources or study.roles.chosen
    others = tuple(p.label for p in people if p.label != label)
    own, ids = _fold_ids(study, label), {other: _training_ids(study, other) for other in others}
    sources = tuple(
        other for other in others if min(len(fold & ids[other]) for fold in own) >= least
    )
    common = set.intersection(*(ids[source] for source in sources)) if sources else set()
    return _Shared(others, sources, min(len(fold & common) for fold in own))


def _fold_ids(study: Study, label: str) -> list[set[str]]:
    """Return the targets of the training trials of each fold."""
    table, folds = study.usable_trials(label), study.folds(label)
    ids = table[KINDS[study.targets.kind].column]
    if not folds:
        return [_training_ids(study, label)]
    return [set(ids[(table["fold"] != fold).fillna(True)]) for fold in folds]


def _training_ids(study: Study, label: str) -> set[str]:
    """Return the targets of all trials on which nothing is tested by a fixed split."""
    table = study.usable_trials(label)
    return set(table[KINDS[study.targets.kind].column][table["split"] != "test"])


def _find_problems(study: Study, found: Mapping[str, _Shared]) -> list[Finding]:
    """Return one finding for each kind of problem, with all participants who have it."""
    over_runs = KINDS[study.targets.kind].over_runs
    least, noun = LEAST_SHARED[over_runs], "labels" if over_runs else "training stimuli"
    alone = [label for label, shared in found.items() if not shared.others]
    lacking = [label for label, one in found.items() if one.others and not one.sources]
    partly = [label for label, one in found.items() if one.sources and one.sources != one.others]
    apart = [
        label for label, one in found.items() if one.sources and one.n_common < least
    ] if "srm" in study.settings.section(Alignment).methods else []
    problems = {
        "there is no other participant whose trials could be aligned":
            (alone, "run both levels, or name more participants", "error"),
        f"no other participant shares {least} {noun} with their training trials":
            (lacking, _FIX, "warning" if len(lacking) < len(found) else "error"),
        f"participants who share fewer than {least} {noun} with their training trials are left "
        "out": (partly, _FIX, "warning"),
        f"srm: fewer than {least} {noun} are shared by all participants":
            (apart, "use procrustes, which aligns two participants at a time", "error"),
    }
    return [
        Finding(
            f"--alignment of {len(labels)} participant(s): {name_some(labels)}", why, fix,
            ExitCode.BAD_DATA, severity,
        )
        for why, (labels, fix, severity) in problems.items() if labels
    ]


def _find_large(study: Study) -> list[Finding]:
    """Find responses of whole brains, which optimal transport has no room for."""
    wanted = "ot" in study.settings.section(Alignment).methods
    if not wanted or study.settings.troi.region not in REGIONS:
        # How many voxels a mask has on the grid of the responses is counted when they are read.
        return []
    involved = {person.label: person for person in (*study.roles.chosen, *study.roles.sources)}
    large = [
        label for label, person in involved.items()
        if BRAIN_SHARE * n_grid_voxels(person, study.space) > MOST_VOXELS
    ]
    return [Finding(
        f"--alignment ot of {len(large)} participant(s): {name_some(large)}",
        f"their responses have more voxels than the {MOST_VOXELS} between which a transport plan "
        "is computed", "give a mask of a smaller region (--region), or use procrustes or srm",
        ExitCode.USAGE,
    )] if large else []


def _decide(study: Study, found: Mapping[str, _Shared]) -> Decision:
    label, shared = next(iter(found.items()))
    noun = "labels" if KINDS[study.targets.kind].over_runs else "training stimuli"
    methods = ", ".join(study.settings.section(Alignment).methods)
    return Decision(
        "functional alignment", f"{methods}; sub-{label}: {len(shared.sources)} others, "
        f"{shared.n_common} shared {noun}",
        "estimated from mean responses to shared targets in the training trials of each fold; no "
        "test trial is used",
    )


def jobs(study: Study, notes: Notes, made: Mapping[str, Job]) -> list[Job]:
    """Return one job per decoded participant who shares targets with others."""
    if study.targets.kind == "value" or study.split.kind == "stimulus-folds":
        return []
    made_here = []
    for person, decode in decoded(study, made):
        job = _job(study, person, decode)
        if job is None:
            notes.skip(f"sub-{person.label}", "align", "shares too little with the others")
        else:
            made_here.append(job)
    return made_here


def _job(study: Study, person: PersonWork, decode: Job) -> Job | None:
    settings, folds = study.settings, study.folds(person.label)
    methods = tuple(dict.fromkeys(settings.section(Alignment).methods))
    sources = tuple(study.people[one] for one in _find_shared(study, person.label).sources)
    if not sources:
        return None
    n_refits = settings.evaluation.count_refits(N_REFITS) if folds else 0
    spec = AlignSpec(person, folds, sources, methods, n_refits, decode.card)
    return job_of_decoder(
        study, "align", person, decode, spec, methods=list(methods), n_refits=n_refits,
        sources={source.label: source.responses_key for source in sources},
    )
