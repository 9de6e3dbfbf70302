"""The answer of a participant's report: can it be decoded, and what speaks against it."""

from __future__ import annotations

import numpy as np
import pandas as pd

from bids_decoder.analyses.decode.report import comparisons_of
from bids_decoder.reports.blocks import Answer, Worry
from bids_decoder.reports.results import Results
from bids_decoder.reports.scores import Comparison, headline, seen_participants, target_kind
from bids_decoder.reports.verdict import cannot_reach, judge
from bids_decoder.reports.wording import show_p

FEW_TRIALS = 30
"""Held-out trials or stimuli below which a score is a worry."""
FEW_OF_A_LABEL = 8
"""Held-out trials of a label below which its score is a worry."""
UNBALANCED = 1.5
"""Trials of the most by those of the least frequent label, above which they are a worry."""


def answer(results: Results) -> Answer | None:
    """Return whether the headline score is above chance; None where nothing was decoded."""
    top = headline(comparisons_of(results), target_kind(results))
    return None if top is None else judge(top, target_kind(results))


def worries(results: Results) -> list[Worry]:
    """Return few or unbalanced trials, and a participant that the model saw in pretraining."""
    top = headline(comparisons_of(results), target_kind(results))
    if top is None:
        return []
    labels = pd.Series(dtype=object)
    predictions = results.table("predictions")
    if target_kind(results) == "category" and predictions is not None:
        labels = predictions["label"].dropna()
    return [*_seen(results), *no_test(top), *few_trials(top), *label_worries(labels)]


def no_test(top: Comparison) -> list[Worry]:
    """Return a worry if the test could not have given a significant result.

    Parameters
    ----------
    top : Comparison
        The headline measure.
    """
    if not cannot_reach(top):
        return []
    return [Worry(
        f"No result could be significant: the smallest p-value that the test can give is "
        f"{show_p(top.own['p_min'])}.", "decoding",
    )]


def _seen(results: Results) -> list[Worry]:
    if results.participant not in seen_participants(results.card("decoder_model")):
        return []
    return [Worry(
        "Seen in pretraining: this participant's data were among those that the model was "
        "pretrained on. This is not a result for a new participant.", "decoding", "bad",
    )]


def few_trials(top: Comparison) -> list[Worry]:
    """Return a worry if a score rests on few held-out trials.

    Parameters
    ----------
    top : Comparison
        The headline measure; its ``n`` counts trials or stimuli.
    """
    n = top.own["n"]
    if not np.isfinite(n) or n >= FEW_TRIALS:
        return []
    things = "images" if top.direction else "trials"
    return [Worry(
        f"Few held-out {things}: the score rests on {n:.0f}, so that the interval is wide and "
        "single ones weigh much.", "split",
    )]


def label_worries(labels: pd.Series) -> list[Worry]:
    """Return worries on labels that are rare, or much rarer than others.

    Parameters
    ----------
    labels : Series of str, shape (n_trials,)
        The label of each held-out trial; empty where no labels are decoded.
    """
    counts = labels.value_counts()
    if counts.empty:
        return []
    most, least = counts.index[0], counts.index[-1]
    found = []
    if counts[most] > UNBALANCED * counts[least]:
        found.append(Worry(
            f"Unbalanced labels: {counts[most]} held-out trials of “{most}”, {counts[least]} of "
            f"“{least}”. Plain accuracy rewards guessing the frequent label; balanced accuracy "
            "does not.", "decoding",
        ))
    if counts[least] < FEW_OF_A_LABEL:
        rare = int((counts < FEW_OF_A_LABEL).sum())
        found.append(Worry(
            f"{rare} of {len(counts)} labels have fewer than {FEW_OF_A_LABEL} held-out trials "
            f"(“{least}”: {counts[least]}): what is said of single labels is uncertain.",
            "decoding",
        ))
    return found
