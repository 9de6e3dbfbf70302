"""Single-band reference images of raw runs, which serve as boldrefs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from bids_decoder.bids.dataset import BoldRun
from bids_decoder.bids.image_checks import content_damage
from bids_decoder.bids.images import grids_agree, is_pointer, read_header
from bids_decoder.bids.layouts import NIFTI
from bids_decoder.bids.notes import DatasetNotes
from bids_decoder.errors import BidsDecoderError, Finding


def with_sbrefs(runs: Sequence[BoldRun], notes: DatasetNotes) -> list[BoldRun]:
    """Add to each raw run its single-band reference, of multi-echo runs that of the first echo.

    Parameters
    ----------
    runs : sequence of BoldRun
    notes : DatasetNotes
        Gets how many runs have one, and warnings on those that do not fit.

    Returns
    -------
    list of BoldRun
    """
    found = [replace(run, sbref_file=_sbref_of(run, notes)) for run in runs]
    n_found = sum(run.sbref_file is not None for run in found)
    if n_found:
        notes.decide(
            "boldref", f"SBRef of {n_found} of {len(found)} run(s)",
            "single-band references have more contrast; --ignore sbref leaves them out",
        )
    return found


def _sbref_of(run: BoldRun, notes: DatasetNotes) -> Path | None:
    stem = run.image_file.name.split(".")[0].removesuffix("_bold")
    beside = (run.image_file.with_name(f"{stem}_sbref{ending}") for ending in NIFTI)
    path = next((path for path in beside if path.exists() or is_pointer(path)), None)
    # A file without content is an error, which the check of images reports.
    why = None if path is None or is_pointer(path) else _misfit(run, path)
    if why is None:
        return path
    notes.warn(str(path), why, "the median of the volumes is the reference instead", run.subject)
    return None


def _misfit(run: BoldRun, path: Path) -> str | None:
    """Return why an image cannot be the reference of a run; None if it can."""
    try:
        own = read_header(path)
    except BidsDecoderError as error:
        return error.finding.why
    try:
        bold = read_header(run.image_file)
    except BidsDecoderError:
        # Reported by the check of the run.
        return None
    if grids_agree([bold, own]):
        return None
    return f"shape {own.shape} or position differ from those of the run, {bold.shape}"


def check_sbref(run: BoldRun, full_read: bool) -> Iterator[Finding]:
    """Find damage of the single-band reference of a run.

    Parameters
    ----------
    run : BoldRun
    full_read : bool
        See :func:`~bids_decoder.bids.image_checks.content_damage`.

    Yields
    ------
    Finding
    """
    if run.sbref_file is None or is_pointer(run.sbref_file):
        return
    damage = content_damage(run.sbref_file, read_header(run.sbref_file), full_read)
    if damage is not None:
        yield Finding(
            str(run.sbref_file), damage, "fetch or copy the file again, or use --ignore sbref",
            participant=run.subject, place=str(run.sbref_file),
        )
