"""Checks of the input before computing, which report all problems at once."""

from __future__ import annotations

import math
import re
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from bids_decoder.agreement import check_one_grid
from bids_decoder.bids.beta_checks import check_empty_volumes
from bids_decoder.bids.dataset import BoldRun, Dataset, Participant
from bids_decoder.bids.echoes import check_echoes
from bids_decoder.bids.events import TrialBuild
from bids_decoder.bids.image_checks import check_run, content_damage, missing_content
from bids_decoder.bids.images import read_header
from bids_decoder.bids.places import existing_parent
from bids_decoder.bids.raw_runs import check_events
from bids_decoder.bids.released_checks import check_released
from bids_decoder.bids.released_runs import beta_bytes
from bids_decoder.bids.row_checks import check_meshes, check_models
from bids_decoder.bids.sbrefs import check_sbref
from bids_decoder.bids.series import is_volume
from bids_decoder.bids.trial_checks import check_trials
from bids_decoder.bids.writer import read_table
from bids_decoder.config import Settings
from bids_decoder.errors import BidsDecoderError, ExitCode, Finding, name_some
from bids_decoder.processes import map_items

FULL_READ_LIMIT = 2 * 1024**3
"""Bytes of compressed images up to which all are read to the end."""

_OUTPUT_PER_INPUT_BYTE = 1.0
_WORK_PER_INPUT_BYTE = 2.0
_COMPRESSED_BETA_BYTES = 3.6


def check_dataset(
    dataset: Dataset, build: TrialBuild, participants: Sequence[Participant], settings: Settings
) -> list[Finding]:
    """Find all problems of the input.

    Parameters
    ----------
    dataset : Dataset
    build : TrialBuild
    participants : sequence of Participant
        Those that this call processes; images of others are not looked at, and errors found in
        their events become warnings.
    settings : Settings

    Returns
    -------
    list of Finding
        Including those of *dataset* and *build*; each once, errors first.
    """
    findings = [*dataset.findings, *build.findings]
    if build.tables:
        # Without any table no participant is left whose findings would be errors.
        chosen = {person.label for person in participants}
        findings = [_scoped(finding, chosen) for finding in findings]
    findings += _check_folders(dataset)
    is_told = bool(settings.execution.participant_filter)
    findings += _check_participants_table(dataset, with_unlisted=not is_told)
    images = [path for person in participants for path in _images_of(person)]
    present = [path for path in images if path.is_file()]
    full_read = sum(path.stat().st_size for path in present) < FULL_READ_LIMIT
    check = partial(_check_person, settings=settings, full_read=full_read)
    for found in map_items(check, participants, settings.resources.nprocs):
        findings += found
    findings += check_trials(build, participants, settings)
    findings += check_empty_volumes(build, participants)
    findings += _check_space(build, participants, settings)
    unique = list(dict.fromkeys(findings))
    return sorted(unique, key=lambda finding: finding.severity != "error")


def _scoped(finding: Finding, chosen: set[str]) -> Finding:
    if finding.participant is None or finding.participant in chosen:
        return finding
    return replace(finding, severity="warning")


def _check_folders(dataset: Dataset) -> Iterator[Finding]:
    for label in sorted(_folders(dataset)):
        if not re.fullmatch(r"[0-9A-Za-z+]+", label):
            yield Finding(
                f"folder 'sub-{label}'", "a label may hold letters, digits and + only",
                "rename the folder and the files in it, or move it to sourcedata/",
            )


def _folders(dataset: Dataset) -> set[str]:
    """Return the labels of the folders of participants."""
    return {
        folder.name.removeprefix("sub-") for folder in dataset.root.glob("sub-*")
        # A Zarr store is an array, not the folder of a participant.
        if folder.is_dir() and folder.suffix != ".zarr"
    }


