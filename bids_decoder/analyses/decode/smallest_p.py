"""Smallest p-value of the permutation test of a participant, known before computing."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from bids_decoder.analyses.refits import BASELINES
from bids_decoder.bids.values import read_values
from bids_decoder.config import Evaluation
from bids_decoder.errors import Finding
from bids_decoder.evaluation.baselines import WHOLE
from bids_decoder.evaluation.nulls import (
    Exchange,
    exchange_images,
    exchange_stimuli,
    find_exchange,
    permutation_blocks,
)
from bids_decoder.evaluation.statistics import ALPHA
from bids_decoder.trials import KINDS, VALUE, Decision


def check_smallest_p(
    test: tuple[str, pd.DataFrame, int], target_kind: str,
    together: Sequence[Sequence[str]] = (),
) -> list[Finding]:
    """Warn when too few trials or stimuli are held out for a significant result.

    Parameters
    ----------
    test : tuple of (str, DataFrame, int)
        Label of the participant, trials with their split (see
        :data:`bids_decoder.trials.TRIAL_COLUMNS`), and number of permutations.
    target_kind : str
        One of :data:`bids_decoder.trials.KINDS`.
    together : sequence of sequence of str
        Stimuli that folds of stimuli do not separate.

    Returns
    -------
    list of Finding
        One warning, or none.
    """
    label, table, n_permutations = test
    split = table["split"].to_numpy()
    rows = ~table["excluded"].to_numpy(dtype=bool) & ((split == "test") | (split == "cv"))
    held = table if rows.all() else table[rows]
    if held.empty or not n_permutations:
        return []
    least = _smallest_p(held, target_kind, together, n_permutations)
    if least <= ALPHA:
        return []
    if least <= 1 / (1 + n_permutations):
        return [Finding(
            f"sub-{label}: smallest possible p-value",
            f"{least:.2g}: {n_permutations} permutations are too few for p ≤ {ALPHA:g}",
            "give more (--n-permutations 100)", severity="warning", participant=label,
        )]
    what = "trials" if KINDS[target_kind].over_runs else "stimuli"
    return [Finding(
        f"sub-{label}: smallest possible p-value",
        f"{least:.2g}: {len(held)} held-out trials of {held['stimulus'].nunique()} stimuli in "
        f"{held['run_group'].nunique()} run(s) can be exchanged in few ways, so that no result "
        f"can reach p ≤ {ALPHA:g}",
        f"hold out more {what} (--test-runs, --test-sessions, --split-column), or take the scores "
        "as a description", severity="warning", participant=label,
    )]


def n_tested(table: pd.DataFrame, settings: Evaluation, n_refits: int) -> int:
    """Return the number of permutations for trials with this split."""
    crossed = "cv" in table["split"].tolist()
    return n_refits if crossed else settings.n_permutations


def decide_test(
    table: pd.DataFrame, settings: Evaluation, n_refits: int, target_kind: str = "category", *,
    together: Sequence[Sequence[str]] = (), is_batched: bool,
) -> Decision:
    """Return the decision on how p-values are computed.

    Parameters
    ----------
    table : DataFrame
        Trials of one participant with their split.
    settings : Evaluation
    n_refits : int
        Permutations under which everything is fitted again.
    target_kind : str
        One of :data:`bids_decoder.trials.KINDS`.
    together : sequence of sequence of str
        Stimuli that folds of stimuli do not separate.
    is_batched : bool
        Whether these fits are computed together.
    """
    crossed = table[(table["split"] == "cv") & ~table["excluded"].astype(bool)]
    if crossed.empty:
        return Decision(
            "permutations", f"{settings.n_permutations}, predictions stay",
            "one test set: no prediction depends on its labels, so that exchanging them is exact",
        )
    exchange = _exchange(crossed, target_kind, together)
    cost = (
        "All are fitted together, in closed form" if is_batched else
        "They are fitted one after the other, each as long as the fit itself: --n-permutations 0 "
        "to look first"
    )
    others = f"; baselines other than {WHOLE} under the first {BASELINES}"
    return Decision(
        "permutations", f"{n_refits} of {exchange.kind}, everything fitted again",
        "predictions of different folds depend on each other through the targets that "
        "they share for training; against fixed predictions p-values would be too small. "
        f"{cost}{others if n_refits > BASELINES else ''}",
    )


def _exchange(
    held: pd.DataFrame, target_kind: str, together: Sequence[Sequence[str]]
) -> Exchange:
    """Find what is exchanged under cross-validation."""
    kind, runs = KINDS[target_kind], held["run_group"].to_numpy(dtype=str)
    targets = held[kind.column].to_numpy(dtype=str)
    if kind.over_runs:
        values = read_values(targets.tolist()) if target_kind == VALUE else None
        return find_exchange(targets, runs, held["fold"].to_numpy(dtype=int), values)
    return exchange_stimuli(targets, runs, together)[0]


def _smallest_p(
    held: pd.DataFrame, target_kind: str, together: Sequence[Sequence[str]], n_permutations: int
) -> float:
    if KINDS[target_kind].over_runs or (held["split"] == "cv").any():
        return _exchange(held, target_kind, together).smallest_p(n_permutations)
    image_of = pd.factorize(held["stimulus"], sort=True)[0]
    blocks = permutation_blocks(image_of, held["run_group"].to_numpy(dtype=str))
    return exchange_images(blocks).smallest_p(n_permutations)
