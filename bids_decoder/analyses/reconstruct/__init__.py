"""Reconstruction of what was seen from held-out trials."""

from bids_decoder.analyses.base import Analysis

ANALYSIS = Analysis(
    "reconstruct", ("participant",), "decode", needs=("decoder",),
    descriptions={
        "reconstruction": "Images reconstructed from held-out trials.",
        "painter": "What paints coarse images from the voxels of a decoder, for new trials.",
    },
)
