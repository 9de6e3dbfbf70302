"""Check in the plan that every confound has values from which something can be decoded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import pandas as pd

from bids_decoder.bids.dataset import Participant
from bids_decoder.config import TrialRules
from bids_decoder.errors import ExitCode, Finding
from bids_decoder.trials import MEAN_SIGNAL, MOTION, TRIAL_ORDER, VALUE, confounds_of
from bids_decoder.workflows.shared import has_motion


def check_confounds(
    people: Sequence[Participant], tables: Mapping[str, pd.DataFrame], rules: TrialRules
) -> list[Finding]:
    """Check the columns of ``--control``; those that are absent were found with the events files.

    Parameters
    ----------
    people : sequence of Participant
    tables : mapping of str to DataFrame
        Trial tables with the split, by participant.
    rules : TrialRules

    Returns
    -------
    list of Finding
        Columns that are missing in some trials, do not vary, are what is decoded, or need motion
        parameters that the dataset does not have.
    """
    findings = check_removal(rules, "events files: --control response_time")
    for person in people if rules.controls else ():
        table = tables[person.label]
        used = table[~table["excluded"].to_numpy(dtype=bool)]
        for name in dict.fromkeys(rules.controls):
            findings += _check_column(name, person, used)
            if VALUE in table and name in rules.value_column:
                findings.append(Finding(
                    f"sub-{person.label}: --control {name}", "is what is decoded",
                    "name something else that differs between trials", ExitCode.USAGE,
                    participant=person.label,
                ))
    return findings


def _check_column(name: str, person: Participant, trials: pd.DataFrame) -> list[Finding]:
    what = f"sub-{person.label}: --control {name}"
    if name == MOTION and name not in confounds_of(trials) and not has_motion(person):
        return [Finding(
            what, "there are no motion parameters", "leave it out, or start from preprocessed BOLD "
            "with its confounds tables", ExitCode.MISSING_INPUT, participant=person.label,
        )]
    values = confound_values(name, trials)
    if values is None or trials.empty:
        return []
    decoded = [trials[own] for own in ("label", "stimulus")]
    found = check_values(what, values, decoded, "trials", "--trial-filter")
    return [replace(finding, participant=person.label) for finding in found]


def check_values(
    what: str, values: pd.Series, decoded: Sequence[pd.Series], unit: str, option: str
) -> list[Finding]:
    """Check the values of one confound.

    Parameters
    ----------
    what : str
        Name of the confound in messages.
    values : Series
        Missing ones are NaN.
    decoded : sequence of Series
        What is decoded, in the same order.
    unit : {"trials", "participants"}
    option : str
        Leaves some of them out.
    """
    missing = int(values.isna().sum())
    if missing:
        return [Finding(
            what, f"{missing} of {len(values)} {unit} have no value",
            f"fill them in, or leave these {unit} out ({option})", ExitCode.BAD_DATA,
        )]
    if values.nunique() == 1:
        return [Finding(
            what, f"is {values.iloc[0]} in all {unit}", "leave it out: it explains nothing",
            ExitCode.BAD_DATA,
        )]
    words = values.astype(str).to_numpy()
    if any((words == target.astype(str).to_numpy()).all() for target in decoded):
        return [Finding(
            what, "is what is decoded", f"name something else that differs between {unit}",
            ExitCode.USAGE,
        )]
    return []


def check_removal(rules: TrialRules, example: str) -> list[Finding]:
    """Check that a confound is named where confounds are removed."""
    if rules.confound_removal == "none" or rules.controls:
        return []
    return [Finding(
        f"--confound-removal {rules.confound_removal}", "no confound is named",
        f"name columns of the {example}", ExitCode.USAGE,
    )]


def counterbalanced(rules: TrialRules) -> tuple[str, ...]:
    """Return the confounds for which trials are left out."""
    return rules.controls if rules.confound_removal == "counterbalance" else ()


def confound_values(name: str, trials: pd.DataFrame) -> pd.Series | None:
    """Return the values of a confound; None where they are computed later, or absent."""
    carried = confounds_of(trials)
    if name in carried:
        return carried[name].replace("", np.nan)
    if name in (MEAN_SIGNAL, MOTION):
        return None
    own = "trial" if name == TRIAL_ORDER else name
    return trials.get(own)
