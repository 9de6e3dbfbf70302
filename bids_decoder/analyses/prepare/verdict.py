"""What the data themselves say against an answer: overlap, motion, exclusions."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from bids_decoder.analyses.prepare.figures import trial_use
from bids_decoder.analyses.prepare.report import displacement, displacement_limit
from bids_decoder.analyses.prepare.report_overlap import overlap_section
from bids_decoder.errors import name_some
from bids_decoder.reports.blocks import Text, Worry
from bids_decoder.reports.results import Results

MOST_MOVED = 0.2
"""Share of moved volumes above which a run is a worry."""
MOST_EXCLUDED = 0.2
"""Share of excluded trials above which they are a worry."""


def worries(results: Results) -> list[Worry]:
    """Return what is shared by training and test, moved runs, and trials that were left out."""
    return [
        *_overlap(results),
        *motion_worries(results.tables("confounds"), displacement_limit(results)),
        *exclusion_worries(results.tables("trials")),
    ]


def _overlap(results: Results) -> list[Worry]:
    found = [block for block in overlap_section(results).blocks if isinstance(block, Text)]
    shared = [Worry(text.text, "overlap", "bad", True) for text in found if text.tone == "bad"]
    near = results.plan.get("overlap", {}).get("stimuli", {}).get("n_near_duplicates_across", 0)
    if near:
        shared.append(Worry(
            f"{near} pairs of nearly the same stimuli are on both sides of the split: scores may "
            "be too good.", "overlap",
        ))
    return shared


def motion_worries(confounds: Mapping[str, pd.DataFrame], limit: float) -> list[Worry]:
    """Return a worry that names the runs with much head motion.

    Parameters
    ----------
    confounds : mapping of run name to DataFrame
        With ``framewise_displacement`` in mm.
    limit : float
        Displacement in mm above which a volume counts as moved.
    """
    shares = {name: float((displacement(table) > limit).mean()) for name, table in
              confounds.items()}
    moved = [name for name, share in shares.items() if share > MOST_MOVED]
    if not moved:
        return []
    return [Worry(
        f"Head motion: in {len(moved)} of {len(shares)} runs ({name_some(moved)}) more than "
        f"{100 * MOST_MOVED:.0f} % of the volumes moved by more than {limit:g} mm.",
        "preprocessing",
    )]


def exclusion_worries(trials: Mapping[str, pd.DataFrame]) -> list[Worry]:
    """Return a worry if a large share of the trials was left out."""
    use = pd.concat([trial_use(table) for table in trials.values()]) if trials else pd.Series()
    n_excluded = int((use == "excluded").sum())
    if not n_excluded > MOST_EXCLUDED * len(use):
        return []
    return [Worry(
        f"{n_excluded} of {len(use)} trials were excluded; the rest may not stand for all.",
        "inputs",
    )]
