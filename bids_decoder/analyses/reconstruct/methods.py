"""Methods texts of reconstruction."""

from __future__ import annotations

from bids_decoder.analyses.base import Steps
from bids_decoder.reports.results import Results

TEXTS = {
    "Decoding": (
        "prior-diffusion",
        "reconstruction-ridge",
        "reconstruction-unclip",
    ),
    "Evaluation": (
        "reconstruction-metrics",
    ),
}
"""Names of methods texts in ``boilerplate``, by heading."""


def steps(results: Results) -> Steps:
    """Return the methods steps of reconstruction, if images were reconstructed."""
    found: Steps = {"prior-diffusion": {}} if "prior" in results.card("decoder_model") else {}
    scores = results.table("reconstruction_metrics")
    if scores is not None:
        method = results.card("reconstruction_metrics").get("Method")
        if method in ("ridge", "unclip"):
            found[f"reconstruction-{method}"] = {}
        found["reconstruction-metrics"] = {"n": int(float(scores["n"].iloc[0]))}
    return found
