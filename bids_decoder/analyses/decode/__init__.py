"""Decoding of held-out trials: voxel selection, fine-tuning, prediction and scores."""

from bids_decoder.analyses.base import Analysis

ANALYSIS = Analysis(
    "decode", ("participant",), "decode", needs=("responses", "model"), gives=("decoder",)
)
