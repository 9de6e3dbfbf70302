"""Preparation: from images, or from what others made of them, to one response per trial."""

from bids_decoder.analyses.base import Analysis

ANALYSIS = Analysis(
    "prepare", ("participant", "group"), "prepare", gives=("responses",), is_basis=True,
    scores=False,
    descriptions={
        "distorted": "BOLD reference before the correction of susceptibility distortion",
        "distortion": "agreement of the BOLD reference with the grey-white boundary of the T1w "
        "image, before and after the correction of distortion",
        "ICA": "time series of the independent components of a multi-echo run",
        "tedana": "measures and classification of the components of a multi-echo run",
        "magnitude": "image of the head on the grid of a field map, without distortion",
    },
)
