"""Report of models of distances in regions."""

from __future__ import annotations

import pandas as pd

from bids_decoder.analyses.rsa.figures import draw_region_models
from bids_decoder.analyses.rsa.region_outputs import TABLE, read_regions_table
from bids_decoder.evaluation.statistics import ALPHA
from bids_decoder.preprocessing.labels import MIN_VOXELS
from bids_decoder.reports.blocks import Block, Figure, Section, Table, Text
from bids_decoder.reports.figures import picture
from bids_decoder.reports.results import Results
from bids_decoder.reports.wording import show_p

MOST_SHOWN = 40
"""Regions in the figure and in the open part of the table."""

_CAVEATS = (
    "The highest of many correlations is too high as an estimate. Noise in the distances lowers "
    "correlations, more so in small or noisy regions, so that a difference of two regions is no "
    "difference of what they represent; models are compared within a region."
)


def region_sections(results: Results) -> list[Section]:
    """Return the section on models in regions; none where there is no table."""
    table, card = read_regions_table(results), results.card(TABLE)
    if table is None:
        return []
    order = _order(table)
    shown = order[:MOST_SHOWN]
    which = f"The {len(shown)} highest of {len(order)} regions" if len(order) > len(shown) else \
        f"All {len(order)} regions"
    blocks: list[Block] = [
        *_verdict(table, card.get("Significant")),
        Figure(picture(
            draw_region_models(table, shown), "rsaregions",
            f"{which}: whitened correlation of each model with the distances of the region. Lines: "
            "95 % intervals, by leaving out runs in turn, not corrected. Filled: p ≤ "
            f"{ALPHA:g}, corrected for all regions and models.",
            f"Correlations of models in {len(shown)} regions.",
        )),
        _table(table, shown, "Models in regions, the highest correlation first"),
    ]
    if len(order) > MOST_SHOWN:
        blocks.append(_table(table, order[MOST_SHOWN:], "All other regions", folded=True))
    if card.get("LeftOut"):
        blocks.append(Text(
            f"Left out, because fewer than {MIN_VOXELS} of their voxels have responses: "
            f"{', '.join(card['LeftOut'])}."
        ))
    blocks.append(Text(_CAVEATS))
    return [Section("rsaregions", "Representational similarity in regions", blocks)]


def _order(table: pd.DataFrame) -> list[str]:
    """Return the regions by the highest value of any model."""
    highest = table.groupby("region", sort=False)["value"].max()
    return list(highest.sort_values(ascending=False, kind="stable").index)


def _verdict(table: pd.DataFrame, n_significant: int | None) -> list[Text]:
    if n_significant is None:
        return [Text("Models were not tested: no permutations were asked for.", "warn")]
    least = table["p_min"].min()
    if least > ALPHA:
        return [Text(f"No model can be significant: the smallest possible p is {least:.2g}.",
                     "warn")]
    said = []
    for model, own in table.groupby("model", sort=False):
        strong = own[own["p_max"] <= ALPHA].sort_values("value", ascending=False)
        names = ", ".join(strong["region"].head(5))
        more = f" and {len(strong) - 5} more" if len(strong) > 5 else ""
        what = f"fits in {len(strong)} of {len(own)} regions ({names}{more})" if len(strong) else \
            f"fits in none of {len(own)} regions"
        said.append(Text(
            f"{model} {what}; p ≤ {ALPHA:g}, corrected for all regions and models.",
            "good" if len(strong) else "plain",
        ))
    return said


def _table(
    table: pd.DataFrame, regions: list[str], caption: str, *, folded: bool = False
) -> Table:
    header = ["region", "voxels", "model", "whitened correlation", "95 % interval", "p",
              "p, all regions and models"]
    part = table.set_index("region").loc[regions].reset_index()
    rows = [
        [str(row["region"]), f"{row['n_voxels']:,.0f}", row["model"], f"{row['value']:.3f}",
         limits(row),
         *(show_p(row[name]) for name in ("p", "p_max"))]
        for _, row in part.iterrows()
    ]
    strong = frozenset(n for n, p in enumerate(part["p_max"]) if p <= ALPHA)
    return Table(header, rows, caption, frozenset({*header[1:2], *header[3:]}), strong,
                 folded=folded)


def limits(row: pd.Series) -> str:
    """Return the interval of a row."""
    return "n/a" if pd.isna(row["ci_low"]) else f"{row['ci_low']:.3f} – {row['ci_high']:.3f}"
