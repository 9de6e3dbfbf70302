"""What the permutation test of a participant can show at best, known before computing."""

from __future__ import annotations

import numpy as np
import pandas as pd

from bids_decoder.errors import Finding
from bids_decoder.evaluation.classification import exchanged_labels
from bids_decoder.evaluation.retrieval import permutation_blocks
from bids_decoder.evaluation.statistics import smallest_p

LEVEL = 0.05
"""A test that cannot get below this p-value shows nothing, however good the decoder."""


def check_smallest_p(
    label: str, table: pd.DataFrame, target_kind: str, n_permutations: int
) -> list[Finding]:
    """Warn when too few trials or stimuli are held out for a significant result.

    Parameters
    ----------
    label : str
        Of the participant.
    table : DataFrame
        Trials with their split; see :data:`bids_decoder.trials.TRIAL_COLUMNS`.
    target_kind : {"category", "image", "features"}
    n_permutations : int

    Returns
    -------
    list of Finding
        One warning, or none.
    """
    split = table["split"].to_numpy()
    held = table[~table["excluded"].to_numpy(dtype=bool) & ((split == "test") | (split == "cv"))]
    if held.empty:
        return []
    least = _smallest_p(held, target_kind, n_permutations)
    if least <= LEVEL:
        return []
    what = "trials" if target_kind == "category" else "stimuli"
    return [Finding(
        f"sub-{label}: smallest possible p-value",
        f"{least:.2g}: {len(held)} held-out trials of {held['stimulus'].nunique()} stimuli in "
        f"{held['run_group'].nunique()} run(s) can be exchanged in few ways, so that no result "
        f"can reach p < {LEVEL:g}",
        f"hold out more {what} (--test-runs, --test-sessions, --split-column), or take the scores "
        "as a description", severity="warning", participant=label,
    )]


def _smallest_p(held: pd.DataFrame, target_kind: str, n_permutations: int) -> float:
    runs = held["run_group"].to_numpy(dtype=str)
    if target_kind == "category":
        run_of = pd.factorize(runs)[0]
        labels, blocks, _ = exchanged_labels(held["label"].to_numpy(dtype=str), run_of)
        return smallest_p(labels, blocks, n_permutations)
    image_of = pd.factorize(held["stimulus"], sort=True)[0]
    blocks = permutation_blocks(image_of, runs)
    return smallest_p(np.arange(len(blocks)), blocks, n_permutations)
