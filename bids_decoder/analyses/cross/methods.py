"""Methods texts of cross-decoding."""

from __future__ import annotations

import pandas as pd

from bids_decoder.analyses.base import Steps
from bids_decoder.analyses.cross.outputs import CROSS
from bids_decoder.reports.results import Results
from bids_decoder.reports.scores import target_kind

TEXTS = {"Cross-decoding": (
    "cross", "cross-stimuli", "cross-folds", "cross-within", "cross-test", "cross-stimuli-test",
    "cross-within-test", "cross-corrected", "cross-names",
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
    over_runs = target_kind(results) == "category"
    name = "cross" if over_runs else "cross-stimuli"
    within = own["train"] == own["test"]
    found: Steps = {}
    if not within.all():
        found[name] = {"n_cells": len(cells), "kinds": ", ".join(kinds)}
    if over_runs and (own.loc[~within, "split"] == "cv").any():
        found["cross-folds"] = {}
    if over_runs and within.any():
        found["cross-within"] = {
            "decoders": f"Decoders ({', '.join(kinds)})" if within.all()
            else "For comparison, decoders",
        }
    return found | _tests(own, name)


def _tests(own: pd.DataFrame, name: str) -> Steps:
    """Return what was exchanged; *own* is the table of metrics of the decoder."""
    n_null = pd.to_numeric(own["n_null"])
    found: Steps = {}
    if (n_null[own["null"] == "fixed"] > 0).any():
        found[f"{name}-test"] = {}
    n_refits = n_null[own["null"] == "refitted"].max()
    if n_refits > 0:
        found["cross-within-test"] = {"n_refits": int(n_refits)}
    if own["p_holm"].notna().any() and len(own.drop_duplicates(["train", "test"])) > 1:
        found["cross-corrected"] = {}
    if own["p_names"].notna().any():
        found["cross-names"] = {}
    return found
