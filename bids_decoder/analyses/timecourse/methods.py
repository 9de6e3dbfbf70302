"""Methods texts of decoding over time."""

from __future__ import annotations

from bids_decoder.analyses.base import Steps
from bids_decoder.analyses.timecourse.outputs import TIMES
from bids_decoder.evaluation.time_clusters import LEAST_MAPS
from bids_decoder.reports.results import Results

TEXTS = {"Decoding over time": (
    "timecourse", "timecourse-test", "timecourse-clusters", "timecourse-peak",
)}
"""Names of methods texts in ``boilerplate``, by heading."""


def steps(results: Results) -> Steps:
    """Return the methods steps of decoding over time, if there was any."""
    card = results.card(TIMES)
    if not card:
        return {}
    found: Steps = {"timecourse": {
        "first": f"{card['FirstTime']:g}", "last": f"{card['LastTime']:g}",
        "t_r": f"{card['RepetitionTime']:g}",
        "trials": _describe_trials(card["Trials"], card["TrialsLeftOut"]),
    }}
    if card["Permutations"]:
        how = "and everything was fitted again" if card["Null"] == "refitted" else \
            "in the test set, whose predictions do not depend on them"
        found["timecourse-test"] = {
            "n_permutations": card["Permutations"], "exchanged": card["ExchangedUnits"],
            "how": how,
        }
        if 1 + card["Permutations"] >= LEAST_MAPS:
            found["timecourse-clusters"] = {}
    if card.get("PeakLow") is not None:
        found["timecourse-peak"] = {}
    return found


def _describe_trials(n_trials: int, n_left_out: int) -> str:
    if not n_left_out:
        return f"All {n_trials} trials had all times within their run."
    return (f"{n_trials} trials had all times within their run; {n_left_out} had not, and were "
            "left out.")
