"""Slice times of a raw run, and the time that its preprocessed data refer to."""

from __future__ import annotations

from bids_decoder.bids.dataset import BoldRun
from bids_decoder.bids.images import read_header
from bids_decoder.config import Settings
from bids_decoder.preprocessing.slice_timing import (
    reference_time,
    slice_axis,
    usable_slice_times,
)
from bids_decoder.workflows.glm import start_time


def slice_times_of(run: BoldRun, settings: Settings) -> tuple[tuple[float, ...], str]:
    """Return the slice times that are used to correct a raw run.

    Parameters
    ----------
    run : BoldRun
        With a repetition time.
    settings : Settings

    Returns
    -------
    times : tuple of float
        Seconds from the start of the volume; empty where nothing is corrected.
    note : str
        What was changed in them; empty for nothing.

    Raises
    ------
    InputError
        When the sidecar's times or direction cannot be used.
    """
    times = run.metadata.get("SliceTiming")
    if times in (None, []) or "slicetiming" in settings.preprocessing.ignore:
        return (), ""
    header = read_header(run.image_file)
    axis = slice_axis(run.metadata.get("SliceEncodingDirection", "k"))
    return usable_slice_times(times, header.shape[axis], run.t_r(header))


def shifted_start(run: BoldRun, settings: Settings) -> float:
    """Return the time within a volume that preprocessed data of a raw run refer to.

    Parameters
    ----------
    run : BoldRun
    settings : Settings

    Returns
    -------
    float
        Seconds.
    """
    times, _ = slice_times_of(run, settings)
    if not times:
        return start_time(run)
    return reference_time(times, settings.preprocessing.slice_time_ref)
