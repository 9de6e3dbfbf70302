"""Pretraining of a decoder across participants."""

from bids_decoder.analyses.base import Analysis

ANALYSIS = Analysis(
    "pretrain", ("group",), "pretrain", needs=("responses",), gives=("model",),
    descriptions={
        "pretrained": "Model trained on the source participants.",
    },
)
