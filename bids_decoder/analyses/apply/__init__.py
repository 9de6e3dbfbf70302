"""A fitted decoder applied to new data of its participant."""

from bids_decoder.analyses.base import Analysis

ANALYSIS = Analysis(
    "apply", ("participant",), "apply", needs=("responses",), scores=False,
    replaces=("pretrain", "decode", "encode", "searchlight", "regions", "cross", "rsa",
              "population"),
    descriptions={
        "applied": "What a decoder that was fitted to other data says of these trials.",
        "appliednull": "Its scores under permuted labels.",
        "appliedgallery": "Images of a gallery that are nearest to what was decoded from new "
                          "trials.",
        "appliedreconstruction": "Images reconstructed from new trials.",
        "appliedgallerynull": "Scores among that gallery under permuted images.",
    },
)
