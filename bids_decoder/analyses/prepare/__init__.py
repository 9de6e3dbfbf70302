"""Preparation: from images, or from what others made of them, to one response per trial."""

from bids_decoder.analyses.base import Analysis

ANALYSIS = Analysis(
    "prepare", ("participant", "group"), "prepare", gives=("responses",), is_basis=True,
    scores=False,
)
