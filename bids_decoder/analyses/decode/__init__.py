"""Decoding of held-out trials: voxel selection, fine-tuning, prediction and scores."""

from bids_decoder.analyses.base import Analysis

ANALYSIS = Analysis(
    "decode", ("participant",), "decode", needs=("responses", "model"), gives=("decoder",),
    descriptions={
        "decoder": "Model of one participant, what it predicted, and how well.",
        "null": "Scores under permuted labels.",
        "published": "Scores beside the published ones of a protocol.",
    },
)
