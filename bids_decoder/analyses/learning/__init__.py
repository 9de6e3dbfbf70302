"""Learning curves: how well the decoder would do with less data, and with more."""

from bids_decoder.analyses.base import Analysis

ANALYSIS = Analysis(
    "learning", ("participant",), "decode", needs=("decoder",),
    descriptions={
        "learningcurve": "Scores of held-out trials by number of training runs, and how many runs "
        "a score needs.",
    },
)