def _check_participants_table(dataset: Dataset, *, with_unlisted: bool) -> Iterator[Finding]:
    """Compare table and folders; the choice by the table tells itself who is not listed."""
    path = dataset.root / "participants.tsv"
    if not path.is_file():
        return
    try:
        table = read_table(path)
    except (OSError, ValueError) as error:
        yield Finding(str(path), f"cannot be read: {error}", "correct it", severity="warning")
        return
    if "participant_id" not in table:
        yield Finding(
            str(path), "has no column participant_id", "correct it", severity="warning",
        )
        return
    listed = {str(name).removeprefix("sub-") for name in table["participant_id"].dropna()}
    folders = _folders(dataset)
    unlisted = folders - listed if with_unlisted else set()
    whys = [
        f"{why}: {name_some(sorted(labels))}"
        for labels, why in ((listed - folders, "listed but without a folder"),
                            (unlisted, "not listed")) if labels
    ]
    if whys:
        yield Finding(
            str(path), "; ".join(whys), "correct the table; the folders are what counts",
            severity="warning",
        )


def _images_of(person: Participant) -> list[Path]:
    derived = [p for p in (person.preproc_t1w, person.anat_mask) if p is not None]
    masks = [run.mask_file for run in person.runs if run.mask_file is not None]
    if (released := _released_files(person)):
        return released
    needed_t1w = [] if derived else list(person.t1w_files)
    images = [path for run in person.runs for path in run.image_files]
    images += [run.sbref_file for run in person.runs if run.sbref_file is not None]
    return [*needed_t1w, *derived, *images, *masks]


def _released_files(person: Participant) -> list[Path]:
    found = (r.released.responses.files for r in person.runs if r.released is not None)
    return list(dict.fromkeys(file for files in found for file in files))


def _check_person(person: Participant, settings: Settings, full_read: bool) -> list[Finding]:
    return [
        *_check_images(person, full_read), *_check_needs(person, settings),
        *_check_dummy_scans(person, settings),
    ]


def _check_images(person: Participant, full_read: bool) -> Iterator[Finding]:
    absent = missing_content(_images_of(person))
    if absent:
        folders = sorted({str(path.parent) for path in absent})
        yield Finding(
            f"sub-{person.label}: images without content",
            f"{len(absent)} git-annex pointers or dead links, for instance {absent[0]}",
            f"datalad get {' '.join(folders)}", ExitCode.MISSING_INPUT, participant=person.label,
        )
    runs = [run for run in person.runs if not set(run.image_files) & set(absent)]
    if _released_files(person):
        if not absent:
            yield from check_released(person, full_read)
            yield from _check_grids(person, runs)
            yield from check_models(person, runs)
        return
    for run in runs:
        yield from check_run(run, _rows_of_betas(run), full_read)
        yield from check_echoes(run, full_read)
        yield from check_sbref(run, full_read)
        yield from check_events(run)
    yield from _check_anatomy(person, absent, full_read)
    yield from _check_grids(person, runs)
    yield from check_models(person, runs)


def _check_dummy_scans(person: Participant, settings: Settings) -> Iterator[Finding]:
    """Find raw runs that have no volume after the dummy scans."""
    wanted = settings.preprocessing.dummy_scans
    lengths = {}
    for run in person.runs if wanted and settings.execution.wants("prepare") else ():
        try:
            lengths[run.run_group] = read_header(run.image_file).n_volumes
        except BidsDecoderError:
            # Reported by check_run.
            continue
    short = [f"{group} ({n})" for group, n in lengths.items() if n <= (wanted or 0)]
    if short and person.runs[0].source == "raw":
        yield Finding(
            f"sub-{person.label}: --dummy-scans {wanted}",
            f"no volume would be left of {', '.join(short[:4])}",
            "set it to the number of volumes before the steady state, or leave the option out",
            ExitCode.USAGE, participant=person.label,
        )


def _rows_of_betas(run: BoldRun) -> int | None:
    if run.trials_file is None:
        return None
    try:
        return len(read_table(run.trials_file))
    except (OSError, ValueError):
        # Reported where the table was read for its trials.
        return None


def _check_anatomy(
    person: Participant, absent: list[Path], full_read: bool
) -> Iterator[Finding]:
    for path in person.t1w_files:
        if path in absent:
            continue
        try:
            header = read_header(path)
        except BidsDecoderError as error:
            yield replace(error.finding, participant=person.label, place=str(path))
            continue
        damage = content_damage(path, header, full_read)
        if damage is not None:
            yield Finding(
                str(path), damage, "fetch or copy the file again",
                participant=person.label, place=str(path),
            )
        if len(header.shape) != 3:
            yield Finding(
                str(path), f"shape {header.shape}: a T1w image has three dimensions",
                "correct or remove it", participant=person.label, place=str(path),
            )


