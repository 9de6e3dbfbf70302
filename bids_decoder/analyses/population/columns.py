"""Columns of ``participants.tsv`` that scores are related to, and what is wrong with them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from bids_decoder.analyses.population.options import Population
from bids_decoder.bids.rules import is_number
from bids_decoder.bids.spelling import did_you_mean
from bids_decoder.bids.writer import read_table
from bids_decoder.errors import ExitCode, Finding, InputError, has_errors, name_some
from bids_decoder.evaluation.association import associate, compare_groups
from bids_decoder.evaluation.population import Variable

TABLE = "participants.tsv"


@dataclass(frozen=True)
class Column:
    """One column that scores are related to, as the plan hands it to the node.

    Parameters
    ----------
    option : str
        Option that named it.
    name : str
    is_group : bool
    values : dict of str to str or None
        By participant.
    blocks : dict of str to str or None, or None
        Value of ``--exchange-within`` by participant.
    """

    option: str
    name: str
    is_group: bool
    values: dict[str, str | None]
    blocks: dict[str, str | None] | None

    def variable(self, people: Sequence[str]) -> Variable:
        """Return the values of some participants, in their order."""
        return Variable(
            self.name, self.is_group, _pick(self.values, people),
            None if self.blocks is None else _pick(self.blocks, people),
        )


def _pick(values: dict[str, str | None], people: Sequence[str]) -> np.ndarray:
    return np.array([values.get(label) for label in people], dtype=object)


def wanted_columns(settings: Population) -> dict[str, str]:
    """Return the columns that options name, by option."""
    named = {"--group-by": settings.group_by, "--covariate": settings.covariate,
             "--exchange-within": settings.exchange_within}
    return {option: name for option, name in named.items() if name is not None}


def read_columns(
    root: Path, settings: Population, people: Sequence[str]
) -> tuple[list[Column], list[Finding]]:
    """Read the columns that options name, for some participants.

    Parameters
    ----------
    root : Path
        Folder of the dataset.
    settings : Population
    people : sequence of str
        Labels of participants with results.

    Returns
    -------
    columns : list of Column
        Those that can be tested.
    findings : list of Finding
        All that is wrong with the options, the table and its columns.
    """
    wanted = wanted_columns(settings)
    if not wanted:
        return [], []
    table, findings = _read(root / TABLE, wanted)
    within = wanted.pop("--exchange-within", None)
    if not wanted:
        findings.append(Finding(
            "--exchange-within", "there is nothing to exchange within it",
            "give --group-by or --covariate, too, or leave the option out", ExitCode.USAGE,
        ))
    if table is None or findings or len(people) < 2:
        return [], findings
    blocks = None if within is None else _values(table, within, people)
    columns = []
    for option, name in wanted.items():
        column = Column(option, name, option == "--group-by", _values(table, name, people), blocks)
        problems = check_column(column, people)
        findings += problems
        if not has_errors(problems):
            columns.append(column)
    return columns, findings


def _read(path: Path, wanted: dict[str, str]) -> tuple[pd.DataFrame | None, list[Finding]]:
    given = " ".join(f"{option} {name}" for option, name in wanted.items())
    try:
        table = read_table(path)
    except FileNotFoundError:
        return None, [Finding(given, f"{path} is not there", f"add {TABLE} with the column",
                              ExitCode.MISSING_INPUT)]
    except (OSError, ValueError) as error:
        return None, [Finding(
            str(path), f"is not readable as a table: {str(error).strip()}",
            "correct the file: tab-separated UTF-8 text with a header",
        )]
    findings = [
        Finding(
            f"{option} {name}".strip(),
            f"{TABLE} has no such column; columns: {', '.join(table.columns)}",
            did_you_mean(name, table.columns, f"name a column of {TABLE}"), ExitCode.USAGE,
        )
        for option, name in {"": "participant_id", **wanted}.items() if name not in table
    ]
    return table, findings


def _values(table: pd.DataFrame, name: str, people: Sequence[str]) -> dict[str, str | None]:
    labels = table["participant_id"].fillna("").str.removeprefix("sub-")
    cells = dict(zip(labels, table[name], strict=True))
    return {label: cells.get(label) for label in people}


def check_column(column: Column, people: Sequence[str]) -> list[Finding]:
    """Return what stands in the way of a test with this column.

    Parameters
    ----------
    column : Column
    people : sequence of str
        Labels of participants with results.
    """
    given = f"{column.option} {column.name}"
    variable = column.variable(people)
    known = variable.known
    findings = []
    if not known.all():
        absent = [f"sub-{label}" for label, has in zip(people, known, strict=True) if not has]
        findings.append(Finding(
            f"{given}: {len(absent)} of {len(people)} participants have no value",
            name_some(absent), f"add the values to {TABLE}; without them these participants are "
            "left out of this test, not of the others", severity="warning",
        ))
    if not column.is_group:
        wrong = [str(cell) for cell in variable.values[known] if not is_number(cell)]
        if wrong:
            return [*findings, Finding(
                given, f"{len(wrong)} value(s) are no numbers: {name_some(wrong)}",
                "name a column of numbers, or compare groups with --group-by",
            )]
    return findings + _check_variation(given, variable)


def _check_variation(given: str, variable: Variable) -> list[Finding]:
    known = variable.known
    values = variable.values[known]
    distinct = list(dict.fromkeys(map(str, values)))
    if len(distinct) < 2:
        what = f"it is {distinct[0]} in all {len(values)}" if distinct else "it is n/a in all"
        return [Finding(
            given, f"{what} participants with results",
            "name a column that varies, or leave the option out",
        )]
    blocks = None if variable.blocks is None else variable.blocks[known].astype(str)
    # Any scores that vary show whether the design can be tested.
    scores = np.random.default_rng(0).normal(size=len(values))
    options: dict[str, Any] = {
        "n_permutations": 1, "rng": np.random.default_rng(0), "blocks": blocks,
    }
    try:
        if variable.is_group:
            compare_groups(scores, values.astype(str), **options)
        else:
            associate(scores, values.astype(np.float64), **options)
    except InputError as error:
        return [Finding(given, error.finding.why, error.finding.fix)]
    return []
