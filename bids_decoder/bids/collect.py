"""What a dataset holds: people, runs and the files of each run, from any of three sources."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from bids_decoder.bids.absent_images import explain_no_images
from bids_decoder.bids.confounds_files import find_confounds
from bids_decoder.bids.images import MAX_T_R, ImageHeader, grids_agree, read_header
from bids_decoder.bids.layouts import (
    NIFTI,
    InheritedTables,
    describe,
    find_files,
    natural_key,
    open_layout,
    read_filters,
    same_label,
    strip_prefix,
)
from bids_decoder.bids.names import ENTITY_ORDER, parse_entities
from bids_decoder.bids.notes import Notes
from bids_decoder.bids.raw_runs import RawRuns, cut_runs, with_raw_runs
from bids_decoder.bids.selection import select_by_tables
from bids_decoder.bids.sidecars import Sidecars, read_sidecars, select_by_metadata, split_query
from bids_decoder.bids.spelling import did_you_mean
from bids_decoder.config import Execution, Settings
from bids_decoder.errors import BidsDecoderError, ExitCode, Finding, FindingsError, name_some
from bids_decoder.trials import Decision

if TYPE_CHECKING:
    from bids import BIDSLayout

Source = Literal["raw", "fmriprep", "betas"]

_GROUP_ENTITIES = ("acq", "ce", "rec", "dir", "echo", "part")
_OWN_FIELDS = ("sub", "ses", "task", "run", "desc")


@dataclass(frozen=True)
class BoldRun:
    """One functional run of one person.

    Parameters
    ----------
    subject, session, task, run : str or None
        Labels without prefix, leading zeros kept.
    source : {"raw", "fmriprep", "betas"}
    entities : dict
        Further entities by short name, as far as the file has them: ``acq``, ``dir``, ``echo``,
        ``space``, ``res``, …
    metadata : dict
        Sidecars merged by the inheritance principle.
    bold_file, events_file, mask_file, boldref_file, confounds_file : Path or None
    betas_file, trials_file : Path or None
        Only where ``source`` is ``"betas"``: volume *i* belongs to row *i*.
    group_by : tuple of str
        Entities that ``run_group`` needs beyond session, task and run.
    raw : BoldRun or None
        The run that a derivative was made from, where the dataset has it.
    cut_seconds : float
        How much later than in the raw run the first volume was taken.
    """

    subject: str
    session: str | None
    task: str
    run: str | None
    source: Source
    entities: dict[str, str] = field(default_factory=dict)
    metadata: dict[str, Any] = field(default_factory=dict)
    bold_file: Path | None = None
    events_file: Path | None = None
    mask_file: Path | None = None
    boldref_file: Path | None = None
    confounds_file: Path | None = None
    betas_file: Path | None = None
    trials_file: Path | None = None
    group_by: tuple[str, ...] = ()
    raw: BoldRun | None = None
    cut_seconds: float = 0.0

    @property
    def run_group(self) -> str:
        """Session, task and run in one text, unique within the person."""
        pairs = [("ses", self.session), ("task", self.task), ("run", self.run)]
        pairs += [(key, self.entities.get(key)) for key in self.group_by]
        return "_".join(f"{key}-{value}" for key, value in pairs if value is not None)

    @property
    def name_entities(self) -> dict[str, str | None]:
        """Entities for :func:`bids_decoder.bids.names.derivative_path`."""
        extra = {key: value for key, value in self.entities.items() if key in ENTITY_ORDER}
        return {
            "sub": self.subject, "ses": self.session, "task": self.task, "run": self.run, **extra,
        }

    @property
    def image_file(self) -> Path:
        """The 4-D image of the run: BOLD or beta series."""
        path = self.betas_file or self.bold_file
        if path is None:
            raise ValueError(f"run without an image: sub-{self.subject} {self.run_group}")
        return path

    @property
    def sidecar_t_r(self) -> float | None:
        """Seconds between volumes as the sidecar says; None where absent or absurd."""
        value = self.metadata.get("RepetitionTime")
        usable = isinstance(value, int | float) and not isinstance(value, bool)
        return float(value) if usable and 0 < value <= MAX_T_R else None

    def t_r(self, header: ImageHeader) -> float | None:
        """Seconds between volumes: the sidecar's word, else the header's, else None."""
        return self.sidecar_t_r or header.t_r


@dataclass(frozen=True)
class Participant:
    """One person and what there is of them.

    Parameters
    ----------
    label : str
        Without ``sub-``.
    t1w_files : tuple of Path
        Raw T1w images of all sessions.
    runs : tuple of BoldRun
        In natural order of session, task and run.
    fieldmaps : bool
        True when there are images in ``fmap/``.
    preproc_t1w, anat_mask : Path or None
        From derivatives, in the person's own space.
    """

    label: str
    t1w_files: tuple[Path, ...]
    runs: tuple[BoldRun, ...]
    fieldmaps: bool = False
    preproc_t1w: Path | None = None
    anat_mask: Path | None = None


@dataclass(frozen=True)
class Dataset:
    """All people of a dataset, restricted by session, task, run and filter file only.

    Parameters
    ----------
    root : Path
    name : str
    source : {"raw", "fmriprep", "betas"}
    description : dict
        ``dataset_description.json``; empty where absent.
    participants : tuple of Participant
        Those with at least one usable run.
    stimuli_dir : Path or None
    derivatives : dict of str to Path
    decisions : tuple of Decision
    findings : tuple of Finding
        Collected, not raised.
    """

    root: Path
    name: str
    source: Source
    description: dict[str, Any]
    participants: tuple[Participant, ...]
    stimuli_dir: Path | None = None
    derivatives: dict[str, Path] = field(default_factory=dict)
    decisions: tuple[Decision, ...] = ()
    findings: tuple[Finding, ...] = ()

    @property
    def runs(self) -> tuple[BoldRun, ...]:
        """Runs of all participants."""
        return tuple(run for person in self.participants for run in person.runs)


def collect_dataset(settings: Settings) -> Dataset:
    """Find all people and runs that the settings select.

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
    """
    execution = settings.execution
    root = execution.bids_dir.absolute()
    filters = read_filters(execution.bids_filter_file, ("bold", "t1w", "fmap"))
    notes = Notes()
    layout = open_layout(root, execution.bids_database_dir, notes.findings)
    description = _description(root, notes)
    source, place = _source(root, layout, execution, notes)
    derived = layout if place == root else _open_derivative(place, execution, notes)
    found = _find_runs(source, derived, filters, settings, notes)
    chosen = _restrict(found, execution, notes)
    present = {(run.subject, run.session) for run in chosen}
    selection = select_by_tables(root, execution, present, notes)
    chosen = [run for run in chosen if selection.has(run.subject, run.session)]
    complete = _with_tables(chosen, source, layout, derived, execution, notes)
    runs = _name_groups(_single_echo(complete, notes), notes)
    _check_tasks(runs, execution, notes)
    runs = _with_cuts(runs, source, settings.preprocessing.discarded_volumes, notes)
    stimuli = settings.trials.stimuli_dir or root / "stimuli"
    return Dataset(
        root=root, name=str(description.get("Name") or root.name), source=source,
        description=description,
        participants=_people(runs, source, layout, derived, filters),
        stimuli_dir=stimuli.absolute() if stimuli.is_dir() else None,
        derivatives={name: path.absolute() for name, path in execution.derivatives.items()},
        decisions=tuple(notes.decisions), findings=tuple(notes.findings),
    )


def select_participants(dataset: Dataset, labels: Sequence[str]) -> tuple[Participant, ...]:
    """Give the participants with *labels*, in the order of the dataset; all for no labels.

    Parameters
    ----------
    dataset : Dataset
    labels : sequence of str
        With or without ``sub-``; doubles count once.

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
                f"--participant-label {label}", "no participant of that name has usable runs",
                f"{did_you_mean(label, known, '')} use one of: "
                f"{', '.join(known) or '(there is none)'}".strip(), ExitCode.NOTHING_SELECTED,
            )
            for label in unknown or ["(all)"]
        ])
    return tuple(p for p in dataset.participants if not wanted or p.label in wanted)


