"""Checks of the content of released responses, as far as it can be read quickly."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from bids_decoder.bids.dataset import BoldRun, Participant
from bids_decoder.bids.image_checks import MAX_NONFINITE_SHARE, content_damage
from bids_decoder.bids.images import read_header
from bids_decoder.errors import BidsDecoderError, Finding
from bids_decoder.released.blocks import read_responses
from bids_decoder.released.files import IMAGE_EXTENSIONS, reads_single_trials

_N_SAMPLED = 5


def check_released(person: Participant, full_read: bool) -> Iterator[Finding]:
    """Look for files that are cut off and for responses that cannot be used.

    Parameters
    ----------
    person : Participant
        Of released responses.
    full_read : bool
        Read compressed images to the end.

    Yields
    ------
    Finding
    """
    files = dict.fromkeys(
        file for run in person.runs for file in run.released.responses.files
        if file.name.endswith(IMAGE_EXTENSIONS)
    )
    whole = True
    for file in files:
        try:
            damage = content_damage(file, read_header(file), full_read)
        except BidsDecoderError as error:
            yield replace(error.finding, participant=person.label, place=str(file))
            whole = False
            continue
        if damage is not None:
            whole = False
            yield Finding(
                str(file), damage, "fetch or copy the file again", participant=person.label,
                place=str(file),
            )
    if whole:
        yield from _check_values(person.runs[0])


def _check_values(run: BoldRun) -> Iterator[Finding]:
    """Read the first trials, where that is quick."""
    values = first_responses(run, _N_SAMPLED)
    if values is None:
        return
    what, name = str(run.released.responses.parts[0]), run.subject
    finite = np.isfinite(values).all(axis=0)
    share = 1.0 - float(finite.mean())
    if share > MAX_NONFINITE_SHARE:
        yield Finding(
            what, f"{share:.0%} of the voxels are not finite in the first trials",
            "save the responses again, or leave the participant out", participant=name, place=what,
        )
    elif len(values) > 1 and not (np.ptp(values[:, finite], axis=0) > 0).any():
        yield Finding(
            what, f"no voxel varies over the first {len(values)} trials",
            "save the responses again, or leave the participant out", participant=name, place=what,
        )


def first_responses(run: BoldRun, n_trials: int | None) -> np.ndarray | None:
    """Read the first responses of a run of released data.

    Parameters
    ----------
    run : BoldRun
    n_trials : int or None
        None for all.

    Returns
    -------
    ndarray of float32, shape (n_trials, n_voxels), or None
        None where single trials cannot be read without most others of their file, or not at all.
    """
    own = run.released.responses
    if own.n_volumes is not None or not all(reads_single_trials(part) for part in own.parts):
        return None
    try:
        return read_responses(replace(own, rows=own.rows[:n_trials]))
    except BidsDecoderError:
        # Reported where the shapes of the arrays are read.
        return None
