"""Encoding models: responses of voxels predicted from stimuli."""

from bids_decoder.analyses.base import Analysis

ANALYSIS = Analysis(
    "encode", ("participant",), "encode", needs=("responses",),
    descriptions={
        "encoder": "Encoding model of one participant: responses predicted from stimuli, and how "
        "well.",
        "encoded": "Voxels that an encoding model predicts.",
        "encodernull": "Scores of the encoding model under permuted stimuli.",
    },
)
