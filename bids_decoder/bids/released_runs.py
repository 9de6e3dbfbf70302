"""Datasets of released single-trial responses: participants and runs from any known layout."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from pathlib import Path

from bids_decoder.bids.dataset import BoldRun, Dataset, Participant
from bids_decoder.bids.layouts import describe, natural_key, strip_prefix
from bids_decoder.bids.names import parse_entities
from bids_decoder.bids.notes import DatasetNotes
from bids_decoder.bids.rows import CONDITION_COLUMNS, drop_rows, read_events
from bids_decoder.bids.run_names import check_tasks, name_groups
from bids_decoder.bids.run_selection import is_selected, restrict
from bids_decoder.bids.selection import select_by_tables
from bids_decoder.config import Execution, Settings
from bids_decoder.errors import (
    BidsDecoderError,
    ExitCode,
    Finding,
    FindingsError,
    InputError,
    name_some,
)
from bids_decoder.released.base import Events, EventsOfRun, Layout, Released, ReleasedPerson
from bids_decoder.released.files import names_in
from bids_decoder.released.registry import recognise, understood
from bids_decoder.released.tables import as_text

BYTES_PER_VALUE = 4
"""Bytes of a response in the beta series that are written, before compression."""


def find_released(execution: Execution) -> tuple[str, Layout] | None:
    """Return name and layout of the released responses among ``--derivatives``; None without any.

    Parameters
    ----------
    execution : Execution

    Raises
    ------
    FindingsError
        When a folder is absent or is not understood, or there are several sources of responses.
    """
    found: dict[str, Layout] = {}
    findings = []
    for name, path in execution.derivatives.items():
        layout = recognise(path) if name != "fmriprep" and path.is_dir() else None
        if layout is not None:
            found[name] = layout
        elif name not in ("betas", "fmriprep"):
            findings.append(_not_understood(name, path))
    if found and len(execution.derivatives) > 1:
        given = " ".join(f"{name}={path}" for name, path in execution.derivatives.items())
        findings.append(Finding(
            f"--derivatives {given}", "several are sources of responses; one is used",
            "give one of them", ExitCode.USAGE,
        ))
    if findings:
        raise FindingsError(findings)
    return next(iter(found.items())) if found else None


def _not_understood(name: str, path: Path) -> Finding:
    if not path.is_dir():
        return Finding(
            f"--derivatives {name}={path}", "there is no such folder",
            "check the path and, in a container, the mount", ExitCode.MISSING_INPUT,
        )
    damage = [why for file in _hdf5_or_matlab(path) if (why := _why_unreadable(file))]
    if damage:
        return Finding(
            f"--derivatives {name}={path}", "its layout is not known, and these files cannot be "
            f"read: {name_some(damage)}", "copy or download them again", ExitCode.BAD_DATA,
        )
    return Finding(
        f"--derivatives {name}={path}", "its layout is not known: neither fmriprep= nor betas= "
        f"was given, and no released responses were recognised; it holds "
        f"{name_some(sorted(p.name for p in path.iterdir()), 5) or 'nothing'}",
        f"give fmriprep=PATH, betas=PATH, or a folder of: {understood()}", ExitCode.USAGE,
    )


def _hdf5_or_matlab(folder: Path) -> list[Path]:
    return sorted(
        path for place in ("", "*/") for ending in ("h5", "hdf5", "mat")
        for path in folder.glob(f"{place}*.{ending}") if path.is_file()
    )


def _why_unreadable(path: Path) -> str:
    """Return what is wrong with an HDF5 or MATLAB file; empty where it can be opened."""
    try:
        names_in(path)
    except InputError as error:
        return f"{path.name} ({error.finding.why})"
    return ""


def collect_released(settings: Settings, name: str, layout: Layout) -> Dataset:
    """Collect participants and runs of released responses.

    Parameters
    ----------
    settings : Settings
    name : str
        Name of the folder among ``--derivatives``.
    layout : Layout

    Returns
    -------
    Dataset
        Of source ``"betas"``; what is wrong with some participants is in ``findings``.

    Raises
    ------
    FindingsError
        When a participant of ``--participant-label`` cannot be read.
    """
    execution = settings.execution
    root, place = execution.bids_dir.absolute(), execution.derivatives[name].absolute()
    notes = DatasetNotes()
    events = _read_events(root, execution, notes) if layout.needs_events else {}
    released = layout.read(place, events)
    notes.findings += _of_involved(released, execution)
    runs = [run for person in released.people for run in _runs_of(person)]
    chosen = restrict(runs, execution, notes)
    present = {(run.subject, run.session) for run in chosen}
    selection = select_by_tables(root, execution, present, notes)
    chosen = [run for run in chosen if selection.has(run.subject, run.session)]
    named = name_groups(chosen, notes)
    check_tasks(named, execution, notes)
    _describe(name, place, layout, released, named, notes)
    stimuli = settings.trials.stimuli_dir or root / "stimuli"
    if settings.trials.stimuli_dir is None and released.stimuli is not None:
        stimuli = stimuli if stimuli.is_dir() else released.stimuli
    description = describe(root)
    return Dataset(
        root=root, name=str(description.get("Name") or place.name), source="betas",
        description=description, participants=_people(named),
        stimuli_dir=stimuli.absolute() if stimuli.is_dir() else None,
        derivatives={key: path.absolute() for key, path in execution.derivatives.items()},
        decisions=tuple(notes.decisions), findings=tuple(notes.findings),
    )


def _of_involved(released: Released, execution: Execution) -> list[Finding]:
    """Return the findings; those that keep a participant out stay errors if it was asked for.

    The check of the dataset takes participants that it does not know for others, which may be
    faulty.
    """
    known = {person.label for person in released.people}
    asked = {strip_prefix(label, "sub") for label in execution.participant_label}
    if asked & {finding.participant for finding in released.findings} - known:
        raise FindingsError([f for f in released.findings if f.participant in asked])
    everybody = not asked or "group" in execution.analysis_level
    return [
        replace(finding, participant=None)
        if finding.participant not in known and (everybody or finding.participant in asked)
        else finding
        for finding in released.findings
    ]


def _runs_of(person: ReleasedPerson) -> list[BoldRun]:
    return [
        BoldRun(person.label, run.session, run.task, run.run, "betas", released=run)
        for run in person.runs
    ]


def _people(runs: list[BoldRun]) -> tuple[Participant, ...]:
    by_person: dict[str, list[BoldRun]] = defaultdict(list)
    for run in runs:
        by_person[run.subject].append(run)
    return tuple(
        Participant(label, (), tuple(by_person[label]))
        for label in sorted(by_person, key=natural_key)
    )


def _describe(
    name: str, place: Path, layout: Layout, released: Released, runs: list[BoldRun],
    notes: DatasetNotes,
) -> None:
    """Note what was recognised, what is there, and what is going to be written."""
    n_trials = sum(len(run.released.table) for run in runs)
    n_people = len({run.subject for run in runs})
    notes.decide(
        "source of responses", layout.title, f"--derivatives {name}={place} looks like it: "
        f"{layout.looks_like}; {n_people} participant(s), {len(runs)} run(s), {n_trials} trials",
    )
    for remark in released.remarks:
        notes.decide("released responses", remark, layout.title)
    n_bytes = sum(beta_bytes(run) for run in runs)
    notes.decide(
        "copy of the responses", f"up to {n_bytes / 1e9:.2g} GB",
        "they are written to the output folder as beta series, which all analyses read",
    )


def beta_bytes(run: BoldRun) -> int:
    """Return the number of bytes of the beta series that is written for a run, at most."""
    return BYTES_PER_VALUE * len(run.released.table) * run.released.responses.grid.n_voxels


def _read_events(root: Path, execution: Execution, notes: DatasetNotes) -> Events:
    """Read the events of all runs that are selected; those that cannot be read are warnings."""
    found: dict[str, list[EventsOfRun]] = defaultdict(list)
    paths = [*root.glob("sub-*/func/*_events.tsv"), *root.glob("sub-*/ses-*/func/*_events.tsv")]
    for path in sorted(paths, key=lambda path: natural_key(str(path))):
        entities = parse_entities(path)
        run = BoldRun(
            entities["sub"], entities.get("ses"), entities.get("task", "none"),
            entities.get("run"), "betas",
        )
        if not is_selected(run, execution):
            continue
        try:
            rows = read_events(path).sort_values("onset", kind="stable", ignore_index=True)
        except BidsDecoderError as error:
            notes.findings.append(replace(
                error.finding, severity="warning", participant=run.subject, place=str(path),
            ))
            continue
        shown, _ = drop_rows(rows, (), CONDITION_COLUMNS)
        found[run.subject].append(
            EventsOfRun(run.session, run.task, run.run, as_text(rows), as_text(shown))
        )
    return {label: tuple(runs) for label, runs in found.items()}
