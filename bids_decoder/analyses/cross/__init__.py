"""Cross-decoding: train on one kind of trials, test on another."""

from bids_decoder.analyses.base import Analysis

ANALYSIS = Analysis(
    "cross", ("participant",), "cross", needs=("responses",),
    descriptions={
        "cross": "Decoders trained on one kind of trials and tested on another.",
        "crossnull": "Their scores under permuted labels.",
    },
)
