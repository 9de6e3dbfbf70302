"""Figures of searchlights: what is above chance, and where it is significant."""

from __future__ import annotations

import numpy as np

from bids_decoder.analyses.searchlight.outputs import LEVEL, main_map
from bids_decoder.reports.figures import Picture
from bids_decoder.reports.figures_maps import part_picture
from bids_decoder.reports.geometry import load
from bids_decoder.reports.results import Results, sidecar_of


def search_pictures(results: Results) -> list[Picture]:
    """Draw what is above chance in all spheres, then in significant ones alone."""
    path = main_map(results)
    if path is None:
        return []
    card, image = sidecar_of(path), load(path)
    above = np.asanyarray(image.dataobj, dtype=np.float32) - card["Chance"]
    unit = card["Measure"].capitalize()
    if card["Chance"]:
        unit += f" less chance ({card['Chance']:.3f})"
    pictures = part_picture(
        path, results, "searchlight", f"{unit}, where above 0", (above, above > 0)
    )
    for found in results.files("search_map", stat="logptfce") if card["Permutations"] else []:
        significant = np.asanyarray(load(found).dataobj) >= -np.log10(LEVEL) - 1e-6
        pictures += part_picture(
            path, results, "searchlightsignificant",
            f"{unit}, where p < {LEVEL:g} corrected for all spheres (cluster enhancement)",
            (above, significant & (above > 0)),
        )
    return pictures
