"""Report of p-values, and of the decoder against each baseline."""

from __future__ import annotations

import pandas as pd

from bids_decoder.evaluation.multiple import is_headline
from bids_decoder.evaluation.statistics import ALPHA
from bids_decoder.reports.blocks import Block, Table, Text
from bids_decoder.reports.results import Results, numeric
from bids_decoder.reports.scores import target_kind
from bids_decoder.reports.wording import show_difference, show_p, words

_NULLS = {
    "refitted": "P values come from {n} permutations of what is decoded ({units}). Under each, "
                "everything was done again in every fold: choosing voxels, their number and "
                "penalties, fitting, baselines. Predictions of different folds share training "
                "trials, so that permuting against fixed predictions would give p values "
                "that are too small (Valente et al. 2021).",
    "fixed": "P values come from {n} permutations of the test labels, values or images against "
             "fixed predictions. This is exact for one test set, whose labels no prediction "
             "depends on.",
    "none": "There are no p values: no permutations were fitted (--n-permutations 0). Against "
            "the fixed predictions of cross-validation p values would be too small.",
}


def null_blocks(results: Results) -> list[Block]:
    """Describe how p-values were computed, and for how many scores."""
    return [*_null_texts(results), *_multiple(results)]


def _multiple(results: Results) -> list[Block]:
    """State how many scores were tested, and which one was chosen before."""
    metrics = results.table("metrics")
    if metrics is None or "p_holm" not in metrics:
        return []
    own = numeric(metrics[metrics["model"] == "decoder"], "pool_size", "p", "p_holm")
    head = own[is_headline(own, target_kind(results))]
    if head.empty or own["p"].isna().all():
        return []
    names = ("metric", "target", "direction", "unit", "similarity")
    first = head.iloc[0]
    chosen = ", ".join(words(first[name]) for name in names if first.get(name))
    others = own["p_holm"].dropna()
    apart = int((own["inference"][others.index] == "transductive").sum()) if (
        "inference" in own) else 0
    families = f", the {apart} transductive ones as a family of their own" if apart else ""
    return [Text(
        f"{own['p'].notna().sum()} scores of the decoder were tested. "
        f"The headline, {chosen}, was fixed in the "
        f"plan before anything was fitted, and its p value is not corrected. Those of the other "
        f"{len(others)} are also given corrected for their number{families} (Holm 1979, column "
        f"p_holm); {int((others <= ALPHA).sum())} of them are at most {ALPHA:g}."
    )]


def _null_texts(results: Results) -> list[Block]:
    metrics = results.table("metrics")
    if metrics is None or "null" not in metrics:
        return []
    own = metrics[metrics["model"] == "decoder"]
    if own.empty:
        return []
    first = numeric(own, "n_null", "p_min").iloc[0]
    units = results.card("nulls").get("ExchangedUnits", "")
    text = _NULLS[first["null"]].format(n=_whole(first["n_null"]), units=units)
    if pd.notna(first["p_min"]):
        text += f" The smallest p value possible is {show_p(first['p_min'])}."
    tails = numeric(own, "p_tail").dropna(subset="p_tail")
    if len(tails):
        text += (
            " Extrapolated from a generalised Pareto distribution fitted to the largest null "
            "values: " + ", ".join(
                f"{words(row['metric'])} p = {show_p(row['p_tail'])}"
                for _, row in tails.drop_duplicates("metric").iterrows()
            ) + "."
        )
    return [Text(text)]


def _measures_of(comparisons: pd.DataFrame) -> list[str]:
    """Return what distinguishes the rows of one baseline, where there are several."""
    if not comparisons["second"].duplicated().any():
        return [""] * len(comparisons)
    return [f": {words(row['metric'])}, {row['target']}" for _, row in comparisons.iterrows()]


def baseline_blocks(results: Results) -> list[Block]:
    """List the difference of the decoder from each baseline, with interval and p."""
    table = results.table("comparisons")
    if table is None or table.empty:
        return []
    table = numeric(table, "value", "ci_low", "ci_high", "p", "n")
    measures = _measures_of(table)
    header = ["baseline", "ahead by", "95 % interval", "p", "test"]
    rows = [
        [f"{row['second']}{name}", show_difference(row["value"], row["metric"]),
         f"{show_difference(row['ci_low'], row['metric'])} to "
         f"{show_difference(row['ci_high'], row['metric'])}", show_p(row["p"]),
         f"{row['test']} ({_whole(row['n'])})"]
        for name, (_, row) in zip(measures, table.iterrows(), strict=True)
    ]
    what = "" if any(measures) else f": {words(table['metric'].iloc[0])}"
    caption = f"The decoder less each baseline{what}, two-sided p"
    return [Table(header, rows, caption, frozenset(header[1:4]))]


def _whole(number: float) -> str:
    return "no" if pd.isna(number) else f"{number:.0f}"
