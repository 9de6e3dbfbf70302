"""One image and label per participant: PET, statistic maps or anatomy."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace
from pathlib import Path

import pandas as pd

from bids_decoder.agreement import same_grid
from bids_decoder.analyses.subjects.options import Subjects
from bids_decoder.bids.copies import find_equal_images
from bids_decoder.bids.dataset import Dataset, Participant
from bids_decoder.bids.image_checks import missing_content
from bids_decoder.bids.images import read_header
from bids_decoder.bids.layouts import (
    describe,
    find_files,
    natural_key,
    open_layout,
    read_filters,
)
from bids_decoder.bids.names import parse_entities
from bids_decoder.bids.notes import DatasetNotes
from bids_decoder.bids.selection import Selection, select_by_tables
from bids_decoder.bids.spelling import did_you_mean
from bids_decoder.bids.writer import read_table
from bids_decoder.config import Settings
from bids_decoder.errors import BidsDecoderError, ExitCode, Finding, FindingsError, name_some
from bids_decoder.trials import Decision
from bids_decoder.workflows.confound_checks import check_values

SUFFIXES = ("pet", "statmap", "T1w")
"""Suffixes of images to search for, in this order."""

GRID_TOLERANCE_MM = 1e-2
"""Of volumes that other programs normalised, each with its own rounding of affines."""

_CONTROL = "control "
"""Before the names of confounds, which may be called label or site."""


@dataclass(frozen=True, eq=False)
class SubjectImages:
    """Participants with an image and a label.

    Parameters
    ----------
    dataset : Dataset
        Also with participants that have no runs.
    table : DataFrame
        One row per participant, in natural order: ``participant``, ``image`` (Path), ``label``,
        ``site`` (text or None), ``external`` (bool).
    confounds : DataFrame
        Columns of ``--control`` of the same participants.
    decisions : tuple of Decision
    findings : tuple of Finding
    """

    dataset: Dataset
    table: pd.DataFrame
    confounds: pd.DataFrame
    decisions: tuple[Decision, ...]
    findings: tuple[Finding, ...]


@dataclass
class _Search:
    settings: Settings
    decisions: list[Decision] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    selection: Selection = field(default_factory=Selection)

    def complain(
        self, what: str, why: str, fix: str, code: ExitCode = ExitCode.BAD_DATA,
        is_warning: bool = False,
    ) -> None:
        severity = "warning" if is_warning else "error"
        self.findings.append(Finding(what, why, fix, code, severity))


def collect_subjects(settings: Settings) -> SubjectImages:
    """Find one image per participant and the labels in ``participants.tsv``.

    Parameters
    ----------
    settings : Settings
        With ``subjects.label_column``.

    Returns
    -------
    SubjectImages
        Problems are in ``findings``.

    Raises
    ------
    FindingsError
        When there are no labels or no images at all.
    """
    search = _Search(settings)
    execution = settings.execution
    root = execution.bids_dir.absolute()
    people = _labels(root, search)
    place = next(iter(execution.derivatives.values()), root).absolute()
    images = _images(root, place, search)
    if not images or people.empty:
        raise FindingsError(search.findings)
    if search.selection.participants is not None:
        people = people[people.index.isin(search.selection.participants)]
    rows = people[people.index.isin(images)]
    if len(rows) < len(people):
        search.complain(
            f"{len(people) - len(rows)} participant(s)", "labelled, but without an image",
            "they are left out", is_warning=True,
        )
    table = pd.DataFrame({
        "participant": rows.index, "image": [images[name] for name in rows.index],
        "label": rows["label"].to_numpy(), "site": rows["site"].to_numpy(),
        "external": rows["label"].isin(settings.section(Subjects).external).to_numpy(),
    })
    table = table.sort_values(
        "participant", key=lambda names: names.map(natural_key)
    ).reset_index(drop=True)
    names = {f"{_CONTROL}{name}": name for name in _controls(settings)}
    confounds = rows.loc[table["participant"], list(names)].rename(columns=names)
    confounds = confounds.reset_index(drop=True)
    _check_confounds(confounds, table, search)
    _check_classes(table, search)
    _check_grids(table, search)
    _check_copies(table, search)
    description = describe(root)
    dataset = Dataset(
        root=root, name=str(description.get("Name") or root.name), source="raw",
        description=description,
        participants=tuple(Participant(name, (), ()) for name in table["participant"]),
        derivatives={name: path.absolute() for name, path in execution.derivatives.items()},
    )
    return SubjectImages(dataset, table, confounds, tuple(search.decisions), tuple(search.findings))


def _labels(root: Path, search: _Search) -> pd.DataFrame:
    """Read label, site and confounds of the chosen participants, indexed by participant."""
    path, subjects = root / "participants.tsv", search.settings.section(Subjects)
    controls = list(_controls(search.settings))
    empty = pd.DataFrame(columns=["label", "site"], dtype=object)
    if not path.is_file():
        search.complain(str(path), "is not there", "add it, with a column of labels",
                        ExitCode.MISSING_INPUT)
        return empty
    table = read_table(path)
    wanted = ["participant_id", subjects.label_column, subjects.site_column, *controls]
    absent = [name for name in wanted if name is not None and name not in table]
    if absent:
        search.complain(
            str(path), f"has no column {', '.join(absent)}; columns: {', '.join(table.columns)}",
            did_you_mean(
                absent[0], table.columns,
                "name columns of this file with --subject-label, --site-column and --control",
            ), ExitCode.USAGE,
        )
        return empty
    names = table["participant_id"].str.removeprefix("sub-")
    site = table[subjects.site_column] if subjects.site_column else None
    people = pd.DataFrame({
        "label": table[subjects.label_column].to_numpy(),
        "site": None if site is None else site.to_numpy(),
        **{f"{_CONTROL}{name}": table[name].to_numpy() for name in controls},
    }, index=names.to_numpy(), dtype=object)
    chosen = search.settings.execution.participant_label
    people = people[people.index.isin(chosen)] if chosen else people
    without = int(people["label"].isna().sum())
    if without:
        search.complain(f"{without} participant(s)", f"no {subjects.label_column} in {path.name}",
                        "they are left out", is_warning=True)
    return people[people["label"].notna()]


def _controls(settings: Settings) -> tuple[str, ...]:
    return tuple(dict.fromkeys(settings.trials.controls))


def _images(root: Path, place: Path, search: _Search) -> dict[str, Path]:
    """Find the one image of each participant."""
    settings = search.settings
    layout = open_layout(place, settings.execution.bids_database_dir, search.findings)
    suffix = settings.section(Subjects).image
    wanted = (suffix,) if suffix else SUFFIXES
    filters = read_filters(
        settings.execution.bids_filter_file, [suffix.lower() for suffix in wanted]
    )
    for suffix in wanted:
        sessions = settings.execution.session_id
        query = filters.get(suffix.lower(), {})
        if sessions:
            query = {"session": list(sessions), **query}
        found = find_files(layout, suffix, query)
        if found:
            search.decisions.append(
                Decision("images", f"{suffix} of {len(found)} file(s)", f"found in {place}")
            )
            return _one_each(_selected(root, found, search), suffix, search)
    search.complain(
        f"images in {place}", f"no image with suffix {', '.join(wanted)}",
        "name another suffix with --subject-image, or another folder with -d NAME=PATH",
        ExitCode.MISSING_INPUT,
    )
    return {}


def _selected(root: Path, paths: list[Path], search: _Search) -> list[Path]:
    """Keep the images that ``--participant-filter`` and ``--session-filter`` choose."""
    own = {path: parse_entities(path) for path in paths}
    present = [(entities["sub"], entities.get("ses")) for entities in own.values()]
    notes = DatasetNotes(search.decisions, search.findings)
    search.selection = select_by_tables(root, search.settings.execution, present, notes)
    return [path for path in paths if search.selection.has(own[path]["sub"], own[path].get("ses"))]


def _one_each(paths: list[Path], suffix: str, search: _Search) -> dict[str, Path]:
    counts = Counter(parse_entities(path)["sub"] for path in paths)
    several = [name for name, count in counts.items() if count > 1]
    if several:
        search.complain(
            f"{len(several)} participant(s), for instance sub-{several[0]}",
            f"{counts[several[0]]} images with suffix {suffix}",
            f'choose one each with --session-id or --bids-filter-file {{"{suffix.lower()}": …}}',
        )
    absent = missing_content(paths)
    if absent:
        search.complain(
            f"{len(absent)} image(s) without content", f"for instance {absent[0]}",
            "datalad get them", ExitCode.MISSING_INPUT,
        )
    return {parse_entities(path)["sub"]: path for path in paths if path not in absent}


def _check_confounds(confounds: pd.DataFrame, table: pd.DataFrame, search: _Search) -> None:
    for name in confounds:
        search.findings += check_values(
            f"--control {name}", confounds[name], [table["label"]], "participants",
            "--participant-filter",
        )


def _check_classes(table: pd.DataFrame, search: _Search) -> None:
    subjects = search.settings.section(Subjects)
    counts = table.loc[~table["external"], "label"].value_counts()
    rare = counts[counts < 2 * subjects.n_splits]
    if len(counts) < 2:
        search.complain(
            f"labels in column {subjects.label_column}", f"only {', '.join(counts.index)}",
            "use at least two labels that are not external",
        )
    if len(rare):
        search.complain(
            f"labels {', '.join(rare.index)}",
            f"fewer than {2 * subjects.n_splits} participants for {subjects.n_splits} folds",
            "declare them external (--external-label), or use fewer folds (subjects.n_splits in "
            "--config-file)",
        )
    unknown = sorted(set(subjects.external) - set(table["label"]))
    if unknown:
        known = ", ".join(sorted(set(table["label"])))
        search.complain(
            f"--external-label {' '.join(unknown)}", "no such label",
            f"use labels of column {subjects.label_column}: {known}", ExitCode.USAGE,
        )


def _check_grids(table: pd.DataFrame, search: _Search) -> None:
    headers = {}
    for path in table["image"]:
        try:
            headers[path] = read_header(path)
        except BidsDecoderError as error:
            search.findings.append(replace(error.finding))
    if not headers:
        return
    shapes = Counter(header.shape[:3] for header in headers.values())
    first = next(iter(headers.values()))
    apart = [
        path for path, header in headers.items() if not same_grid(
            (header.shape, header.affine), (first.shape, first.affine), GRID_TOLERANCE_MM
        )
    ]
    if apart:
        search.complain(
            f"{len(apart)} image(s) on another grid, for instance {apart[0].name}",
            f"shapes: {dict(shapes)}; voxels of all participants must be at the same positions",
            "use images that were normalised to one template (-d NAME=PATH)",
        )


def _check_copies(table: pd.DataFrame, search: _Search) -> None:
    images = dict(zip(table["participant"], table["image"], strict=True))
    groups, n_compared = find_equal_images(images, search.settings.resources.nprocs)
    search.decisions.append(Decision(
        "identical images", f"{len(groups)} group(s) of participants",
        f"compared: {n_compared} of {len(images)} images, whatever their headers and file types",
    ))
    if groups:
        texts = [" = ".join(f"sub-{label}" for label in group) for group in groups]
        search.complain(
            "identical images",
            f"{len(groups)} group(s) of participants have the same image, whatever its header and "
            f"file type: {name_some(texts)}; models would be tested on training data",
            "replace the copies by the right images, or leave these participants out with "
            "--participant-filter",
        )