def _check_needs(person: Participant, settings: Settings) -> Iterator[Finding]:
    """Find images that are missing although the requested preprocessing needs them."""
    if not settings.execution.wants("prepare"):
        return
    sources = {run.source for run in person.runs}
    spaces = settings.preprocessing.output_spaces
    beyond = [space for space in spaces if space.split(":")[0] != "func"]
    if "raw" in sources and beyond and not person.t1w_files:
        yield Finding(
            f"sub-{person.label}: --output-spaces {' '.join(beyond)}",
            "there is no T1w image, which leads to these spaces",
            "add the T1w image, leave the participant out, or use --output-spaces func",
            ExitCode.MISSING_INPUT, participant=person.label,
        )
    yield from check_meshes(person)
    bare = [
        run.run_group for run in person.runs
        if run.source == "fmriprep" and run.mask_file is None and is_volume(run.image_file)
    ]
    if bare:
        yield Finding(
            f"sub-{person.label}: brain masks",
            "there is no desc-brain_mask beside the preprocessed BOLD of " + name_some(bare),
            "copy the masks from the derivatives, or leave these runs out with --bids-filter-file",
            ExitCode.MISSING_INPUT, participant=person.label,
        )


def _check_grids(person: Participant, runs: list[BoldRun]) -> Iterator[Finding]:
    # Raw runs are resampled to one grid; derivatives are used as they are.
    if all(run.source == "raw" for run in runs):
        return
    grids = {}
    for run in runs:
        try:
            header = run.header
        except BidsDecoderError:
            # Reported by check_run.
            continue
        grids[run.run_group] = (header.shape, header.affine)
    if not grids:
        return
    try:
        check_one_grid(f"sub-{person.label}", list(grids), list(grids.values()))
    except BidsDecoderError as error:
        yield replace(error.finding, participant=person.label)


def _check_space(
    build: TrialBuild, participants: Sequence[Participant], settings: Settings
) -> Iterator[Finding]:
    """Compare free space with a rough estimate of what is written."""
    execution = settings.execution
    output, work = 0.0, 0.0
    for person in participants:
        size = sum(p.stat().st_size for p in _images_of(person) if p.is_file())
        raw = any(run.source == "raw" for run in person.runs)
        output += _beta_bytes(person, build) + (size * _OUTPUT_PER_INPUT_BYTE if raw else 0)
        work += size * _WORK_PER_INPUT_BYTE if raw else 0
    places = {execution.output_dir: output}
    work_dir = execution.work_dir or execution.output_dir
    places[work_dir] = places.get(work_dir, 0.0) + work
    disks: dict[int, list[Path]] = {}
    for place in places:
        parent = existing_parent(place)
        # A dead link is reported by the check of the folders.
        if parent.exists():
            disks.setdefault(parent.stat().st_dev, []).append(place)
    for found in disks.values():
        needed = sum(places[place] for place in found)
        free = shutil.disk_usage(existing_parent(found[0])).free
        if needed > free:
            yield Finding(
                f"disk space for {' and '.join(map(str, found))}",
                f"about {needed / 1e9:.3g} GB are needed, {free / 1e9:.3g} GB are free",
                "free space, choose another folder, or process fewer participants at a time",
                ExitCode.IO_ERROR,
            )


def _beta_bytes(person: Participant, build: TrialBuild) -> float:
    table = build.tables.get(person.label)
    if _released_files(person):
        return float(sum(beta_bytes(run) for run in person.runs))
    if table is None or any(run.source == "betas" for run in person.runs):
        return 0.0
    for run in person.runs:
        try:
            shape = read_header(run.image_file).shape
        except BidsDecoderError:
            # Reported by check_run; another run of this participant has the grid.
            continue
        return len(table) * math.prod(shape[:3]) * _COMPRESSED_BETA_BYTES
    return 0.0
