"""The files that belong to an image: events, trial tables, masks, references, confounds."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bids_decoder.bids.cifti import SERIES
from bids_decoder.bids.confounds_files import find_confounds, with_regressors
from bids_decoder.bids.dataset import BoldRun, Source
from bids_decoder.bids.layouts import NIFTI, InheritedTables, describe, find_files, natural_key
from bids_decoder.bids.names import parse_entities
from bids_decoder.bids.notes import DatasetNotes
from bids_decoder.bids.raw_runs import RawRuns, with_raw_runs
from bids_decoder.bids.run_names import identity
from bids_decoder.bids.run_selection import is_selected
from bids_decoder.bids.series import find_meshes
from bids_decoder.bids.sidecars import Sidecars, read_sidecars
from bids_decoder.config import Execution, Settings
from bids_decoder.errors import ExitCode, Finding, name_some

if TYPE_CHECKING:
    from bids import BIDSLayout

_OWN_FIELDS = ("sub", "ses", "task", "run", "desc", "hemi")
_OF_SPACE = ("space-", "cohort-", "res-", "den-", "hemi-", "echo-")
"""Entities that tables of a run lack."""

_REFERENCES = ("", "_desc-coreg", "_space-run", "_desc-hmc")
"""Between the name of a run and its reference: fMRIPrep up to 22, from 23.2, from 26; the last is
that of head motion."""


def find_row_series(layout: BIDSLayout, query: dict[str, Any]) -> list[Path]:
    """Find the BOLD series of grayordinates, and on surfaces by the file of the left hemisphere."""
    paths = find_files(layout, "bold", query, extension=".func.gii")
    left = [path for path in paths if parse_entities(path).get("hemi") == "L"]
    return [*left, *find_files(layout, "bold", query, extension=SERIES)]


def meshes_of(place: Path, runs: list[BoldRun]) -> tuple[Path, ...]:
    """Return the meshes of the surfaces of a participant; empty for volumes."""
    path = runs[0].bold_file
    return () if path is None else find_meshes(place, path)


def make_run(path: Path, source: Source, sidecars: Sidecars) -> BoldRun:
    """Return the run of an image, with its metadata."""
    entities = parse_entities(path)
    own_file = {"betas_file": path} if source == "betas" else {"bold_file": path}
    return BoldRun(
        subject=entities["sub"], session=entities.get("ses"), task=entities.get("task", "none"),
        run=entities.get("run"), source=source,
        entities={key: value for key, value in entities.items() if key not in _OWN_FIELDS},
        metadata=sidecars.metadata_of(path), **own_file,
    )


def with_tables(
    runs: list[BoldRun], source: Source, layout: BIDSLayout, derived: BIDSLayout,
    settings: Settings, notes: DatasetNotes,
) -> list[BoldRun]:
    """Add to each run the files that belong to it; leave out those without events.

    Where every volume is a trial (``--trial-unit volume``), runs need no events.
    """
    events = InheritedTables(
        Path(p) for p in layout.get(suffix="events", extension=".tsv", return_type="filename")
    )
    if source == "betas":
        return _with_trials(runs, derived, events, notes)
    raw = None
    if source == "fmriprep":
        raw = RawRuns(_raw_runs(layout, notes))
        _report_not_derived(raw, derived, settings.execution, notes)
        runs = with_raw_runs(_with_derived_files(runs), raw)
    complete, without = [], []
    for run in runs:
        entities = parse_entities(run.image_file)
        if raw is not None:
            entities["sub"] = raw.subject_of(entities["sub"])
        path = events.for_run(entities)
        is_complete = path is not None or settings.trials.trial_unit == "volume"
        (complete if is_complete else without).append(replace(run, events_file=path))
    _report_without_events(complete, without, settings.execution.bids_dir, notes)
    return with_regressors(complete, settings.glm.confounds, notes)


def _raw_runs(layout: BIDSLayout, notes: DatasetNotes) -> list[BoldRun]:
    sidecars = read_sidecars(layout)
    paths = find_files(layout, "bold", {}, datatype="func")
    runs = [make_run(path, "raw", sidecars) for path in paths]
    notes.findings += sidecars.findings
    return runs


def _report_not_derived(
    raw: RawRuns, derived: BIDSLayout, execution: Execution, notes: DatasetNotes
) -> None:
    """Name the runs of the raw dataset that were never preprocessed."""
    there = {
        raw.key_of(parse_entities(path))
        for path in (
            *find_files(derived, "bold", {}, desc="preproc"), *find_row_series(derived, {}),
        )
    }
    lacking = [
        identity(run) for run in raw.runs
        if is_selected(run, execution)
        and raw.key_of(parse_entities(run.image_file)) not in there
    ]
    if lacking:
        shown = ", ".join(sorted(lacking, key=natural_key)[:5])
        notes.findings.append(Finding(
            f"{len(lacking)} run(s) are not in the derivatives",
            f"{shown}{', …' if len(lacking) > 5 else ''}; they are left out",
            "preprocess them too, or accept it", severity="warning",
        ))


def _with_trials(
    runs: list[BoldRun], layout: BIDSLayout, events: InheritedTables, notes: DatasetNotes
) -> list[BoldRun]:
    complete = []
    tables = [Path(p) for p in layout.get(
        suffix="trials", extension=".tsv", return_type="filename",
    )]
    inherited = InheritedTables(tables)
    for run in runs:
        stem = run.image_file.name.split(".")[0].removesuffix("_betaseries")
        mask = run.image_file.with_name(f"{stem}_mask.nii.gz")
        trials = inherited.for_run(parse_entities(run.image_file))
        if trials is not None:
            mask_file = mask if mask.exists() else None
            complete.append(replace(
                run, trials_file=trials, mask_file=mask_file,
                events_file=events.for_run(parse_entities(run.image_file)),
            ))
            continue
        there = sorted(p.name for p in tables if p.name.startswith(f"sub-{run.subject}_"))
        notes.findings.append(Finding(
            str(run.image_file), f"no table of trials belongs to it; it would be {stem}_trials.tsv"
            f" or one with fewer entities; found: {name_some(there) or 'none'}",
            "add the table, or rename it: row i names the trial of volume i",
            ExitCode.MISSING_INPUT, participant=run.subject, place=str(run.image_file),
        ))
    return complete


def _with_derived_files(runs: list[BoldRun]) -> list[BoldRun]:
    """Add masks, references and confounds."""
    complete = []
    for run in runs:
        beside = run.image_file.parent
        stem = run.image_file.name.split(".")[0].removesuffix("_bold").removesuffix("_desc-preproc")
        native = _without(stem, _OF_SPACE)
        # fMRIPrep writes one mask and one reference for all echoes of a run.
        stems = dict.fromkeys((stem, _without(stem, ("echo-",))))
        complete.append(replace(
            run,
            mask_file=_first(beside, [
                f"{name}_desc-brain_mask{extension}" for name in stems for extension in NIFTI
            ]),
            boldref_file=_first(beside, [
                f"{name}{desc}_boldref{extension}"
                for name in stems for desc in _REFERENCES for extension in NIFTI
            ]),
            confounds_file=find_confounds(beside, native),
        ))
    return complete


def _without(stem: str, entities: tuple[str, ...]) -> str:
    return "_".join(part for part in stem.split("_") if not part.startswith(entities))


def _first(folder: Path, names: Iterable[str]) -> Path | None:
    return next((folder / name for name in names if (folder / name).exists()), None)


def _report_without_events(
    complete: list[BoldRun], without: list[BoldRun], root: Path, notes: DatasetNotes
) -> None:
    with_events = Counter(run.task for run in complete)
    for task, count in sorted(Counter(run.task for run in without).items()):
        examples = [identity(run) for run in without if run.task == task]
        why = f"no events file belongs to them (for instance {examples[0]}); "
        if with_events[task]:
            why += f"{with_events[task]} run(s) of this task have one"
            fix = "add the events, or choose other tasks with -t"
        else:
            why += "no run of this task has one"
            fix = "nothing needs to be done for a task without trials, as rest; else add the events"
        notes.findings.append(
            Finding(f"{count} run(s) of task {task} left out", why, fix, severity="warning")
        )
    if without and not complete:
        fix = "add *_events.tsv files: what was shown when decides what can be decoded"
        if describe(root).get("DatasetType") == "derivative":
            fix = (f"{root} holds derivatives: give the raw dataset, which has the events, in its "
                   f"place, and add -d fmriprep={root}")
        notes.findings.append(Finding(
            "events", "none of the selected runs has an events file", fix, ExitCode.MISSING_INPUT,
        ))
