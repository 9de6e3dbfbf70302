"""Trials that are left out so that labels do not follow confounds."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pandas as pd

from bids_decoder.analyses.jobs import Notes
from bids_decoder.bids.events import TrialBuild
from bids_decoder.config import TrialRules
from bids_decoder.errors import ExitCode, Finding, name_some
from bids_decoder.evaluation.counterbalance import CALIPER, match_labels
from bids_decoder.trials import MEAN_SIGNAL, MOTION, Decision, exclude_trials
from bids_decoder.workflows.confound_checks import confound_values, counterbalanced

REASON = "not matched by --confound-removal counterbalance"
LEAST_SETS = 4
"""Trials of each label that must be left."""

_WHAT = "--confound-removal counterbalance"


def counterbalance(build: TrialBuild, rules: TrialRules, notes: Notes) -> TrialBuild:
    """Exclude trials of each participant until confounds are distributed alike over labels.

    Parameters
    ----------
    build : TrialBuild
    rules : TrialRules
    notes : Notes
        Findings are added: what cannot be matched is an error.

    Returns
    -------
    TrialBuild
        The same unless this was asked for.
    """
    if not counterbalanced(rules) or rules.new_data:
        return build
    if build.target_kind != "category":
        notes.findings.append(Finding(
            _WHAT, f"gives all labels the same confounds, and this call decodes "
            f"{build.target_kind}", "decode labels (--target category), or use "
            "--confound-removal regress", ExitCode.USAGE,
        ))
        return build
    tables = {}
    for label, table in build.tables.items():
        columns = {name: confound_values(name, table) for name in rules.controls}
        notes.findings += _refuse(label, columns)
        tables[label] = table
        if _is_complete(table, columns):
            tables[label] = _matched(table, columns)
            notes.findings += _too_few(label, tables[label], rules)
    n_before, n_after = (
        sum(int((~table["excluded"].astype(bool)).sum()) for table in found.values())
        for found in (build.tables, tables)
    )
    notes.decisions.append(Decision(
        "counterbalanced confounds", name_some(list(rules.controls), 8),
        f"{n_after} of {n_before} trials kept, as many of each label; matched ones differ by at "
        f"most {CALIPER:g} standard deviations ({_WHAT})",
    ))
    return replace(build, tables=tables)


def _refuse(label: str, columns: dict[str, pd.Series | None]) -> Iterator[Finding]:
    for name, values in columns.items():
        if values is None and name in (MEAN_SIGNAL, MOTION):
            yield Finding(
                f"sub-{label}: {_WHAT} with --control {name}", "its values are known only when "
                "responses have been estimated", "use --confound-removal regress, or name columns "
                "of the events files", ExitCode.USAGE, participant=label,
            )


def _is_complete(table: pd.DataFrame, columns: dict[str, pd.Series | None]) -> bool:
    """Return whether there are trials with all values; what is missing is found by later checks."""
    used = ~table["excluded"].to_numpy(dtype=bool)
    return bool(used.any()) and all(
        values is not None and values[used].notna().all() for values in columns.values()
    )


def _matched(table: pd.DataFrame, columns: dict[str, pd.Series | None]) -> pd.DataFrame:
    used = ~table["excluded"].to_numpy(dtype=bool)
    left_out = used.copy()
    left_out[used] = ~match_labels(
        table["label"].to_numpy(dtype=str)[used], pd.DataFrame(columns)[used],
        table["run_group"].to_numpy(dtype=str)[used],
    )
    return exclude_trials(table, left_out, REASON)


def _too_few(label: str, table: pd.DataFrame, rules: TrialRules) -> list[Finding]:
    kept = table[~table["excluded"].to_numpy(dtype=bool)]
    counts = kept["label"].value_counts()
    least = int(counts.min()) if len(counts) else 0
    if least >= LEAST_SETS:
        return []
    return [Finding(
        f"sub-{label}: {_WHAT}", f"{least} trials of each label have partners in all other labels "
        f"with about the same {name_some(list(rules.controls), 4)}; {LEAST_SETS} are needed",
        "name fewer columns (--control), leave labels out (--relabel), or use --confound-removal "
        "regress", ExitCode.BAD_DATA, participant=label,
    )]
