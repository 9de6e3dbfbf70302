"""The verdict on one participant: answers of all analyses, and all that speaks against them."""

from __future__ import annotations

from bids_decoder.analyses.registry import analyses
from bids_decoder.reports.blocks import Verdict, Worry
from bids_decoder.reports.results import Results
from bids_decoder.reports.verdict import with_worries


def verdict_of(results: Results) -> Verdict:
    """Return answers and worries of a participant; both can be empty.

    Parameters
    ----------
    results : Results
        Of one participant.
    """
    answers = [answer for analysis in analyses() if (answer := analysis.answer(results))]
    worries = [worry for analysis in analyses() for worry in analysis.worries(results)]
    recent = [name for log, name, _ in results.crashes() if log.uuid == results.runs[-1].uuid]
    if recent:
        worries.append(Worry(f"The last call left {len(recent)} crash file(s).", "errors", "bad"))
    return with_worries(answers, worries)