def _description(root: Path, notes: Notes) -> dict[str, Any]:
    description = describe(root)
    if not description:
        path = root / "dataset_description.json"
        notes.findings.append(Finding(
            str(path), f"the file is {'empty' if path.is_file() else 'absent'}",
            "write it; a dataset without it is not BIDS", severity="warning",
        ))
    return description


def _source(
    root: Path, layout: BIDSLayout, execution: Execution, notes: Notes
) -> tuple[Source, Path]:
    given = execution.derivatives
    for name in sorted(set(given) - {"betas", "fmriprep"}):
        notes.findings.append(Finding(
            f"--derivatives {name}={given[name]}", "only fmriprep and betas are read",
            "name it fmriprep= or betas=, or leave it out", ExitCode.USAGE,
        ))
    if {"betas", "fmriprep"} <= set(given):
        notes.findings.append(Finding(
            "--derivatives fmriprep= and betas=", "both are sources of responses; one is used",
            "give fmriprep= to estimate responses from preprocessed BOLD, or betas= to decode "
            "responses that are there", ExitCode.USAGE,
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
    """Say which program, of which version, made given derivatives."""
    stated = describe(place).get("GeneratedBy")
    makers = [maker for maker in stated or [] if isinstance(maker, dict)]
    text = ", ".join(f"{m.get('Name', '?')} {m.get('Version', '?')}" for m in makers)
    reason = f"GeneratedBy in {place / 'dataset_description.json'}"
    return [Decision("maker of the derivatives", text or "not stated", reason)]


def _open_derivative(place: Path, execution: Execution, notes: Notes) -> BIDSLayout:
    database = execution.bids_database_dir
    return open_layout(place, database and database / f"derivative-{place.name}", notes.findings)


def _find_runs(
    source: Source, layout: BIDSLayout, filters: dict[str, dict[str, Any]], settings: Settings,
    notes: Notes,
) -> list[BoldRun]:
    query, by_metadata = split_query(layout, filters.get("bold", {}))
    sidecars = read_sidecars(layout)
    if source == "raw":
        paths = find_files(layout, "bold", query, datatype="func")
        paths = [p for p in paths if parse_entities(p).get("part", "mag") == "mag"]
        runs = [_run(path, source, sidecars) for path in paths]
        notes.findings += sidecars.findings
        return select_by_metadata(runs, by_metadata)
    query = {k: v for k, v in query.items() if k not in ("suffix", "datatype", "desc", "extension")}
    kind = ("bold", "preproc") if source == "fmriprep" else ("betaseries", "singletrial")
    paths = find_files(layout, kind[0], query, desc=kind[1])
    runs = [_run(path, source, sidecars) for path in paths]
    notes.findings += sidecars.findings
    runs = select_by_metadata(runs, by_metadata)
    if not find_files(layout, kind[0], {}, desc=kind[1]):
        notes.findings.append(explain_no_images(Path(str(layout.root)), source))
    return _one_space(runs, settings.preprocessing.output_spaces, notes)


def _run(path: Path, source: Source, sidecars: Sidecars) -> BoldRun:
    entities = parse_entities(path)
    own_file = {"betas_file": path} if source == "betas" else {"bold_file": path}
    return BoldRun(
        subject=entities["sub"], session=entities.get("ses"), task=entities.get("task", "none"),
        run=entities.get("run"), source=source,
        entities={key: value for key, value in entities.items() if key not in _OWN_FIELDS},
        metadata=sidecars.metadata_of(path), **own_file,
    )


def _one_space(
    runs: list[BoldRun], output_spaces: tuple[str, ...], notes: Notes
) -> list[BoldRun]:
    """Keep one space per dataset: the one in which people are decoded."""
    spaces: dict[str, list[BoldRun]] = defaultdict(list)
    for run in runs:
        spaces[_space_of(run)].append(run)
    if not spaces:
        return []
    best, reason = _choose_space(spaces, output_spaces)
    missing = {_identity(run) for run in runs} - {_identity(run) for run in spaces[best]}
    if missing:
        notes.findings.append(Finding(
            f"{len(missing)} run(s) without an image in space {best}",
            f"for instance {sorted(missing)[0]}; they are left out",
            "run the preprocessing again with this output space", severity="warning",
        ))
    if len(spaces) > 1 or best != "func":
        notes.decisions.append(Decision("decoding space", best, reason))
    return spaces[best]


def _choose_space(
    spaces: dict[str, list[BoldRun]], output_spaces: tuple[str, ...]
) -> tuple[str, str]:
    there = f"found: {', '.join(sorted(spaces))}"
    for wanted in output_spaces:
        name = next((s for s in spaces if _is_space(s, wanted)), None)
        if name is not None and (name != "func" or _native_grids_agree(spaces["func"])):
            return name, f"first of --output-spaces that exists, one grid per person; {there}"
    if "T1w" in spaces:
        return "T1w", f"one grid per person; {there}"
    if "func" in spaces and _native_grids_agree(spaces["func"]):
        return "func", f"all runs of a person share one grid; {there}"
    standard = [space for space in spaces if space != "func"]
    if standard:
        return standard[0], f"native runs have different grids; first standard space; {there}"
    return "func", "no other space exists although runs of a person have different grids"


def _space_of(run: BoldRun) -> str:
    space, res = run.entities.get("space", "func"), run.entities.get("res")
    return f"{space}:res-{res}" if res else space


def _is_space(found: str, wanted: str) -> bool:
    aliases = {"anat": "T1w", "bold": "func", "run": "func", "boldref": "func"}
    wanted = aliases.get(wanted, wanted)
    return found == wanted or (":" not in wanted and found.partition(":")[0] == wanted)


def _native_grids_agree(runs: list[BoldRun]) -> bool:
    by_person: dict[str, list[ImageHeader]] = defaultdict(list)
    try:
        for run in runs:
            by_person[run.subject].append(read_header(run.image_file))
    except BidsDecoderError:
        # The unreadable file is reported by the preflight check, with its path.
        return True
    return all(grids_agree(headers) for headers in by_person.values())


def _identity(run: BoldRun) -> str:
    extra = "".join(f"_{k}-{run.entities[k]}" for k in _GROUP_ENTITIES if k in run.entities)
    return f"sub-{run.subject}_{replace(run, group_by=()).run_group}{extra}"


def _restrict(runs: list[BoldRun], execution: Execution, notes: Notes) -> list[BoldRun]:
    wanted = _wanted_labels(execution)
    kept = [run for run in runs if _is_selected(run, execution)]
    if not kept and not any(f.severity == "error" for f in notes.findings):
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
            "give the top folder of a dataset, with sub-<label>/[ses-<label>/]func/*_bold.nii.gz",
            ExitCode.NOTHING_SELECTED,
        ))
    return kept


