"""Names of runs: unique run groups, and images that mean the same run."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import replace

from bids_decoder.bids.dataset import BoldRun
from bids_decoder.bids.layouts import natural_key
from bids_decoder.bids.notes import DatasetNotes
from bids_decoder.config import Execution
from bids_decoder.errors import ExitCode, Finding

GROUP_ENTITIES = ("acq", "ce", "rec", "dir", "echo", "part")


def identity(run: BoldRun) -> str:
    """Return the name of a run with all entities that can tell it from others."""
    extra = "".join(f"_{k}-{run.entities[k]}" for k in GROUP_ENTITIES if k in run.entities)
    return f"sub-{run.subject}_{replace(run, group_by=()).run_group}{extra}"


def name_groups(runs: list[BoldRun], notes: DatasetNotes) -> list[BoldRun]:
    """Make ``run_group`` unique within each participant."""
    by_person: dict[str, list[BoldRun]] = defaultdict(list)
    for run in runs:
        by_person[run.subject].append(run)
    named = []
    for person, own in by_person.items():
        counts = Counter(run.run_group for run in own)
        doubled = [run for run in own if counts[run.run_group] > 1]
        keys = tuple(
            key for key in GROUP_ENTITIES
            if len({run.entities.get(key) for run in doubled}) > 1
        )
        unique = [replace(run, group_by=keys) for run in own]
        counts = Counter(_without_zeros(run) for run in unique)
        for group in (group for group, count in counts.items() if count > 1):
            paths = [str(run.image_file) for run in unique if _without_zeros(run) == group]
            notes.findings.append(Finding(
                f"sub-{person} {group}: {len(paths)} images", f"they mean the same run: {paths}",
                "remove one of them or exclude it with --bids-filter-file", participant=person,
            ))
        named += sorted(unique, key=lambda run: natural_key(run.run_group))
    return named


def _without_zeros(run: BoldRun) -> str:
    """Return a name of a run that is the same for run-1 and run-01."""
    number = run.run.lstrip("0") or "0" if run.run else None
    return replace(run, run=number).run_group


def check_tasks(runs: list[BoldRun], execution: Execution, notes: DatasetNotes) -> None:
    """Report trials of several tasks that would be mixed."""
    tasks = Counter(run.task for run in runs)
    if len(tasks) > 1 and not execution.task_id:
        names = ", ".join(
            f"{task} ({count} run{'s' * (count > 1)})" for task, count in sorted(tasks.items())
        )
        notes.findings.append(Finding(
            "several tasks", f"trials of {names} would be mixed",
            f"choose with -t, for instance -t {tasks.most_common(1)[0][0]}; "
            "name several to decode them together", ExitCode.USAGE,
        ))
