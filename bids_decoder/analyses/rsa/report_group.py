"""Report of models of distances over participants."""

from __future__ import annotations

import numpy as np
import pandas as pd

from bids_decoder.analyses.rsa.figures import draw_ceiling
from bids_decoder.analyses.rsa.report_regions import MOST_SHOWN, limits
from bids_decoder.evaluation.statistics import ALPHA
from bids_decoder.reports.blocks import Block, Figure, Table, Text
from bids_decoder.reports.figures import picture
from bids_decoder.reports.results import Results, numeric
from bids_decoder.reports.wording import show_p

_NUMBERS = ("value", "ci_low", "ci_high", "p", "p_max", "p_holm", "p_min", "n", "n_conditions",
            "n_significant")


def group_blocks(results: Results) -> list[Block]:
    """Return models, noise ceiling and differences; nothing where they were not compared."""
    table = results.table("group_rsa")
    if table is None:
        return []
    table = numeric(table, *_NUMBERS)
    whole = table[table["region"].isna()]
    blocks: list[Block] = []
    if len(whole):
        blocks += [*_ceiling(whole), _means(whole, "Models over participants"), *_gaps(whole)]
    regions = table[table["region"].notna()]
    if len(regions):
        blocks += _region_blocks(regions)
    return blocks


def _ceiling(table: pd.DataFrame) -> list[Block]:
    low, high = (
        table[table["statistic"] == name].iloc[0] for name in ("ceiling_lower", "ceiling_upper")
    )
    means = table[table["statistic"] == "mean"]
    return [
        Text(
            f"Noise ceiling over {low['n']:.0f} participants and {low['n_conditions']:.0f} "
            f"conditions that all have: {low['value']:.3f} to {high['value']:.3f}. A model that "
            "reaches the lower limit fits as well as the other participants do. Intervals and "
            f"p-values hold for {low['method']}."
        ),
        Figure(picture(
            draw_ceiling(means, low["value"], high["value"]), "rsaceiling",
            "Mean whitened correlation of each model with 95 % intervals; grey: noise ceiling.",
            "Models and the noise ceiling.",
        )),
    ]


def _means(table: pd.DataFrame, caption: str) -> Table:
    """List the models of one set of voxels."""
    header = ["model", "mean whitened correlation", "95 % interval", "p", "p, sign flips",
              "below ceiling", "p, below ceiling", "prevalence (Bayes)", "p, nobody"]
    rows = []
    for _, row in table[table["statistic"] == "mean"].iterrows():
        own = table[table["model"] == row["model"]].set_index("statistic")
        bayes, nobody = (
            own.loc[name] if name in own.index else None
            for name in ("prevalence_bayesian", "prevalence_permutation")
        )
        rows.append([
            row["model"], f"{row['value']:.3f}", limits(row),
            show_p(row["p"]), show_p(row["p_max"]),
            f"{own.loc['below_ceiling', 'value']:.3f}", show_p(own.loc["below_ceiling", "p"]),
            "n/a" if bayes is None else f"{bayes['value']:.2f} ({limits(bayes)})",
            "n/a" if nobody is None else show_p(nobody["p"]),
        ])
    return Table(header, rows, caption, frozenset(header[1:]))


def _gaps(table: pd.DataFrame) -> list[Table]:
    header = ["model", "less", "difference", "95 % interval", "p", "p, all pairs"]
    rows = [
        [row["model"], row["against"], f"{row['value']:.3f}", limits(row), show_p(row["p"]),
         show_p(row["p_holm"])]
        for _, row in table[table["statistic"] == "difference"].iterrows()
    ]
    return [Table(header, rows, "Differences of models over participants", frozenset(header[2:]))] \
        if rows else []


def _region_blocks(table: pd.DataFrame) -> list[Block]:
    """List models in regions, the highest mean first."""
    means = table[table["statistic"] == "mean"]
    means = means.sort_values("value", ascending=False, kind="stable")
    ceilings = table[table["statistic"] == "ceiling_lower"].set_index("region")["value"]
    header = ["region", "model", "mean whitened correlation", "95 % interval", "p",
              "p, all regions and models", "lower ceiling"]
    rows = [
        [row["region"], row["model"], f"{row['value']:.3f}", limits(row), show_p(row["p"]),
         show_p(row["p_max"]), f"{ceilings[row['region']]:.3f}"]
        for _, row in means.iterrows()
    ]
    strong = frozenset(np.flatnonzero(means["p_max"].to_numpy() <= ALPHA).tolist())
    return [Table(
        header, rows, "Models in regions over participants, the highest mean first; differences "
        "of models are in group/desc-rsa_metrics.tsv", frozenset(header[2:]), strong,
        folded=len(rows) > MOST_SHOWN,
    )]
