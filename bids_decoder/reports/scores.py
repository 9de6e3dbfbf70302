"""Text on metrics: the main result, and whether it beats its baselines."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from bids_decoder.evaluation.similarity import TRANSDUCTIVE
from bids_decoder.evaluation.statistics import ALPHA
from bids_decoder.evaluation.tables import LOWER_IS_BETTER
from bids_decoder.reports.measures import PairedTests, measures
from bids_decoder.reports.results import Results, numeric
from bids_decoder.reports.wording import (
    NUMBERS,
    show,
    show_difference,
    show_p,
    show_p_with_least,
    words,
)

_TESTED = (
    "second", "target", "metric", "direction", "unit", "similarity", "value", "ci_low", "ci_high",
    "p",
)
_HEADLINES = {
    "category": ("balanced_accuracy", "accuracy", "top1"),
    "value": ("r",),
    "other": ("two_way", "top1", "accuracy", "balanced_accuracy"),
}


@dataclass(frozen=True, eq=False)
class Comparison:
    """One measure of the decoder with the same measure of its baselines.

    Parameters
    ----------
    model : str
        The decoder's name in the table.
    metric, direction : str
    name : str
        Metric and direction in words.
    circumstances : str
        Unit, similarity and pool in words.
    rows : DataFrame
        One row a model, the decoder first, then baselines from best to worst; numbers are
        floats.
    ablations : DataFrame
        One row for each part of the decoder that was left out, in the order of the table.
    tests : DataFrame
        One row for each baseline that the decoder was tested against by this measure: ``second``,
        ``value``, ``ci_low``, ``ci_high``, ``p``. Empty for measures that were not tested.
    """

    model: str
    metric: str
    direction: str
    name: str
    circumstances: str
    rows: pd.DataFrame
    ablations: pd.DataFrame
    tests: pd.DataFrame

    @property
    def title(self) -> str:
        """Return the name of the measure with its circumstances."""
        return ", ".join(filter(None, (self.name, self.circumstances)))

    @property
    def higher_is_better(self) -> bool:
        """Return whether higher values are better; False for ranks."""
        return self.metric not in LOWER_IS_BETTER

    @property
    def own(self) -> pd.Series:
        """Return the row of the decoder."""
        return self.rows.iloc[0]

    @property
    def best_baseline(self) -> pd.Series | None:
        """Return the row of the best baseline; None when there is none."""
        return self.rows.iloc[1] if len(self.rows) > 1 else None

    @property
    def chance(self) -> float:
        """Return the chance level, not-a-number when unknown."""
        return float(self.own["chance"])

    @property
    def null_interval(self) -> tuple[float, float]:
        """Return the range of the permutation null, not-a-number where the table has none."""
        return float(self.own["null_low"]), float(self.own["null_high"])

    @property
    def gain(self) -> float:
        """Return decoder minus best baseline, positive when the decoder is better."""
        if self.best_baseline is None:
            return float("nan")
        difference = float(self.own["value"] - self.best_baseline["value"])
        return difference if self.higher_is_better else -difference

    @property
    def clearly_ahead(self) -> bool:
        """Return whether the decoder is ahead of every baseline at p ≤ .05.

        Where the differences were not tested: whether its interval is apart from the best
        baseline's.
        """
        best = self.best_baseline
        if best is None or not self.gain > 0:
            return False
        if self.tests["p"].notna().any():
            return bool(((self.tests["value"] > 0) & (self.tests["p"] <= ALPHA)).all())
        below, above = (best, self.own) if self.higher_is_better else (self.own, best)
        return bool(below["ci_high"] < above["ci_low"])

    @property
    def beats_chance(self) -> bool:
        """Return whether p ≤ .05, or without p whether the interval excludes chance."""
        row = self.own
        if np.isfinite(row["p"]):
            return bool(row["p"] <= ALPHA)
        side = row["ci_low"] if self.higher_is_better else -row["ci_high"]
        return bool(side > (self.chance if self.higher_is_better else -self.chance))


def compare(
    metrics: pd.DataFrame | None, card: dict[str, Any], tests: pd.DataFrame | None = None
) -> list[Comparison]:
    """Group a metrics table by measure.

    Parameters
    ----------
    metrics : DataFrame or None
        As read from disk (text).
    card : dict
        Card of the decoder. The model called ``decoder``, or as the card's ``decoder`` says,
        or else that of the first row, is the decoder; all others but those without a part
        of the decoder are baselines.
    tests : DataFrame, optional
        The decoder against each baseline, as read from disk.

    Returns
    -------
    list of Comparison
        In the order of the table; measures without a row of the decoder are left out.
    """
    if metrics is None or metrics.empty:
        return []
    table = numeric(metrics, *NUMBERS)
    for name in ("target", "direction", "unit", "similarity", "split"):
        table[name] = table[name].fillna("") if name in table else ""
    tested = pd.DataFrame(columns=_TESTED) if tests is None else tests
    tested = numeric(tested, "pool_size", "value", "ci_low", "ci_high", "p")
    if "model" not in table:
        table["model"] = str(card.get("decoder", "decoder"))
    present = set(table["model"])
    model = next(
        (m for m in ("decoder", card.get("decoder")) if m in present), table["model"].iloc[0]
    )
    found = PairedTests(tested)
    return [
        _comparison(rows, ablations, found) for rows, ablations in measures(table, str(model))
    ]


def _comparison(rows: pd.DataFrame, ablations: pd.DataFrame, tests: PairedTests) -> Comparison:
    first = rows.iloc[0]
    pool = f"pool of {first['pool_size']:.0f}" if first["direction"] else ""
    circumstances = ", ".join(filter(None, (_words_of(first, "unit", "similarity"), pool)))
    name = ", ".join(filter(None, (_words_of(first, "metric", "direction"), first["target"])))
    return Comparison(
        str(first["model"]), str(first["metric"]), first["direction"], name, circumstances, rows,
        ablations, tests.of(rows),
    )


def _words_of(row: pd.Series, *names: str) -> str:
    return ", ".join(words(row[name]) for name in names if row[name])


def headline(comparisons: list[Comparison], target_kind: str) -> Comparison | None:
    """Choose the headline measure of the summary.

    The choice follows a fixed order (balanced accuracy for labels; correlation of the first column
    for values; two-way identification by means over repeats in folds of stimuli; top-1, brain to
    image, plain cosine for images), never the size of the result.
    """
    order = _HEADLINES.get(target_kind, _HEADLINES["other"])
    metrics = {c.metric for c in comparisons}
    wanted = next((name for name in order if name in metrics), None)
    candidates = [c for c in comparisons if wanted is None or c.metric == wanted]

    def preference(c: Comparison) -> tuple[bool, bool, bool]:
        row = c.own
        return (
            c.direction == "i2b",
            row["similarity"] not in ("cosine", ""),
            row["unit"] != ("averaged" if c.metric == "two_way" else "single"),
        )

    return min(candidates, key=preference, default=None)


def main_measures(comparisons: list[Comparison], top: Comparison) -> list[Comparison]:
    """Choose the measures that are shown in the figure.

    These are all measures of labels and values that have a chance level; of images the metric and
    pool of the headline, in both directions, as plain cosine and CSLS, and the median rank of
    single trials.
    """
    if not top.direction:
        return [c for c in comparisons if np.isfinite(c.chance)]
    pool, metric = top.own["pool_size"], top.metric
    plain = [c for c in comparisons if c.own["similarity"] in ("cosine", "csls")]
    chosen = [c for c in plain if c.metric == metric and c.own["pool_size"] == pool]
    return chosen + [
        c for c in plain if c.metric == "median_rank"
        and c.own["similarity"] == "cosine" and c.own["unit"] == "single"
    ]


_VERBS = {"category": ("named the category", "out of"), "value": ("predicted “{}”", "")}
"""What the decoder did, by kind of target, and the word before the number of alternatives."""


def say_result(comparison: Comparison, target_kind: str) -> str:
    """Return the result in one or two sentences, with chance, interval and p."""
    row, metric = comparison.own, comparison.metric
    things = "stimuli" if metric == "two_way" else "images" if comparison.direction else "trials"
    number = f"{row['n']:.0f} held-out {things}" if np.isfinite(row["n"]) else f"held-out {things}"
    verb, relation = _VERBS.get(target_kind, ("found what was shown", "among"))
    verb = verb.format(row["target"])
    pool = f" {relation} {row['pool_size']:.0f}" if np.isfinite(row["pool_size"]) else ""
    direction = f", {words(row['direction'])}" if row["direction"] else ""
    unit = f", {words(row['unit'])}" if row["unit"] else ""
    text = (
        f"On {number} the decoder {verb}{pool} with a {words(metric)} of "
        f"{show(row['value'], metric)}{direction}{unit} (chance {show(row['chance'], metric)}; "
        f"{_say_interval(row, metric)}; permutation p = {show_p_with_least(row)})."
    )
    is_blind = row.get("p_min", np.nan) > ALPHA
    told = "The test cannot tell it" if is_blind else "This is not distinguishable"
    return text if comparison.beats_chance else f"{text} {told} from chance."


def _say_interval(row: pd.Series, metric: str) -> str:
    if not np.isfinite([row["ci_low"], row["ci_high"]]).all():
        return "no 95 % interval: too few runs or trials"
    return f"95 % interval {show(row['ci_low'], metric)} to {show(row['ci_high'], metric)}"


def say_baseline(comparison: Comparison) -> str:
    """Return whether the decoder is ahead of its best baseline, as text."""
    best, metric = comparison.best_baseline, comparison.metric
    if best is None:
        return "No baseline was scored on the same split, so the result has no reference."
    numbers = f"{show(comparison.own['value'], metric)} against {show(best['value'], metric)}"
    tested = comparison.tests[comparison.tests["second"] == best["model"]]
    difference = f" {_say_difference(tested.iloc[0], metric)}" if len(tested) else ""
    if not comparison.gain > 0:
        return (
            f"The decoder does not beat its best baseline: {numbers} for “{best['model']}” on "
            f"the same trials.{difference} The simpler model is the better choice on these data."
        )
    if not difference:
        apart = "are apart" if comparison.clearly_ahead else "overlap"
        difference = f" The difference was not tested; their intervals {apart}."
    told = "not distinguishable from" if tested["p"].ge(ALPHA).any() else "ahead of"
    return (
        f"It is {told} its best baseline “{best['model']}”: {numbers} on the same trials."
        f"{difference}"
    )


def _say_difference(test: pd.Series, metric: str) -> str:
    value, low, high = (show_difference(test[c], metric) for c in ("value", "ci_low", "ci_high"))
    return (
        f"The difference is {value} (95 % interval {low} to {high}; paired test, two-sided "
        f"p = {show_p(test['p'])})."
    )


def say_count(comparisons: list[Comparison]) -> str:
    """Count the measures on which the decoder is ahead of every baseline.

    Only measures with a chance level count, and no transductive ones.
    """
    judged = [
        c for c in comparisons if c.best_baseline is not None and np.isfinite(c.chance)
        and c.own["similarity"] not in TRANSDUCTIVE
    ]
    if len(judged) < 2:
        return ""
    ahead = sum(c.gain > 0 for c in judged)
    return f"Over all {len(judged)} measures with baselines it is ahead on {ahead}."


def seen_participants(card: dict[str, Any]) -> list[str]:
    """Return the participants whose data a model was pretrained on, from its card.

    The card of a participant's decoder lists them as ``pretrained_on``, the card of the pretrained
    model itself as ``participants``.
    """
    listed = card.get("pretrained_on", card.get("participants", []))
    return sorted(str(p).removeprefix("sub-") for p in listed)


def target_kind(results: Results) -> str:
    """Return what was decoded: one of :data:`bids_decoder.trials.KINDS`."""
    return str(results.plan.get("target_kind", "image"))
