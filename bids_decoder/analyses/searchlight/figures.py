"""Figures of searchlights: what is above chance, and where it is significant."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np

from bids_decoder.analyses.searchlight.outputs import LEVEL, main_map
from bids_decoder.reports.figures import Picture, picture
from bids_decoder.reports.figures_maps import draw_map
from bids_decoder.reports.geometry import choose_slices, cut, load, underlay_for
from bids_decoder.reports.results import Results, sidecar_of

_SLICES = 12


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
    pictures = _picture(above, above > 0, path, results, f"{unit}, where above 0")
    for found in results.files("search_map", stat="logptfce") if card["Permutations"] else []:
        significant = np.asanyarray(load(found).dataobj) >= -np.log10(LEVEL) - 1e-6
        pictures += _picture(
            above, significant & (above > 0), path, results,
            f"{unit}, where p < {LEVEL:g} corrected for all spheres (cluster enhancement)",
            "significant",
        )
    return pictures


def _picture(
    values: np.ndarray, shown: np.ndarray, path: Path, results: Results, title: str,
    suffix: str = "",
) -> list[Picture]:
    if not shown.any():
        return []
    image = load(path)
    under = underlay_for(path, results)
    visible = np.where(shown, values, np.nan).astype(np.float32)
    slices = cut(
        nib.Nifti1Image(visible, image.affine), choose_slices(shown, _SLICES), under
    )
    ground = under.label if under else "a black ground (no reference image is on disk)"
    return [picture(
        draw_map(slices, float(values[shown].max()), signed=False),
        f"searchlight{suffix}", f"{title}, on {ground}.",
        f"{title}: {int(shown.sum())} voxels coloured on slices.", "png",
    )]
