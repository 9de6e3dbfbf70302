"""Plan of preparation: preprocessing and single-trial responses of each participant."""

from __future__ import annotations

from collections.abc import Mapping

from bids_decoder.analyses.jobs import Job, Notes
from bids_decoder.analyses.study import Study, job_name
from bids_decoder.bids.echo_settings import MultiEcho
from bids_decoder.bids.echoes import check_library
from bids_decoder.bids.timing import OUTSIDE
from bids_decoder.errors import ExitCode, Finding
from bids_decoder.workflows.checks import check_steps
from bids_decoder.workflows.work import PersonWork


def check_without_trials(study: Study, notes: Notes) -> None:
    """Note a library for echoes that is absent."""
    if study.settings.execution.wants("prepare"):
        notes.findings += check_library(study.involved, study.settings.section(MultiEcho))


def check(study: Study, notes: Notes) -> None:
    """Note problems with the input of the steps of preparation."""
    decisions, findings = check_steps(study.involved, study.tables, study.settings)
    notes.decisions += decisions
    # That trials of these runs have no response would follow from it only.
    outside = {found.place for found in notes.findings if found.what.endswith(OUTSIDE)}
    notes.findings += [found for found in findings if found.place not in outside]
    contrasts = study.settings.glm.contrasts
    if study.dataset.source == "betas" and contrasts:
        notes.findings.append(Finding(
            f"--contrasts {' '.join(map(repr, contrasts))}", "the input is a beta series, and "
            "contrasts are mapped by a GLM of BOLD runs",
            "leave the option out, or give the BOLD runs: raw data, or -d fmriprep=PATH",
            ExitCode.USAGE,
        ))
    check_without_trials(study, notes)


def jobs(study: Study, notes: Notes, made: Mapping[str, Job]) -> list[Job]:
    """Return one job per participant whose responses are read."""
    del made
    return [_job(study, person, notes) for person in study.people.values()]


def _job(study: Study, person: PersonWork, notes: Notes) -> Job:
    wanted = study.settings.execution.wants("prepare")
    keys = [key for key in (person.preprocess, person.betas) if key is not None]
    stages = tuple(study.stage(key, wanted) for key in keys)
    if not wanted and stages[-1].why is not None:
        notes.findings.append(Finding(
            f"sub-{person.label}", "its single-trial responses are not there or not current",
            f"run 'participant --participant-label {person.label} --stage prepare' first",
            ExitCode.MISSING_INPUT, participant=person.label,
        ))
    return Job(job_name("prepare", person), "prepare", stages, person)
