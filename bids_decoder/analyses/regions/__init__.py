"""Regions: what the voxels of each region of an atlas tell about labels or images."""

from bids_decoder.analyses.base import Analysis

ANALYSIS = Analysis(
    "regions", ("participant",), "regions", needs=("responses",),
    descriptions={
        "regions": "Decoding from the voxels of single regions of an atlas.",
        "regionsnull": "Null distributions of decoding from single regions.",
    },
)
