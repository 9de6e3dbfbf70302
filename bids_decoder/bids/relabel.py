"""Labels and stimuli that are renamed, joined or dropped, and suggestions to do so."""

from __future__ import annotations

import re
import shlex
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from bids_decoder.bids.event_columns import Columns
from bids_decoder.bids.notes import DatasetNotes
from bids_decoder.bids.run_rows import RunRows
from bids_decoder.bids.spelling import did_you_mean, spelling_variants
from bids_decoder.errors import ExitCode, Finding, UsageError, name_some

MAX_PRINTED = 20
"""Number of options that a suggestion spells out."""


def parse_relabels(texts: Sequence[str]) -> dict[str, str | None]:
    """Parse ``old=new``, ``a|b=new`` and ``old=``.

    Parameters
    ----------
    texts : sequence of str

    Returns
    -------
    dict of str to (str or None)
        New name of each old one; None where its rows are left out.

    Raises
    ------
    UsageError
        For other text, and for a name that is to become two.

    Examples
    --------
    >>> parse_relabels(["Face=face", "shoe|boot=footwear", "rest="])
    {'Face': 'face', 'shoe': 'footwear', 'boot': 'footwear', 'rest': None}
    """
    names: dict[str, str | None] = {}
    for text in texts:
        match = re.fullmatch(r"\s*([^=]+?)\s*=\s*(.*?)\s*", text)
        olds = [old.strip() for old in match[1].split("|")] if match else []
        if match is None or not all(olds) or match[2] == "n/a":
            raise UsageError(
                f"--relabel {text}", "is not of the form old=new, a|b=new or old=",
                "write --relabel Face=face to rename, 'shoe|boot=footwear' to join, rest= to "
                "leave out",
            )
        for old in olds:
            if names.setdefault(old, match[2] or None) != (match[2] or None):
                raise UsageError(
                    f"--relabel {text}", f"{old} already becomes {names[old] or 'left out'}",
                    "list each old name once; names are replaced all at once, not in turn",
                )
    return names


def relabel_rows(
    runs: list[RunRows], columns: Columns, names: Mapping[str, str | None],
    given: Sequence[pd.DataFrame], notes: DatasetNotes,
) -> list[Finding]:
    """Replace names in the rows of all runs, in place.

    A name is looked for among the labels and, where no label has it, among the stimuli. A
    stimulus with the same name as its label is renamed with it.

    Parameters
    ----------
    runs : list of RunRows
        Rows that are to be left out are removed; those of beta series are marked.
    columns : Columns
    names : mapping of str to (str or None)
        From :func:`parse_relabels`.
    given : sequence of DataFrame
        Rows of all runs as they were read: a name whose rows are left out already is known.
    notes : DatasetNotes
        Receives each replacement with its number of rows.

    Returns
    -------
    list of Finding
        An error for each name that does not occur, and one where no row is left.
    """
    if not names:
        return []
    known = {name: _values(given, name) for name in {columns.label, columns.stimulus}}
    labels, stimuli = known[columns.label], known[columns.stimulus]
    everything = sorted(labels) + sorted(stimuli - labels)
    findings = [
        Finding(
            f"--relabel {old}={new or ''}",
            f"no label and no stimulus is called {old!r}; there are {name_some(everything, 20)}",
            did_you_mean(old, everything, "use a name that occurs"), ExitCode.USAGE,
        )
        for old, new in names.items() if old not in labels and old not in stimuli
    ]
    counts: Counter[tuple[str, str | None]] = Counter()
    for item in runs:
        counts += _relabel_run(item, columns, names, labels)
    for (old, new), count in sorted(counts.items(), key=str):
        if new is None:
            notes.decide("rows left out", str(count), f"--relabel {old}=")
        else:
            notes.decide("relabelled", f"{old} to {new}", f"--relabel; {count} row(s)")
    if not sum(len(item.rows) for item in runs):
        findings.append(Finding(
            "--relabel", "no row of any events file is left", "leave out fewer names",
            ExitCode.USAGE,
        ))
    return findings


