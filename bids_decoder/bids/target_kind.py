"""The decoding target (images, features or labels) and the trials that lack it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Literal

import pandas as pd

from bids_decoder.bids.dataset import Dataset
from bids_decoder.bids.event_columns import Columns
from bids_decoder.bids.notes import DatasetNotes
from bids_decoder.bids.stimulus_files import StimulusFiles, find_stimulus_files
from bids_decoder.bids.timing import exclude
from bids_decoder.bids.trial_tables import TrialUnit
from bids_decoder.bids.values import decodes_values
from bids_decoder.config import TrialRules
from bids_decoder.errors import ExitCode, Finding, name_some

IMAGE_COVERAGE = 0.95
"""Share of stimuli with an image file at and above which images are decoded."""

TargetKind = Literal["category", "image", "features", "value"]


def find_images(
    tables: dict[str, pd.DataFrame], dataset: Dataset, rules: TrialRules, notes: DatasetNotes
) -> StimulusFiles:
    """Find the image file of each stimulus.

    Paths out of the stimulus folder are findings, as is a folder of ``--stimuli-dir`` that is not
    there.
    """
    if _is_folder_absent(rules):
        notes.findings.append(Finding(
            f"--stimuli-dir {rules.stimuli_dir}", "there is no such folder",
            "name the folder that holds the images of the stimuli", ExitCode.MISSING_INPUT,
        ))
    ids = {name for table in tables.values() for name in table["stimulus"].dropna()}
    files = find_stimulus_files(dataset.stimuli_dir, ids)
    if files.refused:
        severity = "error" if rules.target == "image" else "warning"
        notes.findings.append(Finding(
            f"{len(files.refused)} stimulus path(s), for instance {files.refused[0]}",
            "absolute or outside of the stimulus folder; such files are not opened",
            "name stimuli relative to stimuli/ or --stimuli-dir", severity=severity,
        ))
    for note in files.stacks:
        notes.decide("stimulus stack", note, "found in the stimulus folder")
    return files


def without_damaged(
    files: StimulusFiles, damaged: Mapping[str, str], notes: DatasetNotes
) -> StimulusFiles:
    """Return the image files without those that cannot be read."""
    if not damaged:
        return files
    first = next(iter(damaged))
    notes.warn(
        f"{len(damaged)} stimulus image(s) cannot be read", f"for instance {first}: "
        f"{damaged[first]}", "replace the files; until then their trials are left out",
    )
    found = {name: path for name, path in files.found.items() if name not in damaged}
    return replace(files, found=found, absent=tuple(sorted({*files.absent, *damaged})))


def choose_target(
    tables: dict[str, pd.DataFrame], files: StimulusFiles, unit: TrialUnit, rules: TrialRules,
    notes: DatasetNotes,
) -> TargetKind:
    """Decide what is decoded.

    Parameters
    ----------
    tables : dict of str to DataFrame
        Trial tables, by participant.
    files : StimulusFiles
    unit : {"event", "block"}
    rules : TrialRules
    notes : DatasetNotes

    Returns
    -------
    {"category", "image", "features", "value"}
    """
    n_ids = len(files.found) + len(files.absent) + len(files.refused)
    coverage = len(files.found) / n_ids if n_ids else 0.0
    there = f"{len(files.found)} of {n_ids} stimuli have an image file"
    kind: TargetKind
    if rules.target != "auto":
        kind, reason = rules.target, "--target"
    elif decodes_values(rules):
        kind, reason = "value", f"--value-column {' '.join(rules.value_column)}"
    elif rules.features is not None:
        kind, reason = "features", f"--features {rules.features}"
    elif unit == "event" and coverage >= IMAGE_COVERAGE:
        kind, reason = "image", there
    elif _is_folder_absent(rules):
        # Problems of labels would follow from that only.
        kind, reason = "image", "--stimuli-dir"
    else:
        kind, reason = "category", f"trial unit is {unit}; {there}"
    notes.decide("target", kind, reason)
    _check_target(kind, files, coverage, rules, notes)
    return kind


def _is_folder_absent(rules: TrialRules) -> bool:
    return rules.stimuli_dir is not None and not rules.stimuli_dir.is_dir()


def _check_target(
    kind: TargetKind, files: StimulusFiles, coverage: float, rules: TrialRules, notes: DatasetNotes
) -> None:
    if kind == "features" and rules.features is None:
        notes.findings.append(Finding(
            "--target features", "there is no feature table", "pass one with --features",
            ExitCode.USAGE,
        ))
    if kind == "image" and coverage < IMAGE_COVERAGE and not _is_folder_absent(rules):
        notes.findings.append(Finding(
            f"{len(files.absent)} stimulus image(s) absent",
            f"for instance {name_some(files.absent)}; found {len(files.found)}",
            "put them into stimuli/ (datalad get stimuli), name their folder with --stimuli-dir, "
            "pass --features, or decode labels with --target category", ExitCode.MISSING_INPUT,
        ))


def exclude_without_image(
    tables: dict[str, pd.DataFrame], files: StimulusFiles, notes: DatasetNotes
) -> None:
    """Exclude trials whose stimulus has no image that can be read."""
    count = 0
    for table in tables.values():
        lacking = (~table["stimulus"].isin(files.found)).to_numpy() & ~table["excluded"].to_numpy()
        exclude(table, lacking, "the stimulus has no readable image file")
        count += int(lacking.sum())
    if count:
        notes.warn(
            f"{count} trial(s) excluded", f"no readable image file for {name_some(files.absent)}",
            "add the images to the stimulus folder",
        )


def exclude_without_label(
    tables: dict[str, pd.DataFrame], columns: Columns, notes: DatasetNotes
) -> None:
    """Exclude trials without a label."""
    count = 0
    for table in tables.values():
        lacking = table["label"].isna().to_numpy() & ~table["excluded"].to_numpy()
        exclude(table, lacking, f"no value in {columns.label}")
        count += int(lacking.sum())
    if count:
        notes.warn(
            f"{count} trial(s) excluded", f"no value in the label column {columns.label}",
            "choose another column with --label-column if these trials are wanted",
        )
