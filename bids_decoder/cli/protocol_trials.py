"""Trials of a published protocol: who trains on what, and whether the data are those of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pandas as pd

from bids_decoder.analyses.study import Roles
from bids_decoder.bids.events import TrialBuild
from bids_decoder.bids.layouts import natural_key
from bids_decoder.config import Settings
from bids_decoder.errors import ExitCode, Finding
from bids_decoder.evaluation.held_out import Tables, with_role
from bids_decoder.protocols import PROTOCOLS, Protocol, number_of
from bids_decoder.trials import exclude_trials


def limit_trials(build: TrialBuild, roles: Roles, settings: Settings) -> TrialBuild:
    """Exclude training trials of later sessions, for the participants who are decoded.

    Parameters
    ----------
    build : TrialBuild
        Trials with the column of ``--split-column``.
    roles : Roles
    settings : Settings
        Its protocol decides how many sessions train.

    Returns
    -------
    TrialBuild
        The same without a protocol.
    """
    name = settings.trials.protocol
    if name is None:
        return build
    decoded = {person.label for person in roles.chosen}
    tables = {
        label: _first_trials(table, PROTOCOLS[name], name) if label in decoded else table
        for label, table in build.tables.items()
    }
    return replace(build, tables=tables)


def _first_trials(table: pd.DataFrame, protocol: Protocol, name: str) -> pd.DataFrame:
    if not protocol.limits_training:
        return table
    used = (with_role(table)["role"] != "test") & ~table["excluded"].astype(bool)
    if protocol.n_training_stimuli is not None:
        first = _first_stimuli(table[used], protocol.n_training_stimuli)
        later = used & ~table["stimulus"].isin(first)
        reason = f"only the first {protocol.n_training_stimuli} stimuli train in --protocol {name}"
    else:
        sessions = _sessions(table)[:protocol.n_training_sessions]
        later = used & ~table["session"].isin(sessions)
        reason = f"only the first {protocol.n_training_sessions} session(s) train in "
        reason += f"--protocol {name}"
    return exclude_trials(table, later, reason)


def _first_stimuli(trials: pd.DataFrame, count: int) -> list[str]:
    """Return the stimuli that were seen first, in order of sessions, runs and trials."""
    order = {session: number for number, session in enumerate(_sessions(trials))}
    run = trials["run"].fillna("").astype(str)
    runs = {label: number for number, label in enumerate(sorted(set(run), key=natural_key))}
    ordered = trials.assign(
        session=trials["session"].map(order), run=run.map(runs), trial=trials["trial"].astype(int),
    ).sort_values(["session", "run", "trial"], kind="stable")
    return list(dict.fromkeys(ordered["stimulus"].dropna()))[:count]


def _sessions(table: pd.DataFrame) -> list[str]:
    """Return the sessions by the number at the end of their labels."""
    labels = table["session"].dropna().unique().tolist()
    return sorted(labels, key=lambda label: (number_of(label) or 0, label))


def check_protocol(
    tables: Tables, target_kind: str, roles: Roles, settings: Settings
) -> list[Finding]:
    """Find in what the data and the participants differ from a protocol.

    Parameters
    ----------
    tables : dict of str to DataFrame
        Trial tables by participant label.
    target_kind : str
    roles : Roles
    settings : Settings

    Returns
    -------
    list of Finding
        Empty without a protocol.
    """
    name = settings.trials.protocol
    if name is None:
        return []
    protocol = PROTOCOLS[name]
    findings = []
    if target_kind not in ("image", "features"):
        findings.append(Finding(
            f"--protocol {name}", f"decodes images; the targets of these data are {target_kind}",
            "supply the pictures (--stimuli-dir) or feature vectors (--features)",
        ))
    if roles.leaves_one_out and protocol.limits_training:
        findings.append(Finding(
            f"--protocol {name}", "the same participants would be pretrained on, with all their "
            "sessions, and decoded, with the first ones", "name who is decoded: --holdout-label",
            ExitCode.USAGE,
        ))
        return findings
    sources = tuple(sorted(number_of(person.label) or 0 for person in roles.sources))
    for person in roles.chosen:
        found = _differences(person.label, tables[person.label], protocol, sources)
        findings += [Finding(
            f"sub-{person.label} with --protocol {name}", why,
            f"use the data of {protocol.source}, or leave out --protocol",
            participant=person.label,
        ) for why in found]
    return findings


def _differences(
    label: str, table: pd.DataFrame, protocol: Protocol, sources: Sequence[int]
) -> list[str]:
    """Return in what one participant who is decoded differs from the protocol."""
    number = number_of(label)
    if number not in protocol.participants:
        those = ", ".join(map(str, protocol.participants))
        return [f"the protocol decodes participants {those}"]
    wanted = protocol.sources_of(number)
    sessions = _sessions(table)
    is_used = ~table["excluded"].astype(bool)
    role = with_role(table)["role"]
    test, training = table[(role == "test") & is_used], table[(role == "train") & is_used]
    counts = {
        "sessions": (len(sessions), protocol.n_sessions),
        "trials in the session(s) that train": _session_trials(table, sessions, protocol),
        "training stimuli": (training["stimulus"].nunique(), protocol.n_training_stimuli),
        "training trials": (len(training), protocol.n_training_trials),
        "test stimuli": (test["stimulus"].nunique(), protocol.n_test_stimuli),
        "test trials": (len(test), protocol.n_test_trials),
    }
    found = [
        f"{there} {what} instead of {expected}"
        for what, (there, expected) in counts.items() if expected not in (None, there)
    ]
    if sources and wanted is not None and tuple(sources) != wanted:
        found.append(
            f"pretrained on participants {', '.join(map(str, sources))} instead of "
            f"{', '.join(map(str, wanted))}"
        )
    return found


def _session_trials(
    table: pd.DataFrame, sessions: Sequence[str], protocol: Protocol
) -> tuple[int, int | None]:
    """Return how many trials the sessions that train have, and how many they should have."""
    training = sessions[:protocol.n_training_sessions]
    n_sessions = protocol.n_training_sessions or protocol.n_sessions
    expected = None if protocol.n_session_trials is None or n_sessions is None else (
        n_sessions * protocol.n_session_trials
    )
    return int(table["session"].isin(training).sum()), expected
