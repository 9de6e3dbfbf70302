"""What confounds say about the answer of a report."""

from __future__ import annotations

from bids_decoder.analyses.controls.report import headlines, say_confound
from bids_decoder.evaluation.statistics import ALPHA
from bids_decoder.reports.blocks import Worry
from bids_decoder.reports.results import Results


def worries(results: Results) -> list[Worry]:
    """Return a worry if confounds alone decode above chance."""
    table = headlines(results)
    telling = table[table["p"] <= ALPHA]
    if telling.empty:
        return []
    said = "; ".join(say_confound(row) for _, row in telling.iterrows())
    return [Worry(f"What could explain the result instead: {said}.", "controls")]
