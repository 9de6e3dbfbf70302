"""Searchlights: where in the brain the voxels around a point tell labels apart."""

from bids_decoder.analyses.base import Analysis

ANALYSIS = Analysis(
    "searchlight", ("participant",), "searchlight", needs=("responses",),
    descriptions={
        "searchlight": "Decoding of labels from the voxels around every voxel.",
    },
)
