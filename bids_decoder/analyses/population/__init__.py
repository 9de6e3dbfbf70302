"""Statistics over participants: prevalence, effects, groups and covariates, maps."""

from bids_decoder.analyses.base import Analysis

ANALYSIS = Analysis(
    "population", ("participant", "group"), "population", needs=("decoder",), scores=False,
    descriptions={
        "group": "Statistics over participants.",
    },
)
