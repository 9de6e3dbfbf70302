"""Every volume of a run as a trial: for decoders that are applied volume by volume."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from bids_decoder.bids.event_columns import UNLABELLED
from bids_decoder.bids.timing import GOOD_RECORDED, Recording


def expand_to_volumes(
    trials: Mapping[str, np.ndarray], recording: Recording
) -> dict[str, np.ndarray]:
    """Return one trial for each time at which a volume starts.

    Parameters
    ----------
    trials : mapping of str to ndarray, each of shape (n_trials,)
        Events or blocks of the run in order of time: ``onset``, ``duration``, ``stimulus``,
        ``label``; there may be none.
    recording : Recording

    Returns
    -------
    dict of str to ndarray, each of shape (n_volumes,)
        The same columns and ``n_events``. What was shown at that time, or
        :data:`~bids_decoder.bids.event_columns.UNLABELLED`. Times whose response was not
        recorded to its end, the last seconds of the run, are left out.
    """
    onsets = np.arange(recording.n_volumes) * recording.t_r
    onsets = onsets[onsets + recording.t_r <= recording.seconds - GOOD_RECORDED]
    last = np.searchsorted(trials["onset"], onsets + 1e-6, side="right") - 1
    shown = last >= 0
    if shown.any():
        ends = trials["onset"] + np.maximum(trials["duration"], recording.t_r)
        shown &= onsets < ends[last.clip(0)] - 1e-6
    found = {"onset": onsets, "duration": np.full(len(onsets), recording.t_r),
             "n_events": np.ones(len(onsets), dtype=int)}
    for name in ("stimulus", "label"):
        cells = np.full(len(onsets), UNLABELLED, dtype=object)
        cells[shown] = trials[name][last[shown]]
        found[name] = cells
    return found
