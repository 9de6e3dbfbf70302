"""Plan of statistics over participants: whose results, related to which columns."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from bids_decoder.analyses.jobs import Job, Notes
from bids_decoder.analyses.population.collect import (
    SOURCES,
    people_with_results,
    read_marker,
)
from bids_decoder.analyses.population.columns import Column, read_columns, wanted_columns
from bids_decoder.analyses.population.maps import KINDS
from bids_decoder.analyses.population.options import Population
from bids_decoder.analyses.population.rsa import REGIONS
from bids_decoder.analyses.study import Study, job_name
from bids_decoder.errors import Finding, name_some
from bids_decoder.files import content_key
from bids_decoder.markers import StageKey, difference

STAGES = tuple(dict.fromkeys([*(one.stage for one in (*SOURCES, *KINDS)), REGIONS]))
"""Stages of participants whose results are read."""

_OWN = ("betas", "pretrained", "region", "targets", "folds")
"""Entries in keys of decoding that may differ between participants."""


@dataclass(frozen=True, eq=False)
class PopulationSpec:
    """Statistics over some participants.

    Parameters
    ----------
    people : tuple of str
        Labels.
    columns : tuple of Column
    waits_for : tuple of (str, str)
        Name of the job and stage of results that this call may still have to make.
    """

    people: tuple[str, ...]
    columns: tuple[Column, ...]
    waits_for: tuple[tuple[str, str], ...]


def check(study: Study, notes: Notes) -> None:
    """Note columns that are misspelt, constant or incomplete."""
    people = sorted({*_from_before(study), *_of_this_call(study)})
    settings = study.settings.section(Population)
    notes.findings += read_columns(study.dataset.root, settings, people)[1]


def jobs(study: Study, notes: Notes, made: Mapping[str, Job]) -> list[Job]:
    """Return the one job of the dataset, where two participants have results."""
    if not _is_complete(study):
        return []
    own = _jobs_of_people(study, made)
    people = tuple(sorted({*_from_before(study), *(label for label, _, _ in own)}))
    settings = study.settings.section(Population)
    if len(people) < 2:
        if study.settings.execution.stage or wanted_columns(settings):
            notes.skip("group", "population", "fewer than two participants have results")
        return []
    keys = _results(study, people, own)
    notes.findings += _check_settings(study, people, own)
    columns, _ = read_columns(study.dataset.root, settings, people)
    key = StageKey("population", "group", {
        "results": keys, "seed": study.settings.random_seed,
        "columns": content_key([asdict(column) for column in columns]),
    })
    waits = tuple((job.name, stage) for _, stage, job in own)
    return [Job(
        "population_wf", "population", (study.stage(key, locks=False),),
        PopulationSpec(people, tuple(columns), waits),
    )]


def _is_complete(study: Study) -> bool:
    """Return whether the call is about several participants.

    The tasks of a job array are not: the group level comes after them.
    """
    execution = study.settings.execution
    return (
        "group" in execution.analysis_level or "population" in execution.stage
        or len(study.roles.chosen) > 1
    )


def record(study: Study) -> dict[str, Any]:
    """Return the columns that options name, for ``plan.json``."""
    wanted = wanted_columns(study.settings.section(Population))
    return {"population": wanted} if wanted else {}


def _of_this_call(study: Study) -> list[str]:
    """Return the participants that this call decodes, before its jobs are known."""
    if not study.settings.execution.wants("decode", "encode"):
        return []
    return [participant.label for participant in study.roles.chosen]


def _from_before(study: Study) -> list[str]:
    """Return the participants of the dataset with results on disk.

    ``--stage population --participant-label`` chooses among them; elsewhere these labels say whom
    the call decodes or pretrains on.
    """
    execution = study.settings.execution
    known = {participant.label for participant in study.dataset.participants}
    if execution.stage == ("population",) and execution.participant_label:
        known &= set(execution.participant_label)
    return [label for label in people_with_results(study.output_dir) if label in known]


def _jobs_of_people(study: Study, made: Mapping[str, Job]) -> list[tuple[str, str, Job]]:
    """Return label, stage and job of the results of participants in this call."""
    found = []
    for person in study.chosen_people:
        jobs = {"decode": made.get(f"decoder/{person.label}")}
        jobs |= {
            stage: made.get(job_name(stage, person)) for stage in STAGES if stage != "decode"
        }
        found += [
            (person.label, stage, job) for stage, job in jobs.items() if job is not None
        ]
    return found


def _finished(
    study: Study, people: Sequence[str], stages: Sequence[str]
) -> list[tuple[str, str]]:
    """Return participants and stages that have a done marker, of those given."""
    names = {path.name for path in (study.output_dir / "logs" / "done").glob("sub-*.json")}
    pairs = ((label, stage) for label in people for stage in stages) if names else ()
    return [(label, stage) for label, stage in pairs if f"sub-{label}_{stage}.json" in names]


def _results(
    study: Study, people: Sequence[str], own: Sequence[tuple[str, str, Job]]
) -> dict[str, dict[str, str]]:
    """Return the keys of all results, by participant and stage."""
    keys: dict[str, dict[str, str]] = {label: {} for label in people}
    for label, stage in _finished(study, people, STAGES):
        marker = read_marker(study.output_dir, label, stage)
        if marker:
            keys[label][stage] = str(marker.get("key"))
    for label, stage, job in own:
        keys[label][stage] = job.key.key
    return keys


def _check_settings(
    study: Study, people: Sequence[str], own: Sequence[tuple[str, str, Job]]
) -> list[Finding]:
    """Warn when some participants were decoded with other settings than most."""
    settings: dict[str, dict[str, Any]] = {label: {} for label in people}
    for label, stage in _finished(study, people, ("decode",)):
        settings[label] = read_marker(study.output_dir, label, stage).get("components", {})
    settings |= {label: job.key.components for label, stage, job in own if stage == "decode"}
    shared = {
        label: {name: value for name, value in content.items() if name not in _OWN}
        for label, content in settings.items() if content
    }
    kinds = {label: content_key(content) for label, content in shared.items()}
    if len(set(kinds.values())) < 2:
        return []
    usual = Counter(kinds.values()).most_common(1)[0][0]
    first = next(label for label, kind in kinds.items() if kind == usual)
    others = [label for label, kind in kinds.items() if kind != usual]
    return [Finding(
        f"statistics over participants: {len(others)} of {len(people)} were decoded with other "
        "settings than the others",
        f"{name_some([f'sub-{label}' for label in others])} differ in "
        f"{difference(shared[first], shared[others[0]])}",
        "decode all participants with the same settings, or choose some with --stage population "
        "--participant-label", severity="warning",
    )]
