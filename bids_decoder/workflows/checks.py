"""Run the input checks of all steps before the first of them starts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pandas as pd

from bids_decoder.agreement import check_series
from bids_decoder.bids.confounds_files import read_regressors
from bids_decoder.bids.dataset import BoldRun, Participant
from bids_decoder.bids.images import read_header
from bids_decoder.config import Settings
from bids_decoder.errors import BidsDecoderError, ExitCode, Finding, FindingsError
from bids_decoder.glm.confounds import choose_columns
from bids_decoder.glm.design import Timing, parse_contrast
from bids_decoder.glm.estimators import get_estimator
from bids_decoder.glm.hrf import check_hrf
from bids_decoder.glm.run_tables import RunTables, contrast_vectors, run_tables
from bids_decoder.options import default_of
from bids_decoder.preprocessing.confounds import expected_columns
from bids_decoder.preprocessing.masks import common_mask
from bids_decoder.processes import map_items
from bids_decoder.regressors import split_wanted
from bids_decoder.stimuli.features import select_features
from bids_decoder.stimuli.targets import check_ids, check_vectors
from bids_decoder.stimuli.words import StimulusVectors
from bids_decoder.training.decoders import check_decoder
from bids_decoder.training.selectors import check_selector
from bids_decoder.trials import Decision
from bids_decoder.workflows.fieldmaps import plan_fieldmaps
from bids_decoder.workflows.glm import repetition_time, start_time
from bids_decoder.workflows.region import check_region
from bids_decoder.workflows.slice_times import shifted_start, slice_times_of
from bids_decoder.workflows.work import PersonWork


def check_steps(
    participants: Sequence[Participant], tables: Mapping[str, pd.DataFrame], settings: Settings
) -> tuple[list[Decision], list[Finding]]:
    """Run the checks of slice timing and distortion correction, GLM and contrasts.

    They need headers and tables. Confounds of raw runs do not exist yet; everything else does.

    Parameters
    ----------
    participants : sequence of Participant
        Those that this call prepares.
    tables : mapping of str to DataFrame
        Trial tables with the split, by participant.
    settings : Settings

    Returns
    -------
    decisions : list of Decision
        Corrections of slice times, and which field map is used for which runs.
    findings : list of Finding
        Without those of images that cannot be read, which :func:`.bids.preflight.check_dataset`
        reports.
    """
    if not settings.execution.wants("prepare"):
        return [], []
    findings: list[Finding] = []
    notes: Counter[str] = Counter()
    pairs = [
        (participant, tables[participant.label]) for participant in participants
        if all(run.source != "betas" for run in participant.runs)
    ]
    check = partial(_check_participant, settings=settings)
    for counts, found in map_items(check, pairs, settings.resources.nprocs):
        notes += counts
        findings += found
    decisions = [Decision("slice timing", f"{note} in {count} run(s)", "times before the start "
                          "of the volume fit into one repetition")
                 for note, count in sorted(notes.items())]
    for participant in participants:
        fieldmaps = plan_fieldmaps(participant, settings.preprocessing.use_syn_sdc)
        decisions += fieldmaps.decisions
        findings += fieldmaps.findings
    return decisions, list(dict.fromkeys(findings))


def _check_participant(
    pair: tuple[Participant, pd.DataFrame], settings: Settings
) -> tuple[Counter[str], list[Finding]]:
    """Check the steps of one participant; count corrections of slice times."""
    participant, table = pair
    notes: Counter[str] = Counter()
    findings: list[Finding] = []
    checked = []
    for run in participant.runs:
        if not _is_sound(run):
            continue
        found, error = checked_run(run, table, settings, notes)
        checked += [found] if found is not None else []
        findings += [error] if error is not None else []
    findings += _check_columns(participant, settings)
    findings += _check_contrasts(participant, checked, settings)
    findings += _check_masks(participant)
    return notes, findings


def with_known_names(settings: Settings) -> tuple[Settings, list[Finding]]:
    """Find unknown names of methods; a settings file may hold any text.

    Parameters
    ----------
    settings : Settings

    Returns
    -------
    settings : Settings
        With the default in the place of a name that is not known, to check the rest with it.
    findings : list of Finding
    """
    checks: list[tuple[Callable[[str], Any], str]] = [
        (check_hrf, "glm.hrf"), (get_estimator, "glm.estimator"),
        (check_decoder, "network.decoder"), (check_selector, "troi.selector"),
    ]
    findings = []
    for check, setting in checks:
        group, _, name = setting.partition(".")
        try:
            check(getattr(getattr(settings, group), name))
        except BidsDecoderError as error:
            findings.append(error.finding)
            settings = settings.replaced(**{group: {name: default_of(setting)}})
    if "none" in (given := settings.glm.confounds) and len(given) > 1:
        findings.append(Finding(
            f"--confounds {' '.join(given)}", "none is not to be joined with others",
            "leave none or the others out", ExitCode.USAGE,
        ))
    return settings, findings


def check_targets(
    kind: str, ids: Sequence[str], test: Sequence[str], features: StimulusVectors | None
) -> list[Finding]:
    """Find targets that cannot be discriminated, as far as this is known before a fit.

    Parameters
    ----------
    kind : {"category", "features", "image", "value"}
    ids : sequence of str
        Labels or stimulus ids of all usable trials.
    test : sequence of str
        Stimuli that no model is fitted on.
    features : StimulusVectors or None
        Those of ``--features``.

    Returns
    -------
    list of Finding
    """
    try:
        check_ids(kind, ids)
        if kind == "features" and features is not None:
            source = f"--features {features.source}"
            table = features.of(ids)
            select_features(table, ids, source)
            training = [name for name in ids if name not in set(test)]
            check_vectors(select_features(table, training, source))
    except FindingsError as error:
        return list(error.findings)
    except BidsDecoderError as error:
        return [error.finding]
    return []


def check_regions(output_dir: Path, people: Sequence[PersonWork], region: str) -> list[Finding]:
    """Find participants in whose images the region of ``--region`` cannot be found.

    Parameters
    ----------
    output_dir : Path
        Top of the derivatives.
    people : sequence of PersonWork
    region : str

    Returns
    -------
    list of Finding
    """
    findings: list[Finding] = []
    for person in people:
        findings += _found(check_region, output_dir, person, region, participant=person.label)
    return findings


def _is_sound(run: BoldRun) -> bool:
    """Return whether image and repetition time are there; the check of images reports others."""
    try:
        header = read_header(run.image_file)
        check_series(run.image_file, header.shape)
    except BidsDecoderError:
        return False
    return run.t_r(header) is not None


def checked_run(
    run: BoldRun, table: pd.DataFrame, settings: Settings, notes: Counter[str]
) -> tuple[RunTables | None, Finding | None]:
    """Build the design of a run as its GLM step does, to find problems.

    Parameters
    ----------
    run : BoldRun
    table : DataFrame
        Trial table of the participant, with the split.
    settings : Settings
    notes : Counter
        Gets corrections of slice times.

    Returns
    -------
    tables : RunTables or None
        Confounds of raw runs do not exist yet. None for a run without trials, or with a problem.
    finding : Finding or None
    """
    rows = np.flatnonzero(table["run_group"].to_numpy() == run.run_group)
    if not len(rows):
        return None, None
    # Where the trials of a run are neighbours, a slice is no copy.
    together = rows[-1] - rows[0] + 1 == len(rows)
    trials = table.iloc[rows[0]:rows[-1] + 1] if together else table.iloc[rows]
    trials = trials.reset_index(drop=True)
    try:
        if run.source == "raw":
            _, note = slice_times_of(run, settings)
            notes.update([note] if note else [])
            own = split_wanted(settings.glm.confounds)[1]
            start, glm = shifted_start(run, settings), replace(settings.glm, confounds=own)
        else:
            start, glm = start_time(run), settings.glm
        timing = Timing(
            read_header(run.image_file).n_volumes, repetition_time(run), start
        )
        confounds = read_regressors(glm.confounds, run.confounds_file, run.regressors_file)
        return run_tables(trials, timing, confounds, glm), None
    except BidsDecoderError as error:
        return None, _of_run(run, error.finding)


def _of_run(run: BoldRun, finding: Finding) -> Finding:
    place = f"sub-{run.subject} {run.run_group}"
    what = finding.what.replace(f" of {run.run_group}", "")
    return replace(finding, what=f"{place}: {what}", participant=run.subject, place=place)


def _check_columns(participant: Participant, settings: Settings) -> Iterator[Finding]:
    """Find columns that the tables of confounds of raw runs will not have."""
    wanted = split_wanted(settings.glm.confounds)[0]
    if wanted and any(run.source == "raw" for run in participant.runs):
        columns = expected_columns(tissues=bool(participant.t1w_files))
        yield from _found(choose_columns, columns, wanted, participant=participant.label)


def _check_contrasts(
    participant: Participant, runs: Sequence[RunTables], settings: Settings
) -> Iterator[Finding]:
    def check(text: str) -> None:
        names = [run.conditions for run in runs]
        weights = parse_contrast(text, sorted({name for own in names for name in own}))
        contrast_vectors(names, text, weights)

    for text in settings.glm.contrasts if len(runs) == len(participant.runs) else ():
        yield from _found(check, text, participant=participant.label)


def _check_masks(participant: Participant) -> Iterator[Finding]:
    """Find masks of preprocessed runs that have no voxel in common."""
    paths = [run.mask_file for run in participant.runs]
    if any(path is None or not path.is_file() for path in paths):
        return
    try:
        masks = [np.asarray(nib.load(path).dataobj) > 0 for path in paths]
    except (OSError, EOFError, ValueError):
        # Reported by the check of images.
        return
    yield from _found(common_mask, masks, participant=participant.label)


def _found(check: Callable[..., Any], *args: Any, participant: str) -> Iterator[Finding]:
    try:
        check(*args)
    except BidsDecoderError as error:
        yield replace(
            error.finding, what=f"sub-{participant}: {error.finding.what}", participant=participant,
        )
