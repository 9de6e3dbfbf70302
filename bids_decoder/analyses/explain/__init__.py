"""Relevance: where in the brain the decisions on held-out trials came from."""

from bids_decoder.analyses.base import Analysis

ANALYSIS = Analysis("explain", ("participant",), "decode", needs=("decoder",))
