"""Names and columns of the outputs on confounds."""

from bids_decoder.bids.names import OutputName
from bids_decoder.evaluation.tables import VALUE_COLUMNS

CONTROLS = OutputName("metrics", ".tsv", "func", {"desc": "controls"})

COLUMNS = VALUE_COLUMNS | {
    "model": "Confound from which alone the target is decoded.",
    "p_holm": "p-value of Holm (1979), corrected for the number of confounds.",
}