def _values(tables: Sequence[pd.DataFrame], column: str) -> set[str]:
    return {value for table in tables if column in table for value in table[column].dropna()}


def _relabel_run(
    item: RunRows, columns: Columns, names: Mapping[str, str | None], labels: set[str]
) -> Counter[tuple[str, str | None]]:
    """Replace names in one run, and count rows by old and new name."""
    label = item.rows[columns.label].to_numpy(dtype=object).copy()
    stimulus = item.rows[columns.stimulus].to_numpy(dtype=object).copy()
    same = label == stimulus
    by_label = np.array([cell in names and cell in labels for cell in label], dtype=bool)
    by_stimulus = np.array([cell in names and cell not in labels for cell in stimulus], dtype=bool)
    reasons = np.full(len(item.rows), None, dtype=object)
    counts: Counter[tuple[str, str | None]] = Counter()
    for cells, rows in ((label, by_label), (stimulus, by_stimulus & ~by_label)):
        for row in np.flatnonzero(rows):
            old, new = cells[row], names[cells[row]]
            counts[old, new] += 1
            if new is None:
                reasons[row] = f"--relabel {old}="
            else:
                cells[row] = new
    stimulus = np.where(same & by_label, label, stimulus)
    item.rows = item.rows.assign(**{columns.stimulus: stimulus, columns.label: label})
    item.leave_out(reasons)
    return counts


def warn_of_spelling(
    tables: Mapping[str, pd.DataFrame], columns: Columns, notes: DatasetNotes
) -> None:
    """Warn about labels, and about stimuli, whose names differ in spelling only.

    Parameters
    ----------
    tables : mapping of str to DataFrame
        Trial tables, by participant.
    columns : Columns
    notes : DatasetNotes
    """
    told: set[str] = set()
    for kind, column in (("label", columns.label), ("stimulus", columns.stimulus)):
        counts: Counter[str] = Counter()
        runs: dict[str, int] = defaultdict(int)
        for table in tables.values():
            own = _names_by_run(table, kind)
            counts.update(name for names in own.values() for name in names)
            for names in own.values():
                for name in set(names):
                    runs[name] += 1
        variants = [
            (usual, tuple(name for name in others if name not in told))
            for usual, others in spelling_variants(counts)
        ]
        variants = [(usual, others) for usual, others in variants if others]
        if not variants:
            continue
        told |= {name for _, others in variants for name in others}
        shown = [
            " and ".join(
                f"{name!r} ({counts[name]} trials in {runs[name]} runs)"
                for name in (usual, *others)
            )
            for usual, others in variants
        ]
        _warn_of_variants(kind, column, variants, shown, notes)


def _names_by_run(table: pd.DataFrame, kind: str) -> dict[str, list[str]]:
    """Return the names of the trials of each run that are not excluded."""
    used = ~table["excluded"].to_numpy(dtype=bool)
    names, groups = (table[name].to_numpy()[used].tolist() for name in (kind, "run_group"))
    found: dict[str, list[str]] = defaultdict(list)
    for name, group in zip(names, groups, strict=True):
        if isinstance(name, str):
            found[group].append(name)
    return found


def _warn_of_variants(
    kind: str, column: str, variants: Sequence[tuple[str, tuple[str, ...]]],
    shown: Sequence[str], notes: DatasetNotes,
) -> None:
    what = f"{kind} names with several spellings in column {column}"
    pairs = [shlex.quote(f"{'|'.join(others)}={usual}") for usual, others in variants]
    why = ("they differ in case, blanks, _, -, leading zeros or .0 only, and count as different "
           "ones: ")
    why += "; ".join(shown[:3])
    if len(shown) > 3:
        why += f"; and {len(shown) - 3} more, see the decisions of plan.json"
        notes.decide(what, str(len(shown)), "; ".join(shown))
    option = f"--relabel {' '.join(pairs)}"
    if len(pairs) > MAX_PRINTED:
        option = f"{len(pairs)} options such as --relabel {' '.join(pairs[:3])}"
    notes.warn(
        f"{len(variants)} {what}", why,
        f"if they mean the same, correct the events files or use {option}",
    )
