"""Make the plan of a call from its settings: data, split, finished and missing stages."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd

from bids_decoder import __version__
from bids_decoder.analyses.base import Analysis
from bids_decoder.analyses.jobs import Job, Notes, Step
from bids_decoder.analyses.registry import analyses, section_kinds
from bids_decoder.analyses.study import Study
from bids_decoder.bids.description import check_folder
from bids_decoder.bids.fingerprint import fingerprint
from bids_decoder.bids.places import check_places
from bids_decoder.bids.writer import save_table
from bids_decoder.cli.reading import read_frame, read_study
from bids_decoder.config import Settings, default_settings
from bids_decoder.errors import ExitCode, Finding
from bids_decoder.files import read_json, write_json
from bids_decoder.stimuli.encoders import encoder_name
from bids_decoder.trials import Decision, confounds_of, trial_columns
from bids_decoder.workflows.checks import with_known_names


@dataclass(frozen=True, eq=False)
class Plan:
    """Data that a call found, and the jobs that it will run.

    Parameters
    ----------
    study : Study
    jobs : tuple of Job
        Done or due, each after those that it uses.
    decisions : tuple of Decision
    findings : tuple of Finding
        Warnings.
    steps : tuple of Step
        Lines of the printed plan.
    record : dict
        Content of ``plan.json``.
    """

    study: Study
    jobs: tuple[Job, ...]
    decisions: tuple[Decision, ...]
    findings: tuple[Finding, ...]
    steps: tuple[Step, ...]
    record: dict[str, Any]

    @property
    def is_empty(self) -> bool:
        """Return whether every requested stage is done."""
        return not any(step.todo for step in self.steps)


def make_plan(settings: Settings, work_dir: Path) -> Plan:
    """Check all inputs and make all decisions, before anything is computed.

    Parameters
    ----------
    settings : Settings
    work_dir : Path

    Returns
    -------
    Plan

    Raises
    ------
    FindingsError
        With all problems at once.
    """
    settings, findings = with_known_names(settings)
    notes = Notes(findings)
    wanted = wanted_analyses(settings)
    notes.findings += _find_replaced(settings)
    for analysis in wanted:
        settings = analysis.resolve(settings, notes)
    notes.findings += check_places(settings)
    study = read_frame(settings, work_dir, notes)
    if study.dataset is not None:
        notes.findings += check_folder(study.output_dir, study.dataset)
    if any(analysis.reads_trials for analysis in wanted):
        study = _read(study, wanted, notes)
    for analysis in wanted:
        study = analysis.read(study, notes)
        with notes.noting_errors():
            analysis.check(study, notes)
    notes.stop_if_errors()
    jobs = collect_jobs(wanted, study, notes)
    notes.stop_if_errors()
    findings = tuple(dict.fromkeys(notes.findings))
    return Plan(
        study, tuple(jobs), tuple(notes.decisions), findings, _steps(jobs, notes),
        _record(wanted, study, notes.decisions, findings),
    )


def _read(frame: Study, wanted: Sequence[Analysis], notes: Notes) -> Study:
    """Read dataset and trials; where there are none, tell all problems that are seen without."""
    study = None
    with notes.noting_errors():
        study = read_study(frame, notes, scores=any(a.scores for a in wanted))
    if study is not None and study.trials is None:
        for analysis in wanted:
            with notes.noting_errors():
                analysis.check_without_trials(study, notes)
    if study is None or study.trials is None:
        notes.stop_if_errors()
    return study


def _find_replaced(settings: Settings) -> list[Finding]:
    """Find analyses that are asked for beside one that takes their place."""
    usual = default_settings(section_kinds())
    asked = [a for a in analyses() if a.is_asked_for(settings) and not a.is_asked_for(usual)]
    return [
        Finding(
            f"--{by.name} with options of '{analysis.name}'",
            f"'{by.name}' takes the place of stage {analysis.stage}", "use two calls",
            ExitCode.USAGE,
        )
        for by in asked for analysis in asked
        if analysis.stage in by.replaces
    ]


def wanted_analyses(settings: Settings) -> list[Analysis]:
    """Return the analyses of a call, each after those whose results it needs."""
    wanted = [analysis for analysis in analyses() if analysis.is_wanted(settings)]
    alone = [analysis for analysis in wanted if analysis.is_alone]
    replaced = {stage for analysis in wanted for stage in analysis.replaces}
    kept = [a for a in wanted if a.stage not in replaced]
    return alone or [a for a in analyses() if a in kept or a.is_basis]


def collect_jobs(wanted: Iterable[Analysis], study: Study, notes: Notes) -> list[Job]:
    """Return the jobs of all analyses, marking as due those whose results others read.

    Parameters
    ----------
    wanted : iterable of Analysis
        Each after those whose results it needs.
    study : Study
    notes : Notes

    Returns
    -------
    list of Job
    """
    jobs: list[Job] = []
    for analysis in wanted:
        made = {job.gives or job.name: job for job in jobs}
        jobs += analysis.jobs(study, notes, made)
    return with_used(jobs)


def with_used(jobs: Sequence[Job]) -> list[Job]:
    """Make jobs due whose intermediate results a due job reads.

    Parameters
    ----------
    jobs : sequence of Job
        Each after those that it uses.

    Returns
    -------
    list of Job
    """
    found: list[Job] = []
    users: dict[str, str] = {}
    for job in reversed(jobs):
        kept, user = job, users.get(job.gives)
        if user is not None and not job.is_due:
            why = f"what it fits is needed by {user}"
            kept = replace(job, stages=tuple(replace(stage, why=why) for stage in job.stages))
        if kept.is_due:
            users |= dict.fromkeys(job.uses, job.analysis)
        found.append(kept)
    return found[::-1]


def _steps(jobs: Iterable[Job], notes: Notes) -> tuple[Step, ...]:
    stages = [stage for job in jobs for stage in job.stages]
    steps = [Step(s.key.unit, s.key.stage, s.is_due, s.why or "done", s.locks) for s in stages]
    return (*steps, *notes.skipped)


def _record(
    wanted: Iterable[Analysis], study: Study, decisions: Iterable[Decision],
    findings: Iterable[Finding],
) -> dict[str, Any]:
    """Make the content of ``plan.json``: the same for every call with the same options."""
    content: dict[str, Any] = {"version": __version__}
    if study.trials is not None:
        build = study.trials.build
        content |= {
            "dataset": study.dataset.name, "source": study.dataset.source,
            "target_kind": build.target_kind, "stimulus_column": build.stimulus_column,
            "label_column": build.label_column, "value_columns": list(build.value_columns),
            "units": build.units, "trial_unit": build.trial_unit,
            "fingerprint": fingerprint(study.dataset, build), "split": study.split.to_dict(),
            "overlap": study.trials.overlap.to_dict(),
        }
        if build.target_kind == "image":
            # Also of a call that does not get as far as encoding: reports are written again.
            content["image_encoder"] = encoder_name(study.settings.trials.image_encoder)
        vectors = study.trials.vectors
        if build.target_kind == "features" and vectors is not None and vectors.are_words:
            content["text_encoder"] = vectors.record
    for analysis in wanted:
        content |= analysis.record(study)
    warnings = [f.record() for f in findings if f.severity == "warning"]
    return {**content, "decisions": [asdict(d) for d in decisions], "warnings": warnings}


def write_plan(plan: Plan) -> None:
    """Write ``plan.json`` and the planned trial tables that the nodes read."""
    study = plan.study
    if study.trials is not None:
        study.trials.pictures.save()
    path = study.output_dir / "plan.json"
    # As in JSON, where a tuple is a list.
    if not path.is_file() or read_json(path) != json.loads(json.dumps(plan.record)):
        write_json(path, plan.record)
    columns = list(trial_columns(study.targets.kind))
    for person in study.work.people.values():
        table = study.tables[person.label]
        for run_group, target in person.trials.items():
            rows = table.loc[table["run_group"] == run_group, columns]
            if not target.is_file():
                save_table(target, rows)
        if person.confounds is not None and not person.confounds.is_file():
            values = confounds_of(table)
            save_table(person.confounds, pd.concat([table[["run_group", "trial"]], values], axis=1))
