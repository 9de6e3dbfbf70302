"""Report of decoding in regions."""

from __future__ import annotations

from typing import Any

import pandas as pd

from bids_decoder.analyses.regions.figures import MOST_SHOWN, region_pictures
from bids_decoder.analyses.regions.outputs import TABLE, read_scores
from bids_decoder.evaluation.statistics import ALPHA
from bids_decoder.preprocessing.labels import MIN_VOXELS
from bids_decoder.reports.blocks import Block, Figure, Headline, Section, Table, Text
from bids_decoder.reports.cards import card_table
from bids_decoder.reports.results import Results
from bids_decoder.reports.tables import interval
from bids_decoder.reports.wording import show, show_p, words

_SHOWN = ("Atlases", "Regions", "Metric", "Estimator", "MedianShrinkage", "Chance", "Labels",
          "PoolSize", "Folds", "Permutations", "ExchangedUnits", "NumberOfUnits", "Null",
          "SmallestP", "Seed")
_CAVEATS = (
    "The highest of many scores is too high as an estimate, and its interval is not corrected for "
    "the choice; the p-value in the last column but one is. Scores rise with the number of voxels "
    "and with the noise ceiling, so that a difference of two regions is no difference of what "
    "they represent. A region at chance may carry information that this decoder does not read."
)


def sections(results: Results) -> list[Section]:
    """Return the section on regions; none where there is no table."""
    table, card = read_scores(results), results.card(TABLE)
    if table is None or table.empty:
        return []
    blocks: list[Block] = [_headline(table, card), *_verdict(card)]
    blocks += [Figure(pic) for pic in region_pictures(results, table)]
    blocks.append(_table(table.head(MOST_SHOWN), "Regions, the highest score first"))
    if len(table) > MOST_SHOWN:
        blocks.append(_table(table.iloc[MOST_SHOWN:], "All other regions", folded=True))
    if card.get("LeftOut"):
        blocks.append(Text(
            f"Left out, because fewer than {MIN_VOXELS} of their voxels have responses: "
            f"{', '.join(card['LeftOut'])}."
        ))
    blocks.append(card_table(
        {name: card[name] for name in _SHOWN if name in card}, "How the regions were decoded"
    ))
    blocks.append(Text(_CAVEATS))
    return [Section("regions", "Regions", blocks)]


def lines(results: Results) -> list[str]:
    """Return the main result in one line."""
    card = results.card(TABLE)
    if card.get("Significant") is None:
        return []
    return [
        f"sub-{results.participant}: {card['Significant']} of {card['Regions']} regions are above "
        f"chance (p ≤ {ALPHA:g}, corrected)"
    ]


def _headline(table: pd.DataFrame, card: dict[str, Any]) -> Headline:
    best, metric = table.iloc[0], card["Metric"]
    against = [
        ("regions", f"{card['Regions']:,}"), ("chance", show(card["Chance"], metric)),
        (f"highest {words(metric)}", f"{show(best['value'], metric)}, {best['region']}"),
    ]
    if card.get("Significant") is None:
        return Headline("not tested", "no permutations were asked for", against)
    return Headline(
        f"{card['Significant']:,}",
        f"regions above chance · p ≤ {ALPHA:g}, corrected for all regions (largest value)", against,
    )


def _verdict(card: dict[str, Any]) -> list[Text]:
    if (card.get("SmallestP") or 0) > ALPHA:
        return [Text(
            f"No region can be significant: the smallest possible p-value is "
            f"{card['SmallestP']:.2g}. Ask for more permutations (--n-permutations), or decode "
            "more runs.", "warn",
        )]
    if card.get("Significant") == 0:
        return [Text("No region is significant after correction.", "warn")]
    return []


def _table(table: pd.DataFrame, caption: str, *, folded: bool = False) -> Table:
    metric = str(table["metric"].iloc[0])
    header = ["region", "voxels", words(metric), "95 % interval", "p", "p, all regions",
              "noise ceiling (% variance)"]
    rows = [
        [str(row["region"]), f"{row['n_voxels']:,.0f}", show(row["value"], metric),
         interval(row, metric), show_p(row["p"]), show_p(row["p_max"]),
         "n/a" if pd.isna(row["noise_ceiling"]) else f"{row['noise_ceiling']:.1f}"]
        for _, row in table.iterrows()
    ]
    strong = frozenset(n for n, p in enumerate(table["p_max"]) if p <= ALPHA)
    return Table(header, rows, caption, frozenset(header[1:]), strong, folded=folded)
