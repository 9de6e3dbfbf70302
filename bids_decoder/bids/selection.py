"""Participants and sessions chosen by the columns of their tables."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from bids_decoder.bids.notes import DatasetNotes
from bids_decoder.bids.rules import Rule, check_rules, parse_rules, satisfy_all
from bids_decoder.bids.writer import read_table
from bids_decoder.config import Execution
from bids_decoder.errors import BidsDecoderError, ExitCode, Finding, has_errors, name_some


@dataclass(frozen=True)
class Selection:
    """Participants and sessions that satisfy all rules.

    Parameters
    ----------
    participants : frozenset of str or None
        Labels; None where there is no rule for participants.
    sessions : frozenset of (str, str or None) or None
        Labels of participant and session; None where there is no rule for sessions.
    """

    participants: frozenset[str] | None = None
    sessions: frozenset[tuple[str, str | None]] | None = None

    def has(self, participant: str, session: str | None) -> bool:
        """Return whether a session of a participant is chosen."""
        return (self.participants is None or participant in self.participants) and (
            self.sessions is None or (participant, session) in self.sessions
        )


def select_by_tables(
    root: Path, execution: Execution, present: Iterable[tuple[str, str | None]], notes: DatasetNotes
) -> Selection:
    """Apply ``--participant-filter`` and ``--session-filter``.

    Parameters
    ----------
    root : Path
        Folder of the dataset, with ``participants.tsv`` and ``sub-XX/sub-XX_sessions.tsv``.
    execution : Execution
    present : iterable of (str, str or None)
        Labels of participant and session of all runs.
    notes : DatasetNotes
        Receives what was chosen, and findings on rules and tables.

    Returns
    -------
    Selection
        Without restriction where a rule is wrong; the reason is among the findings.
    """
    pairs = sorted(set(present), key=lambda pair: (pair[0], pair[1] or ""))
    try:
        people_rules = parse_rules(execution.participant_filter, "--participant-filter")
        session_rules = parse_rules(execution.session_filter, "--session-filter")
    except BidsDecoderError as error:
        notes.findings.append(error.finding)
        return Selection()
    participants = sessions = None
    if people_rules:
        names = {f"sub-{name}": name for name, _ in pairs}
        path = root / "participants.tsv"
        kept = _choose(
            people_rules, list(names), _read(path, "participant_id", "sub-", notes), path.name,
            notes,
        )
        participants = None if kept is None else frozenset(names[key] for key in kept)
    if session_rules:
        keys = {f"sub-{name} ses-{session}": (name, session) for name, session in pairs}
        tables = [
            _read(root / f"sub-{name}/sub-{name}_sessions.tsv", "session_id",
                  f"sub-{name} ses-", notes)
            for name in dict.fromkeys(name for name, _ in pairs)
        ]
        known = [table for table in tables if table is not None]
        kept = _choose(
            session_rules, list(keys), pd.concat(known) if known else None, "sessions.tsv", notes
        )
        sessions = None if kept is None else frozenset(keys[key] for key in kept)
    return Selection(participants, sessions)


def _read(path: Path, column: str, prefix: str, notes: DatasetNotes) -> pd.DataFrame | None:
    """Read a table with its first column, labels that get the *prefix*, as index."""
    if not path.is_file():
        return None
    try:
        table = read_table(path)
    except (OSError, ValueError) as error:
        notes.findings.append(Finding(
            str(path), f"is not readable as a table: {str(error).strip()}",
            "correct the file: tab-separated UTF-8 text with a header",
        ))
        return None
    if column not in table:
        notes.findings.append(Finding(
            str(path), f"has no column {column}; columns: {', '.join(table.columns)}",
            "correct the file",
        ))
        return None
    table = table[table[column].notna()]
    labels = table[column].str.removeprefix("sub-").str.removeprefix("ses-")
    table = table.set_index(prefix + labels)
    # The first row counts where one is there twice, with or without the prefix of its label.
    return table[~table.index.duplicated()]


def _choose(
    rules: tuple[Rule, ...], keys: list[str], known: pd.DataFrame | None, place: str,
    notes: DatasetNotes,
) -> list[str] | None:
    """Return the keys whose rows satisfy the rules; None where the rules cannot be applied."""
    option = rules[0].option
    given = f"{option} {' '.join(str(rule).removeprefix(option).strip() for rule in rules)}"
    if known is None:
        notes.findings.append(Finding(
            given, f"there is no {place} that can be read",
            f"add {place} with the column, or leave the option out", ExitCode.MISSING_INPUT,
        ))
        return None
    rows = known.reindex(keys).astype(object)
    rows = rows.where(rows.notna(), None)
    found = check_rules(rules, [rows], place)
    notes.findings += found
    if has_errors(found):
        return None
    kept = [key for key, wanted in zip(keys, satisfy_all(rules, rows), strict=True) if wanted]
    unlisted = [key for key in keys if key not in known.index]
    what = "participants" if option == "--participant-filter" else "sessions"
    if unlisted:
        notes.warn(
            f"{len(unlisted)} of {len(keys)} {what} are not in {place}", name_some(unlisted, 3),
            f"their cells count as n/a in {given}; add them to the table",
        )
    if not kept:
        notes.findings.append(Finding(
            given, f"none of {len(keys)} {what} satisfies all rules", "loosen the rules",
            ExitCode.NOTHING_SELECTED,
        ))
    left_out = [key for key in keys if key not in kept]
    notes.decide(
        what, f"{len(kept)} of {len(keys)}", f"{given}; left out: {name_some(left_out) or 'none'}"
    )
    return kept
