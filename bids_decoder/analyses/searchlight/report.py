"""Report of searchlights."""

from __future__ import annotations

from typing import Any

import pandas as pd

from bids_decoder.analyses.searchlight.outputs import main_map
from bids_decoder.evaluation.statistics import ALPHA
from bids_decoder.reports.blocks import Block, Figure, Headline, Section, Table, Text
from bids_decoder.reports.cards import card_table
from bids_decoder.reports.figures import Picture
from bids_decoder.reports.results import Results, sidecar_of
from bids_decoder.reports.search_maps import (
    grid_words,
    peak_table,
    search_pictures,
    why_undescribed,
)

_SHOWN = ("Measure", "Estimator", "Radius", "Grid", "VoxelsPerSphere", "Spheres", "Shrinkage",
          "Chance", "Labels", "Folds", "Trials", "Permutations", "ExchangedUnits", "NumberOfUnits",
          "Null", "SmallestP", "Seed")
_CAVEATS = (
    "A voxel shows what the sphere around it tells, so that maps are wider than the regions that "
    "carry information, by up to the radius. The values of the peaks are the largest of many and "
    "therefore too high as estimates; take the value of a region that was chosen otherwise."
)


def sections(results: Results) -> list[Section]:
    """Return the section on searchlights; none where there is no map."""
    card = _card(results)
    if not card:
        return []
    if why := why_undescribed(card, "searchlight"):
        return [Section("searchlight", "Searchlight", [Text(why, "warn")])]
    blocks: list[Block] = [_headline(card), *_verdict(card)]
    blocks += [Figure(pic) for pic in _pictures(results, card)]
    blocks.append(_peaks(results, card))
    blocks.append(card_table(
        {name: card[name] for name in _SHOWN if name in card}, "How the map was made"
    ))
    blocks.append(Text(_CAVEATS + grid_words(card).caveat))
    return [Section("searchlight", "Searchlight", blocks)]


def lines(results: Results) -> list[str]:
    """Return the main result in one line."""
    card = _card(results)
    if "SignificantTFCE" not in card:
        return []
    return [
        f"sub-{results.participant}: {card['SignificantTFCE']} of {card['Spheres']} spheres "
        f"tell {card['Labels']} labels apart (p ≤ {ALPHA:g}, corrected)"
    ]


def _card(results: Results) -> dict[str, Any]:
    path = main_map(results)
    return {} if path is None else sidecar_of(path)


def _headline(card: dict[str, Any]) -> Headline:
    radius = f"{card['Radius']:g} mm, " if "Radius" in card else ""
    size = f"{radius}{card['VoxelsPerSphere']} {grid_words(card).voxels}"
    against = [("spheres", f"{card['Spheres']:,}"), ("size", size),
               ("chance", f"{card['Chance']:.3f}")]
    if "SignificantTFCE" not in card:
        return Headline("not tested", "no permutations were asked for", against)
    against.append(("by the largest value alone", f"{card['SignificantMax']:,}"))
    return Headline(
        f"{card['SignificantTFCE']:,}",
        f"spheres above chance · p ≤ {ALPHA:g}, corrected for all (cluster enhancement)", against,
    )


def _verdict(card: dict[str, Any]) -> list[Text]:
    if card.get("SmallestP", 0) > ALPHA:
        return [Text(
            f"No sphere can be significant: the smallest possible p-value is "
            f"{card['SmallestP']:.2g}. Ask for more permutations (--n-permutations).", "warn",
        )]
    if card.get("SignificantTFCE") == 0:
        return [Text("No sphere is significant after correction.", "warn")]
    return []


def _pictures(results: Results, card: dict[str, Any]) -> list[Picture]:
    path = main_map(results)
    if path is None:
        return []
    clusters = results.files("search_map", stat="logptfce") if card["Permutations"] else []
    return search_pictures(results, path, clusters, "searchlight", card["Measure"].capitalize())


def _peaks(results: Results, card: dict[str, Any]) -> Table:
    peaks = results.table("search_peaks")
    return peak_table(
        peaks if peaks is not None else pd.DataFrame(), card["Measure"],
        "Peaks, the largest value first",
    )
