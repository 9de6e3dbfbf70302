"""Statistics of one measure over participants, as rows of one table.

A t-test of accuracies against chance is not among them: no true accuracy is below chance, so that
it rejects as soon as some participant carries information, and says nothing about the population
[1]_. Prevalence takes its place; differences from baselines, which may have either sign, are tested
by flipping signs.

References
----------
.. [1] Allefeld, Görgen and Haynes (2016), Valid population inference for information-based
   imaging, NeuroImage 141:378.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd

from bids_decoder.errors import InputError
from bids_decoder.evaluation.association import Association, associate, compare_groups
from bids_decoder.evaluation.pooling import bootstrap_interval, new_participant, random_effects
from bids_decoder.evaluation.prevalence import (
    bayesian_prevalence,
    group_effect,
    leave_one_out_means,
    permutation_prevalence,
)
from bids_decoder.evaluation.statistics import ALPHA

N_PERMUTATIONS = 9_999
LEAST_BOOTSTRAP = 5
"""With fewer participants the bootstrap covers too rarely, and is left out."""

STATISTICS: dict[str, str] = {
    "participant": "Score of one participant; interval, p and n (trials or images) are those of "
                   "the table of this participant.",
    "mean": "Mean over participants.",
    "sd_between": "Standard deviation of true scores between participants.",
    "new_participant": "Interval in which the true score of one more participant is expected.",
    "mean_without": "Mean over all participants but the one named.",
    "prevalence_bayesian": "Share of the population in which this test, at the 5 % level, finds "
                           "information: most likely value and highest-density interval.",
    "prevalence_permutation": "Largest share of the population that can be rejected as too small; "
                              "p is that of the global null hypothesis, that nobody has "
                              "information.",
    "prevalence_majority": "p of the null hypothesis that at most half of the population has "
                           "information.",
    "difference": "Mean difference from a baseline, positive where the decoder is better.",
    "group_mean": "Mean over the participants of one group.",
    "group_difference": "Two groups: mean of the second less that of the first. More: share of the "
                        "variance that lies between groups.",
    "slope": "Change of the score per unit of a covariate.",
}
"""Values of the column ``statistic``, with their meaning."""

RESULT_COLUMNS: dict[str, str] = {
    "statistic": "What the row holds.",
    "method": "How it was computed.",
    "against": "Baseline, group, or column of participants.tsv, where the statistic has one.",
    "participant": "Participant, where the row concerns one.",
    "value": "Estimate.",
    "chance": "Value of a decoder without information; mean over participants.",
    "ci_low": "Lower limit of the 95 % interval.",
    "ci_high": "Upper limit of the 95 % interval.",
    "p": "p-value, two-sided except for prevalence.",
    "p_min": "Smallest p-value possible with so many participants and permutations.",
    "n": "Number of participants; of trials or images in rows of one participant.",
    "n_significant": "Participants with p of at most .05 of their own.",
}
"""Columns of :func:`describe` and :func:`relate`, with their descriptions."""


@dataclass(frozen=True, eq=False)
class Measure:
    """One measure of the same model in several participants.

    Parameters
    ----------
    scores : DataFrame
        One row per participant: ``participant``, and the numbers ``value, chance, ci_low, ci_high,
        p, p_min, n``; missing ones are NaN.
    baselines : mapping of str to ndarray, shape (n_participants,)
        Scores of other models on the same trials; NaN where a participant has none.
    nulls : sequence of ndarray
        Scores of each participant under permutation; empty where none were saved.
    higher_is_better : bool
    bounds : tuple of float
        Smallest and largest possible value.
    """

    scores: pd.DataFrame
    baselines: Mapping[str, np.ndarray]
    nulls: Sequence[np.ndarray]
    higher_is_better: bool = True
    bounds: tuple[float, float] = (-np.inf, np.inf)

    def numbers(self, column: str) -> np.ndarray:
        """Return one column of the scores, (n_participants,)."""
        return self.scores[column].to_numpy(np.float64)

    @property
    def sign(self) -> float:
        """Return 1 where larger is better, else -1."""
        return 1.0 if self.higher_is_better else -1.0


@dataclass(frozen=True, eq=False)
class Variable:
    """A property of participants with which scores may be associated.

    Parameters
    ----------
    name : str
        Column of ``participants.tsv``.
    is_group : bool
        Whether values are names of groups; otherwise they are numbers.
    values : ndarray of object, shape (n_participants,)
        None where a participant has no value.
    blocks : ndarray of object or None, shape (n_participants,)
        Participants are exchanged within a block only.
    """

    name: str
    is_group: bool
    values: np.ndarray
    blocks: np.ndarray | None = None

    @property
    def known(self) -> np.ndarray:
        """Return which participants can be used, (n_participants,)."""
        present = pd.notna(self.values)
        return present if self.blocks is None else present & pd.notna(self.blocks)


def describe(measure: Measure, rng: np.random.Generator) -> list[dict[str, Any]]:
    """Compute prevalence, effects and the influence of each participant.

    Parameters
    ----------
    measure : Measure
        Of at least two participants.
    rng : numpy.random.Generator

    Returns
    -------
    list of dict
        With some of :data:`RESULT_COLUMNS`.
    """
    return [
        *_participants(measure), *_means(measure, rng), *_influence(measure),
        *prevalence(measure), *_differences(measure, rng),
    ]


def prevalence(measure: Measure) -> list[dict[str, Any]]:
    """Estimate how common information is, where participants have tests of their own.

    Parameters
    ----------
    measure : Measure

    Returns
    -------
    list of dict
        With some of :data:`RESULT_COLUMNS`.
    """
    return [*_bayesian(measure), *_permuted(measure)]


def _participants(measure: Measure) -> list[dict[str, Any]]:
    rows = measure.scores.to_dict("records")
    return [{"statistic": "participant", "method": "table of the participant", **row}
            for row in rows]


def _means(measure: Measure, rng: np.random.Generator) -> list[dict[str, Any]]:
    values = measure.numbers("value")
    errors = (measure.numbers("ci_high") - measure.numbers("ci_low")) / (2 * 1.96)
    pooled = random_effects(values, errors, measure.bounds)
    shared = {"chance": np.nanmean(measure.numbers("chance"))
              if np.isfinite(measure.numbers("chance")).any() else np.nan, "n": len(values)}
    rows = [{"statistic": "mean", "method": pooled.method, "value": pooled.mean,
             "ci_low": pooled.ci_low, "ci_high": pooled.ci_high, **shared}]
    if len(values) >= LEAST_BOOTSTRAP:
        low, high = bootstrap_interval(values, rng)
        rows.append({"statistic": "mean", "method": "bootstrap of participants (BCa)",
                     "value": values.mean(), "ci_low": low, "ci_high": high, **shared})
    rows.append({"statistic": "sd_between", "method": pooled.method, "value": pooled.sd_between,
                 "n": len(values)})
    low, high = new_participant(pooled, measure.bounds)
    rows.append({"statistic": "new_participant", "method": pooled.method, "value": pooled.mean,
                 "ci_low": low, "ci_high": high, **shared})
    return rows


def _influence(measure: Measure) -> list[dict[str, Any]]:
    means = leave_one_out_means(measure.numbers("value"))
    return [
        {"statistic": "mean_without", "method": "mean", "participant": name, "value": mean,
         "n": len(means) - 1}
        for name, mean in zip(measure.scores["participant"], means, strict=True)
    ]


def _bayesian(measure: Measure) -> list[dict[str, Any]]:
    """Estimate prevalence from participants whose own test can reach the level."""
    p, least = measure.numbers("p"), measure.numbers("p_min")
    tested = p[np.isfinite(p) & ~(least > ALPHA)]
    if not len(tested):
        return []
    found = bayesian_prevalence(int((tested <= ALPHA).sum()), len(tested), ALPHA)
    return [{
        "statistic": "prevalence_bayesian", "method": "uniform prior (Ince et al. 2021)",
        "value": found.most_likely, "ci_low": found.ci_low, "ci_high": found.ci_high,
        "n": found.n_participants, "n_significant": found.n_significant,
    }]


def _permuted(measure: Measure) -> list[dict[str, Any]]:
    """Test prevalence by the participants that have null distributions."""
    having = [number for number, null in enumerate(measure.nulls) if len(null)]
    if len(having) < 2:
        return []
    found = permutation_prevalence(
        measure.sign * measure.numbers("value")[having],
        [measure.sign * measure.nulls[number] for number in having], alpha=ALPHA,
    )
    shared = {"method": "minimum statistic (Allefeld et al. 2016)", "n": len(having)}
    return [
        {"statistic": "prevalence_permutation", "value": found.largest_rejected,
         "p": found.p_global, "p_min": found.resolution, **shared},
        {"statistic": "prevalence_majority", "value": 0.5, "p": found.p_majority,
         "p_min": found.resolution_majority, **shared},
    ]


def _differences(measure: Measure, rng: np.random.Generator) -> list[dict[str, Any]]:
    rows = []
    width = measure.bounds[1] - measure.bounds[0]
    for name, scores in measure.baselines.items():
        gaps = measure.sign * (measure.numbers("value") - scores)
        gaps = gaps[np.isfinite(gaps)]
        if len(gaps) < 2:
            continue
        found = group_effect(gaps, n_permutations=N_PERMUTATIONS, rng=rng, bounds=(-width, width))
        rows.append({
            "statistic": "difference", "method": "sign flips", "against": name,
            "value": found.mean, "ci_low": found.ci_low, "ci_high": found.ci_high, "p": found.p,
            "p_min": found.resolution, "n": found.n_participants,
        })
    return rows


def relate(
    measure: Measure, variable: Variable, rng: np.random.Generator
) -> list[dict[str, Any]]:
    """Test whether scores differ between groups, or with a covariate.

    Parameters
    ----------
    measure : Measure
    variable : Variable
        Of the same participants.
    rng : numpy.random.Generator

    Returns
    -------
    list of dict
        With some of :data:`RESULT_COLUMNS`. Where the test is impossible, its row has no p and
        ``method`` says why.
    """
    known = variable.known
    scores = measure.numbers("value")[known]
    values = variable.values[known]
    blocks = None if variable.blocks is None else variable.blocks[known].astype(str)
    rows = _group_means(measure, variable) if variable.is_group else []
    kind = "group_difference" if variable.is_group else "slope"
    shared = {"statistic": kind, "against": variable.name, "n": len(scores)}
    try:
        found, method = _association(scores, values, variable.is_group, blocks, rng)
    except InputError as error:
        return [*rows, {**shared, "method": f"not tested: {error.finding.why}"}]
    numbers = asdict(found)
    return [*rows, {
        **shared, "method": method, "p_min": found.resolution,
        **{name: numbers[name] for name in ("value", "ci_low", "ci_high", "p")},
    }]


def _association(
    scores: np.ndarray, values: np.ndarray, is_group: bool, blocks: np.ndarray | None,
    rng: np.random.Generator,
) -> tuple[Association, str]:
    options = {"n_permutations": N_PERMUTATIONS, "rng": rng, "blocks": blocks}
    within = "" if blocks is None else " within blocks"
    if not is_group:
        found = associate(scores, values.astype(np.float64), **options)
        return found, f"permutation{within}"
    names, number = np.unique(values.astype(str), return_inverse=True)
    if len(names) < 3:
        found = associate(scores, number, **options)
        what = " less ".join(names[::-1])
        return found, f"permutation{within}, {what}"
    return compare_groups(scores, number, **options), f"permutation of F{within}"


def _group_means(measure: Measure, variable: Variable) -> list[dict[str, Any]]:
    rows, known = [], variable.known
    values = variable.values[known].astype(str)
    scores = measure.numbers("value")[known]
    for name in np.unique(values):
        members = scores[values == name]
        pooled = random_effects(members, np.full(len(members), np.nan), measure.bounds)
        rows.append({
            "statistic": "group_mean", "method": pooled.method, "against": name,
            "value": pooled.mean, "ci_low": pooled.ci_low, "ci_high": pooled.ci_high,
            "n": len(members),
        })
    return rows
