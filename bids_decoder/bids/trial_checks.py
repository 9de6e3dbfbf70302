"""Checks of the trials of participants: any left, and labels that can be decoded."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace

import pandas as pd

from bids_decoder.bids.dataset import Participant
from bids_decoder.bids.events import TrialBuild
from bids_decoder.config import Settings
from bids_decoder.errors import Finding, name_some


def check_trials(
    build: TrialBuild, participants: Sequence[Participant], settings: Settings
) -> Iterator[Finding]:
    """Find participants whose trials cannot be decoded.

    Parameters
    ----------
    build : TrialBuild
        Without tables nothing is checked, since its findings say why there are none.
    participants : sequence of Participant
    settings : Settings
        Problems of labels are warnings where nothing is decoded.

    Yields
    ------
    Finding
    """
    severity = "error" if settings.execution.wants("decode") else "warning"
    if not build.tables:
        return
    kept = {person.label: _kept(build.tables.get(person.label)) for person in participants}
    # Where others have enough trials of these labels, the column is the right one.
    others = any(_repeats(table) for table in kept.values() if not table.empty)
    for label, table in kept.items():
        if table.empty:
            yield Finding(
                f"sub-{label}: no trials", _why_none(build.tables.get(label)),
                "correct the events files or --trial-filter, or leave the participant out",
                participant=label,
            )
        elif build.target_kind == "category" and not settings.trials.new_data:
            found = _check_labels(label, table, build, others)
            yield from (replace(finding, severity=severity) for finding in found)
            yield from _check_label_coverage(label, table)


def _kept(table: pd.DataFrame | None) -> pd.DataFrame:
    """Return the trials that are not excluded."""
    if table is None or table.empty:
        return pd.DataFrame()
    excluded = table["excluded"].to_numpy(dtype=bool)
    return table[~excluded] if excluded.any() else table


def _count_labels(kept: pd.DataFrame) -> Counter[str]:
    return Counter(name for name in kept["label"].tolist() if isinstance(name, str))


def _repeats(kept: pd.DataFrame) -> bool:
    """Return whether two labels or more occur twice, and these are half of the trials."""
    repeated = [count for count in _count_labels(kept).values() if count >= 2]
    return len(repeated) >= 2 and sum(repeated) >= len(kept) / 2


def _why_none(table: pd.DataFrame | None) -> str:
    """Return why no trial of a participant is left."""
    if table is None or table.empty:
        return "no row of the events files is a trial, or no events file can be read"
    counts = table["reason"].fillna("no reason given").value_counts()
    return "all trials are excluded: " + name_some([f"{n} {why}" for why, n in counts.items()])


def _check_labels(
    label: str, kept: pd.DataFrame, build: TrialBuild, others: bool
) -> Iterator[Finding]:
    if _repeats(kept):
        return
    counts = _count_labels(kept)
    n_repeated = sum(count >= 2 for count in counts.values())
    why = f"{len(counts)} labels in {len(kept)} trials; only {n_repeated} occur twice or more"
    fix = (
        "name a column with categories (--label-column), or decode images, by their paths in "
        "stimuli/ or in --stimuli-dir, or features (--features)"
    )
    if others:
        fix = "add runs, or leave the participant out with --participant-label"
    elif build.label_column == build.stimulus_column:
        own = set(kept["stimulus"].dropna())
        n_found = len(own.intersection(build.stimulus_files))
        why += f"; an image file was found for {n_found} of {len(own)}, so images are not decoded"
    yield Finding(
        f"sub-{label}: labels of column {build.label_column}", why, fix, participant=label,
    )


def _check_label_coverage(label: str, kept: pd.DataFrame) -> Iterator[Finding]:
    pairs = set(zip(kept["run_group"].tolist(), kept["label"].tolist(), strict=True))
    n_runs = len({group for group, _ in pairs})
    present = Counter(name for _, name in pairs if isinstance(name, str))
    if len(present) > 50:
        return
    gaps = [f"{name} in {n_runs - present[name]} run(s)" for name in sorted(present)
            if present[name] < n_runs]
    if gaps:
        yield Finding(
            f"sub-{label}: labels absent from some runs", ", ".join(gaps),
            "they count in the runs that have them", severity="warning", participant=label,
        )
