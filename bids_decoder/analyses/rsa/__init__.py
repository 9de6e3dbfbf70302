"""Representational similarity: which responses differ how much, and which models fit that."""

from bids_decoder.analyses.base import Analysis

ANALYSIS = Analysis(
    "rsa", ("participant",), "rsa", needs=("responses",),
    descriptions={
        "rsa": "Representational similarity analysis: crossnobis distances and models of them.",
        "rsamodel": "Dissimilarities of a model, for representational similarity analysis.",
        "rsanull": "Null distributions of the models of crossnobis distances.",
        "rsaregions": "Models of crossnobis distances in single regions of an atlas.",
        "rsaregionsnull": "Null distributions of the models in single regions.",
        "rsasearch": "Models of crossnobis distances in the voxels around every voxel.",
    },
)
