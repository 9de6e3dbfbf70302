"""Runs that the options for session, task and run select."""

from __future__ import annotations

from pathlib import Path

from bids_decoder.bids.dataset import BoldRun
from bids_decoder.bids.layouts import natural_key, same_label, strip_prefix
from bids_decoder.bids.notes import DatasetNotes
from bids_decoder.config import Execution
from bids_decoder.errors import ExitCode, Finding, has_errors


def restrict(runs: list[BoldRun], execution: Execution, notes: DatasetNotes) -> list[BoldRun]:
    """Keep the selected runs; where none is left, report those that exist."""
    wanted = _wanted_labels(execution)
    kept = [run for run in runs if is_selected(run, execution)]
    if not kept and not has_errors(notes.findings):
        there = {
            name: sorted({getattr(run, name) for run in runs} - {None}, key=natural_key)
            for name in wanted
        }
        chosen = "; ".join(f"{name}: {' '.join(ls)}" for name, ls in wanted.items() if ls)
        exists = "; ".join(f"{name}: {' '.join(ls)}" for name, ls in there.items() if ls)
        notes.findings.append(Finding(
            f"no run selected ({chosen or 'all runs wanted'})",
            f"the dataset has {exists or 'no functional run at all'}",
            "change --session-id, --task-id, --run-id or --bids-filter-file" if runs else
            _say_where(execution.bids_dir.absolute()),
            ExitCode.NOTHING_SELECTED,
        ))
    return kept


def _say_where(folder: Path) -> str:
    """Return which folder to pass instead of one without runs, as text."""
    nearby = [path.parent for path in sorted(folder.glob("*/dataset_description.json"))]
    above = [path for path in folder.parents if (path / "dataset_description.json").is_file()]
    found = " or ".join(str(path) for path in [*above[:1], *nearby[:3]])
    return "pass the top folder of a dataset, with sub-<label>/[ses-<label>/]func/*_bold.nii.gz" + (
        f"; {found} may be one" if found else ""
    )


def _wanted_labels(execution: Execution) -> dict[str, list[str]]:
    return {
        "session": [strip_prefix(label, "ses") for label in execution.session_id],
        "task": [strip_prefix(label, "task") for label in execution.task_id],
        "run": [strip_prefix(label, "run") for label in execution.run_id],
    }


def is_selected(run: BoldRun, execution: Execution) -> bool:
    """Return whether session, task and run of a run are among those asked for."""
    wanted = _wanted_labels(execution)
    return all(_is_wanted(getattr(run, name), labels) for name, labels in wanted.items())


def _is_wanted(label: str | None, wanted: list[str]) -> bool:
    return not wanted or (label is not None and any(same_label(label, w) for w in wanted))
