"""Sidecars and model cards as tables."""

from __future__ import annotations

from typing import Any

from bids_decoder.reports.blocks import Table
from bids_decoder.reports.wording import words

_ENTRIES = {
    "budget": "voxels kept at most",
    "budget_rule": "rule of the budget",
    "n_likely": "voxels more likely with signal than without",
    "n_voxels": "voxels read",
    "n_candidates": "voxels to choose from",
    "voxel_mm3": "volume of a voxel (mm³)",
    "field_fwhm_mm": "smoothness of the signal (FWHM, mm)",
    "field_trust": "weight of the neighbourhood",
    "TrainingTrialsOnly": "training trials only",
    "ResponsesFiltered": "responses filtered over space",
}
"""Entries of sidecars -> their names in tables, where they differ."""

UNSHOWN = ("budget_scores", "Type", "SkullStripped", "Sources", "SpatialReference")
"""Entries of sidecars that tables omit."""


def card_table(card: dict[str, Any], caption: str) -> Table:
    """Return the entries of a card as a table."""
    rows = [
        [_ENTRIES.get(key, words(key)), plain(value)]
        for key, value in card.items() if key not in UNSHOWN
    ]
    return Table(["entry", "value"], rows, caption)


def plain(value: Any) -> str:
    """Return a value of a card as text."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, list):
        return ", ".join(map(plain, value))
    if isinstance(value, dict):
        return "; ".join(f"{words(k)}: {plain(v)}" for k, v in value.items())
    return "n/a" if value is None else str(value)
