"""What confounds alone tell about the decoded labels or stimuli."""

from bids_decoder.analyses.base import Analysis

ANALYSIS = Analysis(
    "controls", ("participant",), "decode", needs=("responses",),
    descriptions={"controls": "Decoding from single confounds instead of responses."},
)
