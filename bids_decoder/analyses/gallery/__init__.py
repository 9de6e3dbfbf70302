"""Retrieval of what was seen among images that were not shown."""

from bids_decoder.analyses.base import Analysis

ANALYSIS = Analysis(
    "gallery", ("participant",), "decode", needs=("decoder",),
    descriptions={
        "gallery": "Images of a gallery that are nearest to what was decoded.",
        "gallerynull": "Scores among the gallery under permuted images.",
    },
)
