"""Names and columns of the outputs of functional alignment."""

from bids_decoder.bids.names import OutputName
from bids_decoder.evaluation.comparison import COMPARISON_COLUMNS
from bids_decoder.evaluation.tables import METRIC_COLUMNS

METRICS = OutputName("metrics", ".tsv", "func", {"desc": "alignment"})
COMPARISONS = OutputName("comparisons", ".tsv", "func", {"desc": "alignment"})
NULLS = OutputName("metrics", ".tsv", "func", {"desc": "alignmentnull"})

MODELS = (
    "Method of alignment, and whose trials the decoder was trained on: others, the aligned trials "
    "of other participants; both, also the participant's own training trials."
)
METRIC_TEXTS = METRIC_COLUMNS | {"model": MODELS}
"""Columns of the table of metrics."""

COMPARISON_TEXTS = COMPARISON_COLUMNS | {
    "first": "Model whose score comes first: decoder, or an aligned one.",
    "second": "Model whose score is subtracted: an aligned one, or svm-all (labels) or ridge-all, "
              "which is trained on the participant's own training trials alone.",
}
"""Columns of the table of comparisons."""
