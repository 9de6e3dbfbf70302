"""Decoding over time: labels from responses at each time after the onset of trials."""

from bids_decoder.analyses.base import Analysis

ANALYSIS = Analysis(
    "timecourse", ("participant",), "timecourse", needs=("responses",),
    descriptions={
        "timecourse": "Decoding of labels from the responses at each time after the onset.",
        "timegeneralisation": "Decoders trained at one time after the onset and tested at others.",
        "timecoursenull": "Null distributions of decoding over time.",
    },
)
