"""Methods texts of cross-decoding."""

from __future__ import annotations

import pandas as pd

from bids_decoder.analyses.base import Steps
from bids_decoder.analyses.cross.outputs import CROSS
from bids_decoder.reports.results import Results
from bids_decoder.reports.scores import target_kind

TEXTS = {"Cross-decoding": (
    "cross", "cross-test", "cross-within", "cross-stimuli", "cross-stimuli-test",
)}
"""Names of methods texts in ``boilerplate``, by heading."""


def steps(results: Results) -> Steps:
    """Return the cells of the matrix, where decoders were carried over."""
    table = results.table(CROSS)
    if table is None or table.empty:
        return {}
    own = table[table["model"] == "decoder"]
    cells = own.drop_duplicates(["train", "test"])
    kinds = list(dict.fromkeys([*cells["train"], *cells["test"]]))
    within = own[own["train"] == own["test"]]
    name = "cross" if target_kind(results) == "category" else "cross-stimuli"
    found: Steps = {name: {"n_cells": len(cells), "kinds": ", ".join(kinds)}}
    if (pd.to_numeric(own["n_null"]) > 0).any():
        found[f"{name}-test"] = {}
    n_refits = pd.to_numeric(within.loc[within["null"] == "refitted", "n_null"]).max()
    if n_refits > 0:
        found["cross-within"] = {"n_refits": int(n_refits)}
    return found
