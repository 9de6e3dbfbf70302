"""Rules that choose rows of a table: ``column=a|b``, ``column!=a``, ``column>=2``.

The same grammar serves events files, ``participants.tsv`` and ``sessions.tsv``.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from bids_decoder.bids.spelling import did_you_mean
from bids_decoder.errors import ExitCode, Finding, UsageError, name_some

MISSING = "n/a"
"""The value that means a missing cell in a rule."""

_ORDERS: dict[str, Callable[[Any, Any], Any]] = {
    ">": operator.gt, ">=": operator.ge, "<": operator.lt, "<=": operator.le,
}
_RULE = re.compile(r"\s*([^=!<>]+?)\s*(!=|>=|<=|==|=|>|<)\s*([^=<>\s].*?)\s*")


@dataclass(frozen=True)
class Rule:
    """One condition on the cells of a column.

    Parameters
    ----------
    column : str
    operator : {"=", "!=", ">", ">=", "<", "<="}
    values : tuple of str
        One number for ``>``, ``>=``, ``<`` and ``<=``; otherwise one or more values, with ``n/a``
        for missing cells.
    option : str
        The option that the rule comes from, for messages.
    """

    column: str
    operator: str
    values: tuple[str, ...]
    option: str

    @property
    def asked_for(self) -> tuple[str, ...]:
        """Values that the rule asks for by name."""
        return self.values if self.operator == "=" else ()

    def mask(self, table: pd.DataFrame) -> np.ndarray:
        """Return which rows satisfy the rule.

        Parameters
        ----------
        table : DataFrame, n_rows rows
            A column that it lacks is taken as missing in all rows.

        Returns
        -------
        ndarray of bool, shape (n_rows,)
            A missing cell, or one that is not a number, satisfies no comparison of numbers.
        """
        cells = _cells(table, self.column)
        if self.operator in _ORDERS:
            return _ORDERS[self.operator](_numbers(cells), float(self.values[0]))
        found = _is_among(cells, self.values)
        return found if self.operator == "=" else ~found

    def __str__(self) -> str:
        return f"{self.option} {self.column}{self.operator}{'|'.join(self.values)}"


def parse_rules(texts: Sequence[str], option: str) -> tuple[Rule, ...]:
    """Parse rules as they are given on the command line.

    Parameters
    ----------
    texts : sequence of str
    option : str
        Name of the option, for messages.

    Returns
    -------
    tuple of Rule

    Raises
    ------
    UsageError
        For text that is not a rule.

    Examples
    --------
    >>> [str(r) for r in parse_rules(["kind = image|word", "rt<=2", "rt!=n/a"], "--trial-filter")]
    ['--trial-filter kind=image|word', '--trial-filter rt<=2', '--trial-filter rt!=n/a']
    >>> str(*parse_rules(["kind==word"], "--trial-filter"))
    '--trial-filter kind=word'
    """
    rules = []
    for text in texts:
        match = _RULE.fullmatch(text)
        if match is None:
            raise UsageError(
                f"{option} {text}",
                "is not a rule; rules are column=a|b, column!=a, column>1, column>=1, column<1, "
                "column<=1, with n/a for missing cells",
                f"write for instance {option} 'accuracy>0.5', in quotes: a shell takes > and < "
                "for itself",
            )
        values = tuple(value.strip() for value in match[3].split("|"))
        if match[2] in _ORDERS and not is_number(match[3]):
            raise UsageError(
                f"{option} {text}",
                f"{match[3]!r} is not a number, and {match[2]} compares numbers",
                f"write one number, or use = or !=, as in {option} '{match[1]}={values[0]}'",
            )
        # Who writes == as in a program means =.
        rules.append(Rule(match[1], match[2].replace("==", "="), values, option))
    return tuple(rules)


def satisfy_all(rules: Sequence[Rule], table: pd.DataFrame) -> np.ndarray:
    """Return which rows satisfy every rule: boolean, shape (n_rows,)."""
    kept = np.ones(len(table), dtype=bool)
    for rule in rules:
        kept &= rule.mask(table)
    return kept


def check_rules(
    rules: Sequence[Rule], tables: Sequence[pd.DataFrame], place: str
) -> list[Finding]:
    """Find rules that do not fit the tables.

    Parameters
    ----------
    rules : sequence of Rule
    tables : sequence of DataFrame
        All tables that the rules are for.
    place : str
        What the tables are, for messages, such as ``"the events files"``.

    Returns
    -------
    list of Finding
        Errors for a column that is in no table, a comparison without numbers, and values of
        which none occurs; warnings for single values that do not occur, and for tables without the
        column.
    """
    known = sorted({str(name) for table in tables for name in table.columns})
    findings = []
    for rule in rules:
        if rule.column not in known:
            findings.append(Finding(
                str(rule), f"{place}: there is no column {rule.column}; columns: "
                f"{', '.join(known) or '(none)'}",
                did_you_mean(rule.column, known, "name one of these columns"), ExitCode.USAGE,
            ))
            continue
        cells = pd.concat([
            _cells(table, rule.column).astype(object) for table in tables if len(table)
        ] or [pd.Series(dtype=object)])
        check = _check_order if rule.operator in _ORDERS else _check_values
        findings += check(rule, cells, place)
        lacking = sum(rule.column not in table for table in tables)
        if lacking:
            findings.append(Finding(
                str(rule), f"{place}: {lacking} of {len(tables)} lack this column",
                f"their rows count as {rule.column}=n/a", severity="warning",
            ))
    return findings


def _check_order(rule: Rule, cells: pd.Series, place: str) -> list[Finding]:
    if np.isfinite(_numbers(cells)).any():
        return []
    found = _texts(cells.dropna())
    return [Finding(
        str(rule), f"{place}: no cell of column {rule.column} is a number"
        + (f", for instance {found[0]!r}" if found else ""),
        "choose with = or !=, or name a column of numbers", ExitCode.USAGE,
    )]


def _check_values(rule: Rule, cells: pd.Series, place: str) -> list[Finding]:
    absent = [value for value in rule.values if not _is_among(cells, (value,)).any()]
    if rule.operator == "!=":
        absent = [value for value in absent if value != MISSING]
    if not absent:
        return []
    found = sorted(set(_texts(cells.dropna())))
    stops = rule.operator == "=" and len(absent) == len(rule.values)
    return [Finding(
        str(rule), f"{place}: no cell of column {rule.column} is {' or '.join(absent)}; values: "
        f"{name_some(found, 20) or '(none)'}",
        did_you_mean(absent[0], found, "use values of this column"), ExitCode.USAGE,
        "error" if stops else "warning",
    )]


def _cells(table: pd.DataFrame, column: str) -> pd.Series:
    if column in table:
        return table[column]
    return pd.Series(None, index=table.index, dtype=object)


def _numbers(cells: pd.Series) -> np.ndarray:
    return pd.to_numeric(cells, errors="coerce").to_numpy(dtype=float, na_value=np.nan)


def _is_among(cells: pd.Series, values: Sequence[str]) -> np.ndarray:
    missing = cells.isna().to_numpy()
    if pd.api.types.is_numeric_dtype(cells) and not pd.api.types.is_bool_dtype(cells):
        # Times were read as numbers: 2 and 2.0 are the same second.
        found = np.isin(_numbers(cells), [float(v) for v in values if is_number(v)])
    else:
        found = cells.astype(str).isin(values).to_numpy() & ~missing
    return found | missing if MISSING in values else found


def _texts(cells: pd.Series) -> list[str]:
    return [f"{cell:g}" if isinstance(cell, float) else str(cell) for cell in cells]


def is_number(text: str) -> bool:
    """Return whether a text is a finite number."""
    try:
        return bool(np.isfinite(float(text)))
    except ValueError:
        return False
