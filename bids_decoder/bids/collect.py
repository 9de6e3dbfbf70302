"""Participants and runs of a dataset, collected from any of three sources."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bids_decoder.bids.absent_images import explain_no_images
from bids_decoder.bids.dataset import BoldRun, Dataset, Participant, Source
from bids_decoder.bids.echo_settings import MultiEcho
from bids_decoder.bids.echoes import join_echoes, without_combined_echoes
from bids_decoder.bids.fieldmaps import collect_fieldmaps
from bids_decoder.bids.layouts import (
    describe,
    find_files,
    natural_key,
    open_layout,
    read_filters,
    strip_prefix,
)
from bids_decoder.bids.names import parse_entities
from bids_decoder.bids.notes import DatasetNotes
from bids_decoder.bids.raw_runs import cut_runs
from bids_decoder.bids.released_runs import collect_released, find_released
from bids_decoder.bids.run_files import find_row_series, make_run, meshes_of, with_tables
from bids_decoder.bids.run_names import check_tasks, name_groups
from bids_decoder.bids.run_selection import restrict
from bids_decoder.bids.sbrefs import with_sbrefs
from bids_decoder.bids.selection import select_by_tables
from bids_decoder.bids.sidecars import read_sidecars, select_by_metadata, split_query
from bids_decoder.bids.spaces import one_space
from bids_decoder.bids.spelling import did_you_mean
from bids_decoder.config import Execution, Settings
from bids_decoder.errors import ExitCode, Finding, FindingsError
from bids_decoder.trials import Decision

if TYPE_CHECKING:
    from bids import BIDSLayout


def collect_dataset(settings: Settings) -> Dataset:
    """Find all participants and runs that the settings select.

    All participants are collected, whatever ``participant_label`` says: the split depends on
    all of them. See :func:`select_participants`.

    Parameters
    ----------
    settings : Settings

    Returns
    -------
    Dataset
        Problems that further checks may add to are in ``findings``.

    Raises
    ------
    MissingInputError
        When a dataset folder is absent.
    InputError
        When a sidecar or ``dataset_description.json`` cannot be read.
    UsageError
        When the filter file is wrong.
    FindingsError
        When a folder of ``--derivatives`` is not understood.
    """
    execution = settings.execution
    if (released := find_released(execution)) is not None:
        return collect_released(settings, *released)
    root = execution.bids_dir.absolute()
    filters = read_filters(execution.bids_filter_file, ("bold", "t1w", "fmap"))
    notes = DatasetNotes()
    layout = open_layout(root, execution.bids_database_dir, notes.findings)
    description = _description(root, notes)
    source, place = _source(root, layout, execution, notes)
    derived = layout if place == root else _open_derivative(place, execution, notes)
    found = _find_runs(source, derived, filters, settings, notes)
    chosen = restrict(found, execution, notes)
    present = {(run.subject, run.session) for run in chosen}
    selection = select_by_tables(root, execution, present, notes)
    chosen = [run for run in chosen if selection.has(run.subject, run.session)]
    whole = join_echoes(chosen, settings.section(MultiEcho), source, notes)
    complete = with_tables(whole, source, layout, derived, settings, notes)
    if source == "raw" and "sbref" not in settings.preprocessing.ignore:
        complete = with_sbrefs(complete, notes)
    runs = name_groups(complete, notes)
    check_tasks(runs, execution, notes)
    runs = _with_cuts(runs, source, settings.preprocessing.discarded_volumes, notes)
    stimuli = settings.trials.stimuli_dir or root / "stimuli"
    people = _people(runs, source, layout, derived, filters, settings, notes)
    return Dataset(
        root=root, name=str(description.get("Name") or root.name), source=source,
        description=description, participants=people,
        stimuli_dir=stimuli.absolute() if stimuli.is_dir() else None,
        derivatives={name: path.absolute() for name, path in execution.derivatives.items()},
        decisions=tuple(notes.decisions), findings=tuple(notes.findings),
    )


def select_participants(
    dataset: Dataset, labels: Sequence[str], option: str = "--participant-label"
) -> tuple[Participant, ...]:
    """Return the participants with *labels*, in the order of the dataset; all for no labels.

    Parameters
    ----------
    dataset : Dataset
    labels : sequence of str
        With or without ``sub-``; duplicates count once.
    option : str
        Named in errors.

    Raises
    ------
    FindingsError
        With code 18 when a label is unknown, naming those that exist.
    """
    wanted = list(dict.fromkeys(strip_prefix(label, "sub") for label in labels))
    known = [person.label for person in dataset.participants]
    unknown = [label for label in wanted if label not in known]
    if unknown or not known:
        raise FindingsError([
            Finding(
                f"{option} {label}", "no participant of that name has usable runs",
                f"{did_you_mean(label, known, '')} use one of: "
                f"{', '.join(known) or '(there is none)'}".strip(), ExitCode.NOTHING_SELECTED,
            )
            for label in unknown or ["(all)"]
        ])
    return tuple(p for p in dataset.participants if not wanted or p.label in wanted)


def _description(root: Path, notes: DatasetNotes) -> dict[str, Any]:
    description = describe(root)
    if not description:
        path = root / "dataset_description.json"
        notes.findings.append(Finding(
            str(path), f"the file is {'empty' if path.is_file() else 'absent'}",
            "write it; a dataset without it is not BIDS", severity="warning",
        ))
    return description


def _source(
    root: Path, layout: BIDSLayout, execution: Execution, notes: DatasetNotes
) -> tuple[Source, Path]:
    given = execution.derivatives
    if {"betas", "fmriprep"} <= set(given):
        notes.findings.append(Finding(
            "--derivatives fmriprep= and betas=", "both are sources of responses; one is used",
            "use fmriprep= to estimate responses from preprocessed BOLD, or betas= to decode "
            "responses that exist already", ExitCode.USAGE,
        ))
    for source in ("betas", "fmriprep"):
        if source in given:
            reason = f"--derivatives {source}={given[source]}"
            notes.decisions.append(Decision("source of responses", source, reason))
            notes.decisions += _makers(given[source])
            return source, given[source].absolute()
    if not find_files(layout, "bold", {}) and find_files(layout, "betaseries", {}):
        reason = "the dataset holds beta series and no BOLD"
        notes.decisions.append(Decision("source of responses", "betas", reason))
        return "betas", root
    return "raw", root


def _makers(place: Path) -> list[Decision]:
    """Return which program, of which version, made the derivatives."""
    stated = describe(place).get("GeneratedBy")
    makers = [maker for maker in stated or [] if isinstance(maker, dict)]
    text = ", ".join(f"{m.get('Name', '?')} {m.get('Version', '?')}" for m in makers)
    reason = f"GeneratedBy in {place / 'dataset_description.json'}"
    return [Decision("maker of the derivatives", text or "not stated", reason)]


def _open_derivative(place: Path, execution: Execution, notes: DatasetNotes) -> BIDSLayout:
    database = execution.bids_database_dir
    return open_layout(place, database and database / f"derivative-{place.name}", notes.findings)


def _find_runs(
    source: Source, layout: BIDSLayout, filters: dict[str, dict[str, Any]], settings: Settings,
    notes: DatasetNotes,
) -> list[BoldRun]:
    query, by_metadata = split_query(layout, filters.get("bold", {}))
    sidecars = read_sidecars(layout)
    if source == "raw":
        paths = _magnitude(find_files(layout, "bold", query, datatype="func"), notes)
        runs = [make_run(path, source, sidecars) for path in paths]
        notes.findings += sidecars.findings
        return select_by_metadata(runs, by_metadata)
    query = {k: v for k, v in query.items() if k not in ("suffix", "datatype", "desc", "extension")}
    kind = ("bold", "preproc") if source == "fmriprep" else ("betaseries", "singletrial")
    paths = find_files(layout, kind[0], query, desc=kind[1])
    surfaces = find_row_series(layout, query) if source == "fmriprep" else []
    runs = [make_run(path, source, sidecars) for path in (*paths, *surfaces)]
    notes.findings += sidecars.findings
    runs = select_by_metadata(runs, by_metadata)
    if not surfaces and not find_files(layout, kind[0], {}, desc=kind[1]):
        notes.findings.append(explain_no_images(Path(str(layout.root)), source))
    if settings.section(MultiEcho).echo is None:
        runs = without_combined_echoes(runs)
    return one_space(runs, settings.preprocessing.output_spaces, notes)


def _magnitude(paths: list[Path], notes: DatasetNotes) -> list[Path]:
    """Leave out phase, real and imaginary images."""
    kept = [path for path in paths if parse_entities(path).get("part", "mag") == "mag"]
    if len(kept) < len(paths):
        notes.decide(
            "complex data", f"{len(kept)} magnitude image(s) are used",
            f"{len(paths) - len(kept)} image(s) of phase or other parts are left out",
        )
    return kept


def _with_cuts(
    runs: list[BoldRun], source: Source, discarded: int | None, notes: DatasetNotes
) -> list[BoldRun]:
    if source != "fmriprep":
        if discarded is not None:
            notes.findings.append(Finding(
                f"--discarded-volumes {discarded}", "is about derivatives of BOLD runs; here "
                f"the source of responses is {source}", "leave the option out", ExitCode.USAGE,
            ))
        return runs
    runs, decisions, findings = cut_runs(runs, discarded)
    notes.decisions += decisions
    notes.findings += findings
    return runs


def _people(
    runs: list[BoldRun], source: Source, layout: BIDSLayout, derived: BIDSLayout,
    filters: dict[str, dict[str, Any]], settings: Settings, notes: DatasetNotes,
) -> tuple[Participant, ...]:
    by_person: dict[str, list[BoldRun]] = defaultdict(list)
    for run in runs:
        by_person[run.subject].append(run)
    # Anatomy is often recorded in a session of its own, so sessions do not restrict it.
    raw_t1w = find_files(layout, "T1w", filters.get("t1w", {}), datatype="anat")
    t1w = _by_subject([p for p in raw_t1w if parse_entities(p).get("desc") != "preproc"])
    sidecars = read_sidecars(layout)
    has_fields = source == "raw" and "fieldmaps" not in settings.preprocessing.ignore
    fieldmaps = {} if not has_fields else collect_fieldmaps(
        layout, filters.get("fmap", {}), sidecars
    )
    notes.findings += sidecars.findings
    preproc, masks = _derived_anatomy(source, derived)
    place = Path(str(derived.root))
    return tuple(
        Participant(
            label=label, t1w_files=tuple(t1w.get(label, ())), runs=tuple(by_person[label]),
            fieldmaps=fieldmaps.get(label, ()),
            preproc_t1w=next(iter(preproc.get(label, ())), None),
            anat_mask=next(iter(masks.get(label, ())), None),
            meshes=meshes_of(place, by_person[label]),
        )
        for label in sorted(by_person, key=natural_key)
    )


def _derived_anatomy(
    source: Source, derived: BIDSLayout
) -> tuple[dict[str, list[Path]], dict[str, list[Path]]]:
    if source == "raw":
        return {}, {}
    found = (
        find_files(derived, suffix, {}, desc=desc, datatype="anat")
        for suffix, desc in (("T1w", "preproc"), ("mask", "brain"))
    )
    preproc, masks = (
        _by_subject([p for p in paths if "space" not in parse_entities(p)]) for paths in found
    )
    return preproc, masks


def _by_subject(paths: list[Path]) -> dict[str, list[Path]]:
    grouped: dict[str, list[Path]] = defaultdict(list)
    for path in paths:
        grouped[parse_entities(path)["sub"]].append(path)
    return grouped
