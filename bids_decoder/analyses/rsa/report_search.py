"""Report of searchlights with models of distances."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd

from bids_decoder.analyses.rsa.search_outputs import MAIN, TESTS
from bids_decoder.bids.names import parse_entities
from bids_decoder.evaluation.statistics import ALPHA
from bids_decoder.reports.blocks import Block, Figure, Section, Text
from bids_decoder.reports.cards import card_table
from bids_decoder.reports.results import Results, sidecar_of
from bids_decoder.reports.search_maps import (
    grid_words,
    peak_table,
    search_pictures,
    why_undescribed,
)

_TITLE = "Representational similarity in spheres"
_SHOWN = ("Measure", "Radius", "Grid", "VoxelsPerSphere", "Spheres",
          "SpheresWithoutDistances", "Conditions", "Runs", "Trials", "Residuals", "Shrinkage",
          "Permutations", "ExchangedUnits", "Seed")
_CAVEATS = (
    "A voxel shows how well a model fits the sphere around it, so that maps are wider than the "
    "regions that a model fits, by up to the radius. Noise in the distances lowers correlations, "
    "and the values of the peaks are the largest of many: neither is an estimate of how well a "
    "model fits a region."
)


def search_sections(results: Results) -> list[Section]:
    """Return the section on models in spheres; none where there are no maps."""
    maps = model_maps(results)
    if not maps:
        return []
    if why := why_undescribed(maps[0][1], "rsa"):
        return [Section("rsasearch", _TITLE, [Text(why, "warn")])]
    peaks, blocks = results.table("rsa_search_peaks"), list[Block]()
    for path, card in maps:
        blocks.append(_verdict(card))
        label = parse_entities(path)["label"]
        clusters = results.files("rsa_search_map", stat="logptfce", label=label)
        blocks += [Figure(pic) for pic in search_pictures(
            results, path, clusters if card["Permutations"] else [], f"rsasearch{label}",
            f"{card['Model']}: whitened correlation", TESTS,
        )]
        own = pd.DataFrame() if peaks is None else peaks[peaks["model"] == card["Model"]]
        blocks.append(peak_table(
            own, card["Measure"], f"{card['Model']}: peaks, the largest value first"
        ))
    card = maps[0][1]
    blocks.append(card_table(
        {name: card[name] for name in _SHOWN if name in card}, "How the maps were made"
    ))
    blocks.append(Text(_CAVEATS + grid_words(card).caveat))
    return [Section("rsasearch", _TITLE, blocks)]


def model_maps(results: Results) -> list[tuple[Path, dict[str, Any]]]:
    """Return the map of each model that the last call made, with its sidecar."""
    table = results.table("rsa_search_peaks")
    if table is None:
        return []
    found = [(path, sidecar_of(path)) for path in results.files("rsa_search_map", stat=MAIN)]
    models = found[0][1]["Models"] if found else []
    return sorted(found, key=lambda pair: models.index(pair[1]["Model"]))


def search_lines(results: Results) -> list[str]:
    """Return how many spheres each model fits, in one line each."""
    return [
        f"sub-{results.participant}: model {card['Model']} fits distances in "
        f"{card['SignificantTFCE']} of {card['Spheres']} spheres (p ≤ {ALPHA:g}, corrected)"
        for _, card in model_maps(results) if "SignificantTFCE" in card
    ]


def _verdict(card: dict[str, Any]) -> Text:
    if "SignificantTFCE" not in card:
        return Text(f"{card['Model']}: not tested, no permutations were asked for.")
    text = (
        f"{card['Model']}: {card['SignificantTFCE']:,} of {card['Spheres']:,} spheres with p ≤ "
        f"{ALPHA:g}, corrected for all {TESTS} (cluster enhancement); "
        f"{card['SignificantMax']:,} by the largest value alone."
    )
    if card["SmallestP"] > ALPHA:
        text += f" None can be significant: the smallest possible p is {card['SmallestP']:.2g}."
    return Text(text, "good" if card["SignificantTFCE"] else "plain")
