"""Labels of participants decoded from one volume per participant."""

from bids_decoder.analyses.base import Analysis

ANALYSIS = Analysis(
    "subjects", ("group",), "pretrain", reads_trials=False, is_alone=True,
    descriptions={
        "subjects": "Labels decoded from one volume per participant, and how well.",
    },
)
