"""Pictures and peaks of searchlights."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from bids_decoder.evaluation.statistics import ALPHA
from bids_decoder.reports.blocks import Table
from bids_decoder.reports.figures import Picture
from bids_decoder.reports.figures_maps import part_picture
from bids_decoder.reports.geometry import load
from bids_decoder.reports.results import Results, numeric, sidecar_of
from bids_decoder.reports.template_surfaces import with_surface
from bids_decoder.reports.wording import show_p


@dataclass(frozen=True)
class GridWords:
    """How a kind of grid is spoken of.

    Parameters
    ----------
    voxels : str
        Its places.
    along : str
        What distances are measured along.
    caveat : str
        What a reader must know of spheres.
    method : str
        End of the names of methods texts on them; empty where there is none.
    neighbours : str
        Which places are neighbours in a cluster.
    """

    voxels: str = "voxels"
    along: str = ""
    caveat: str = ""
    method: str = ""
    neighbours: str = "voxels with a common face as neighbours"


_WORDS = {
    "volume": GridWords(),
    "surface": GridWords(
        "vertices", " along the surface",
        " On surfaces a sphere is a disc of vertices, with distances along the surface: all that "
        "is said of voxels and spheres goes for vertices and discs.", "-surface",
        "vertices with a common edge as neighbours",
    ),
    "grayordinates": GridWords(
        "grayordinates", " along the cortex or in the volume below it",
        " On the cortex a sphere is a disc of vertices, with distances along the surface; below "
        "it, it is a sphere of voxels. No sphere holds both.", "-surface",
        "vertices with a common edge and voxels with a common face as neighbours",
    ),
}


def why_undescribed(card: dict[str, Any], stage: str) -> str | None:
    """Return why maps cannot be reported, for the page; None where they can.

    Parameters
    ----------
    card : dict
        Sidecar of a map.
    stage : str
        That makes the maps.
    """
    if card.get("Grid") in _WORDS:
        return None
    return (
        "Maps are there, but their sidecars do not say on which kind of grid they are: another "
        f"version of the program wrote them. Compute them again (--stage {stage})."
    )


def grid_words(card: dict[str, Any]) -> GridWords:
    """Return how the grid of a map is spoken of.

    Parameters
    ----------
    card : dict
        Sidecar of a map; see :func:`bids_decoder.interfaces.sphere_maps.describe_maps`.
    """
    return _WORDS[card["Grid"]]


def search_pictures(
    results: Results, path: Path, clusters: list[Path], name: str, title: str,
    tests: str = "spheres",
) -> list[Picture]:
    """Draw what is above chance in all spheres, then in significant ones alone.

    Parameters
    ----------
    results : Results
    path : Path
        The map.
    clusters : list of Path
        Its corrected p-values after cluster enhancement; empty where it was not tested.
    name : str
        Of the first picture; ``significant`` is added for the second one.
    title : str
        What the map shows.
    tests : str
        What p-values are corrected for, in words.
    """
    card, image = sidecar_of(path), load(path)
    above = np.asanyarray(image.dataobj, dtype=np.float32) - card["Chance"]
    if card["Chance"]:
        title += f" less chance ({card['Chance']:.3f})"
    pictures = part_picture(path, results, name, f"{title}, where above 0", (above, above > 0))
    for found in clusters:
        significant = np.asanyarray(load(found).dataobj) >= -np.log10(ALPHA) - 1e-6
        pictures += part_picture(
            path, results, f"{name}significant",
            f"{title}, where p ≤ {ALPHA:g} corrected for all {tests} (cluster enhancement)",
            (above, significant & (above > 0)),
        )
    return with_surface(pictures, which=-1)


def describe_size(card: dict[str, Any]) -> str:
    """Return which voxels the sphere around a voxel holds, in words.

    Parameters
    ----------
    card : dict
        Sidecar of a map; see :func:`bids_decoder.interfaces.sphere_maps.describe_maps`.
    """
    words, median = grid_words(card), card["VoxelsPerSphere"]
    if "Radius" not in card:
        return f"its {median} nearest {words.voxels}{words.along}"
    return f"all {words.voxels} within {card['Radius']:g} mm of it{words.along} (median {median})"


def peak_table(peaks: pd.DataFrame, measure: str, caption: str) -> Table:
    """Return the peaks of a map as a table.

    Parameters
    ----------
    peaks : DataFrame
        See :data:`~bids_decoder.evaluation.search_maps.PEAK_COLUMNS`.
    measure : str
        What their values are.
    caption : str
    """
    peaks = numeric(peaks, "x", "y", "z", "n_voxels", "value", "p", "p_max", "p_tfce")
    header = ["x, y, z (mm)", "voxels", measure, "p", "p, largest value",
              "p, cluster enhancement"]
    rows = [
        [f"{row['x']:.0f}, {row['y']:.0f}, {row['z']:.0f}", f"{row['n_voxels']:.0f}",
         f"{row['value']:.3f}", *(show_p(row[name]) for name in ("p", "p_max", "p_tfce"))]
        for _, row in peaks.iterrows()
    ]
    return Table(header, rows, caption, frozenset(header[1:]))
