"""Functional alignment: decoders trained on other participants' trials, brought to a new one."""

from bids_decoder.analyses.base import Analysis

ANALYSIS = Analysis(
    "align", ("participant",), "decode", needs=("decoder",),
    descriptions={
        "alignment": "Decoders trained on aligned trials of other participants.",
        "alignmentnull": "Their scores under permuted labels.",
    },
)