def _wanted_labels(execution: Execution) -> dict[str, list[str]]:
    return {
        "session": [strip_prefix(label, "ses") for label in execution.session_id],
        "task": [strip_prefix(label, "task") for label in execution.task_id],
        "run": [strip_prefix(label, "run") for label in execution.run_id],
    }


def _is_selected(run: BoldRun, execution: Execution) -> bool:
    wanted = _wanted_labels(execution)
    return all(_is_wanted(getattr(run, name), labels) for name, labels in wanted.items())


def _is_wanted(label: str | None, wanted: list[str]) -> bool:
    return not wanted or (label is not None and any(same_label(label, w) for w in wanted))


def _with_tables(
    runs: list[BoldRun], source: Source, layout: BIDSLayout, derived: BIDSLayout,
    execution: Execution, notes: Notes,
) -> list[BoldRun]:
    events = InheritedTables(
        Path(p) for p in layout.get(suffix="events", extension=".tsv", return_type="filename")
    )
    if source == "betas":
        return _with_trials(runs, derived, events, notes)
    raw = None
    if source == "fmriprep":
        raw = RawRuns(_raw_runs(layout, notes))
        _report_not_derived(raw, derived, execution, notes)
        runs = with_raw_runs(_with_derived_files(runs), raw)
    complete, without = [], []
    for run in runs:
        entities = parse_entities(run.image_file)
        if raw is not None:
            entities["sub"] = raw.subject_of(entities["sub"])
        path = events.for_run(entities)
        (complete if path else without).append(replace(run, events_file=path))
    _report_without_events(complete, without, notes)
    return complete


def _raw_runs(layout: BIDSLayout, notes: Notes) -> list[BoldRun]:
    sidecars = read_sidecars(layout)
    paths = find_files(layout, "bold", {}, datatype="func")
    runs = [_run(path, "raw", sidecars) for path in paths]
    notes.findings += sidecars.findings
    return runs


def _report_not_derived(
    raw: RawRuns, derived: BIDSLayout, execution: Execution, notes: Notes
) -> None:
    """Name the runs of the raw dataset that were never preprocessed."""
    there = {
        raw.key_of(parse_entities(path))
        for path in find_files(derived, "bold", {}, desc="preproc")
    }
    lacking = [
        _identity(run) for run in raw.runs
        if _is_selected(run, execution)
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
    runs: list[BoldRun], layout: BIDSLayout, events: InheritedTables, notes: Notes
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
        stem = run.image_file.name.split("_desc-preproc_bold")[0]
        native = "_".join(p for p in stem.split("_") if not p.startswith(("space-", "res-")))
        complete.append(replace(
            run,
            mask_file=_first(beside, [f"{stem}_desc-brain_mask{e}" for e in NIFTI]),
            boldref_file=_first(beside, [
                f"{stem}{desc}_boldref{extension}"
                for desc in ("", "_desc-coreg", "_desc-hmc") for extension in NIFTI
            ]),
            confounds_file=find_confounds(beside, native),
        ))
    return complete


def _first(folder: Path, names: Iterable[str]) -> Path | None:
    return next((folder / name for name in names if (folder / name).exists()), None)


def _report_without_events(
    complete: list[BoldRun], without: list[BoldRun], notes: Notes
) -> None:
    with_events = Counter(run.task for run in complete)
    for task, count in sorted(Counter(run.task for run in without).items()):
        examples = [_identity(run) for run in without if run.task == task]
        notes.findings.append(Finding(
            f"{count} run(s) of task {task} left out",
            f"no events file belongs to them (for instance {examples[0]}); "
            f"{with_events[task]} run(s) of this task have one",
            "add the events, or choose other tasks with -t", severity="warning",
        ))
    if without and not complete:
        notes.findings.append(Finding(
            "events", "none of the selected runs has an events file",
            "add *_events.tsv files: what was shown when decides what can be decoded",
            ExitCode.MISSING_INPUT,
        ))


def _single_echo(runs: list[BoldRun], notes: Notes) -> list[BoldRun]:
    groups: dict[str, list[BoldRun]] = defaultdict(list)
    for run in runs:
        single = {key: value for key, value in run.entities.items() if key != "echo"}
        groups[_identity(replace(run, entities=single))].append(run)
    several = {name: members for name, members in groups.items() if len(members) > 1
               and all("echo" in run.entities for run in members)}
    if several:
        name, members = next(iter(several.items()))
        echoes = " ".join(sorted(run.entities["echo"] for run in members))
        notes.findings.append(Finding(
            f"{len(several)} multi-echo run(s), for instance {name}",
            f"echoes {echoes}; they are not combined by this program",
            "choose one with --bids-filter-file ({\"bold\": {\"echo\": \"2\"}}), or give fMRIPrep "
            "derivatives, in which they are combined, with -d fmriprep=PATH",
        ))
    return [run for name, members in groups.items()
            for run in (members[:1] if name in several else members)]


def _name_groups(runs: list[BoldRun], notes: Notes) -> list[BoldRun]:
    """Make ``run_group`` unique within each person."""
    by_person: dict[str, list[BoldRun]] = defaultdict(list)
    for run in runs:
        by_person[run.subject].append(run)
    named = []
    for person, own in by_person.items():
        counts = Counter(run.run_group for run in own)
        doubled = [run for run in own if counts[run.run_group] > 1]
        keys = tuple(
            key for key in _GROUP_ENTITIES
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
    """Name a run so that run-1 and run-01, which mean the same, are told to be the same."""
    number = run.run.lstrip("0") or "0" if run.run else None
    return replace(run, run=number).run_group


def _check_tasks(runs: list[BoldRun], execution: Execution, notes: Notes) -> None:
    tasks = Counter(run.task for run in runs)
    if len(tasks) > 1 and not execution.task_id:
        names = ", ".join(f"{task} ({count} runs)" for task, count in sorted(tasks.items()))
        notes.findings.append(Finding(
            "several tasks", f"trials of {names} would be mixed",
            f"choose with -t, for instance -t {tasks.most_common(1)[0][0]}; "
            "name several to decode them together", ExitCode.USAGE,
        ))


def _with_cuts(
    runs: list[BoldRun], source: Source, discarded: int | None, notes: Notes
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
    filters: dict[str, dict[str, Any]],
) -> tuple[Participant, ...]:
    by_person: dict[str, list[BoldRun]] = defaultdict(list)
    for run in runs:
        by_person[run.subject].append(run)
    # Anatomy is often recorded in a session of its own, so sessions do not restrict it.
    raw_t1w = find_files(layout, "T1w", filters.get("t1w", {}), datatype="anat")
    t1w = _by_subject([p for p in raw_t1w if parse_entities(p).get("desc") != "preproc"])
    fmap_query = {k: v for k, v in filters.get("fmap", {}).items() if k != "suffix"}
    fieldmaps = {
        parse_entities(p).get("sub") for p in layout.get(
            **{"datatype": "fmap", "extension": list(NIFTI), **fmap_query}, return_type="filename",
        )
    }
    preproc, masks = _derived_anatomy(source, derived)
    return tuple(
        Participant(
            label=label, t1w_files=tuple(t1w.get(label, ())), runs=tuple(by_person[label]),
            fieldmaps=label in fieldmaps,
            preproc_t1w=next(iter(preproc.get(label, ())), None),
            anat_mask=next(iter(masks.get(label, ())), None),
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


