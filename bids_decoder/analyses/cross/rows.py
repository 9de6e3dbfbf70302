"""Rows of the generalisation matrix of one participant, and what prevents them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from bids_decoder.bids.layouts import natural_key
from bids_decoder.bids.rules import Rule, satisfy_all
from bids_decoder.errors import ExitCode, Finding, name_some
from bids_decoder.evaluation.kinds import (
    LEAST_STIMULI,
    LEAST_TRIALS,
    Row,
    lacking_labels,
    number_folds,
    number_trials,
)
from bids_decoder.evaluation.nulls import exchange_images, find_exchange, permutation_blocks
from bids_decoder.evaluation.overlap import NearDuplicate
from bids_decoder.trials import rule_columns

MOST_LEVELS = 12
"""Levels of a matrix; more are values of a continuous variable rather than kinds."""

LEVEL = 0.05


@dataclass
class Rows:
    """Rows of one participant, and findings about them."""

    found: list[Row] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)


@dataclass(frozen=True, eq=False)
class Trials:
    """Usable trials of one participant.

    Parameters
    ----------
    participant : str
    table : DataFrame
        Planned trial table without excluded trials.
    by_stimulus : bool
        Whether stimuli are decoded rather than labels.
    """

    participant: str
    table: pd.DataFrame
    by_stimulus: bool = False

    def labels(self, rows: np.ndarray) -> set[str]:
        """Return the labels of some trials (boolean)."""
        return set(self.table["label"].to_numpy(dtype=object)[rows].tolist())

    def n_stimuli(self, rows: np.ndarray) -> int:
        """Count the stimuli of some trials (boolean)."""
        return int(self.table["stimulus"][rows].nunique())

    def find(
        self, what: str, why: str, fix: str, code: ExitCode = ExitCode.BAD_DATA,
        *, warns: bool = False,
    ) -> Finding:
        """Return a finding on this participant."""
        return Finding(
            f"sub-{self.participant}: {what}", why, fix, code, "warning" if warns else "error",
            participant=self.participant,
        )


def rows_between(
    trials: Trials, train: tuple[Rule, ...], test: tuple[Rule, ...], *, both_directions: bool
) -> Rows:
    """Return the rows of ``--train-filter`` and ``--test-filter``."""
    view = rule_columns(trials.table)
    kinds = {describe(rules): satisfy_all(rules, view) for rules in (train, test)}
    wanted = "--train-filter and --test-filter"
    if len(kinds) < 2 or np.logical_and(*kinds.values()).any():
        n_both = int(np.logical_and.reduce(list(kinds.values())).sum())
        return Rows(findings=[trials.find(
            wanted, f"{n_both} trials satisfy the rules of both sides",
            "let them choose different trials, for instance by task=a and task=b", ExitCode.USAGE,
        )])
    findings = [
        trials.find(f"{option} {name}", "no usable trial satisfies these rules",
                    "correct the rule, or leave the participant out")
        for (name, rows), option in zip(kinds.items(), wanted.split(" and "), strict=True)
        if not rows.any()
    ]
    if findings:
        return Rows(findings=findings)
    names = list(kinds)
    pairs = [(names[0], names[1]), *([(names[1], names[0])] if both_directions else [])]
    if trials.by_stimulus:
        return _with_stimuli(
            trials, [_row(trials, kinds, one, [other], []) for one, other in pairs]
        )
    labels = [trials.labels(rows) for rows in kinds.values()]
    differing = labels[0] ^ labels[1]
    if differing or len(labels[0]) < 2:
        return Rows(findings=[_labels_differ(trials, wanted, labels, differing)])
    rows = [_row(trials, kinds, one, [other], sorted(labels[0])) for one, other in pairs]
    return _checked(trials, rows, [])


def _labels_differ(
    trials: Trials, what: str, labels: list[set[str]], differing: set[str]
) -> Finding:
    if differing:
        why = f"not on both sides: {name_some(sorted(differing), 8)}"
        common = "|".join(sorted(labels[0] & labels[1])) or "a|b"
        fix = f"add the rule 'label={common}' to both sides, or join labels with --relabel"
    else:
        why = f"all trials have the label {', '.join(labels[0])}"
        fix = "choose trials with two or more labels"
    return trials.find(what, why, fix)


def rows_over(trials: Trials, column: str) -> Rows:
    """Return the rows of ``--generalise-over``: one per level that the participant has."""
    what = f"--generalise-over {column}"
    cells = rule_columns(trials.table)[column]
    texts = np.array(["" if pd.isna(cell) else _text(cell) for cell in cells], dtype=object)
    levels = sorted(set(texts.tolist()) - {""}, key=natural_key)
    if len(levels) < 2:
        return Rows(findings=[trials.find(
            what, f"its trials have {len(levels)} value(s): {', '.join(levels) or 'none'}",
            "name a column with two or more values, or leave the participant out",
        )])
    if len(levels) > MOST_LEVELS:
        return Rows(findings=[trials.find(
            what, f"its trials have {len(levels)} values; a matrix may have {MOST_LEVELS}",
            "name a column with fewer values, or use --train-filter and --test-filter",
            ExitCode.USAGE,
        )])
    kinds = {level: texts == level for level in levels}
    labels = [trials.labels(rows) for rows in kinds.values()]
    common, left_out = set.intersection(*labels), set.union(*labels) - set.intersection(*labels)
    if len(common) < 2:
        return Rows(findings=[trials.find(
            what, f"{len(common)} label(s) occur at all of the values {name_some(levels, 8)}",
            "two or more are needed: join labels with --relabel, or leave values out with "
            "--trial-filter",
        )])
    findings = [trials.find(
        what, f"left out, because they do not occur at all values: {name_some(sorted(left_out))}",
        "join labels with --relabel if that is wrong", warns=True,
    )] if left_out else []
    named = np.isin(trials.table["label"].to_numpy(dtype=str), sorted(common))
    kinds = {level: rows & named for level, rows in kinds.items()}
    return _matrix(trials, kinds, sorted(common), findings)


def _matrix(
    trials: Trials, kinds: Mapping[str, np.ndarray], classes: list[str], findings: list[Finding]
) -> Rows:
    rows, alone = [], []
    for level in kinds:
        others = [name for name in kinds if name != level]
        row = _row(trials, kinds, level, [level, *others], classes)
        if lacking_labels(row, trials.table):
            alone.append(level)
            row = _row(trials, kinds, level, others, classes)
        rows.append(row)
    if alone:
        findings.append(trials.find(
            "--generalise-over", "no cross-validation over runs within "
            f"{name_some(alone)}: too few runs with trials of each label; these cells of the "
            "matrix stay empty", "give more runs, or compare values of which each has several",
            warns=True,
        ))
    return _checked(trials, rows, findings)


def _row(
    trials: Trials, kinds: Mapping[str, np.ndarray], train: str, tests: list[str],
    classes: list[str],
) -> Row:
    numbers = {name: number_trials(trials.table, kinds[name]) for name in {train, *tests}}
    return Row(train, tests, classes, numbers, trials.by_stimulus)


def _with_stimuli(trials: Trials, rows: list[Row]) -> Rows:
    """Add findings on rows with too few stimuli to train on, or to tell apart."""
    findings = []
    for row in rows:
        (sides,) = row.fits(trials.table)
        what = f"cross-decoding from {row.train}"
        n_left, n_tested = trials.n_stimuli(sides.train), trials.n_stimuli(sides.test)
        n_all = trials.n_stimuli(row.members(trials.table, row.train))
        if n_left < LEAST_STIMULI:
            findings.append(trials.find(
                what, f"{n_left} of its {n_all} stimuli are not tested, and tested ones are held "
                f"out of training; {LEAST_STIMULI} are needed", "train on more stimuli, test on "
                "fewer (--test-filter), or decode labels (--target category)",
            ))
        if n_tested < 2:
            findings.append(trials.find(
                what, f"{n_tested} stimulus is tested, and there is no other one to tell it from",
                "test on more stimuli",
            ))
    return Rows(rows, findings)


def _checked(trials: Trials, rows: list[Row], findings: list[Finding]) -> Rows:
    """Add findings on rows that cannot be fitted, and on tests that cannot be significant."""
    for row in rows:
        if lacking := lacking_labels(row, trials.table):
            findings.append(trials.find(
                f"cross-decoding from {row.train}",
                f"fewer than {LEAST_TRIALS} training trials of {name_some(lacking)}, without those "
                "of the tested runs", "give more runs or trials, or choose other kinds",
            ))
    return Rows(rows, findings)


def near_across(
    trials: Trials, rows: Iterable[Row], near: Iterable[NearDuplicate]
) -> set[NearDuplicate]:
    """Return the pairs of which a fit to stimuli is trained on one and tested on the other.

    Parameters
    ----------
    trials : Trials
    rows : iterable of Row
    near : iterable of NearDuplicate
        Pairs among all stimuli.

    Returns
    -------
    set of NearDuplicate
        Empty where labels are decoded, whose stimuli recur on both sides.
    """
    found: set[NearDuplicate] = set()
    names = trials.table["stimulus"].to_numpy(dtype=object)
    for sides in (fit for row in rows if row.by_stimulus for fit in row.fits(trials.table)):
        trained, tested = (set(names[side].tolist()) for side in sides)
        found |= {
            pair for pair in near
            if (pair.first in trained and pair.second in tested)
            or (pair.second in trained and pair.first in tested)
        }
    return found


def check_tests(
    trials: Trials, rows: list[Row], n_permutations: int, n_refits: int
) -> list[Finding]:
    """Warn of cells in which no result can be significant, corrected for the number of cells.

    Parameters
    ----------
    trials : Trials
    rows : list of Row
    n_permutations : int
        Of cells across kinds.
    n_refits : int
        Of cells within a kind.
    """
    if not n_permutations:
        return []
    least = {
        f"{row.train} to {kind}": _smallest_p(
            trials.table, row, kind, n_refits if kind == row.train else n_permutations
        )
        for row in rows for kind in row.tests
    }
    weak = [name for name, p in least.items() if p * len(least) > LEVEL]
    if not weak:
        return []
    return [trials.find(
        "cross-decoding: smallest possible p-value",
        f"above {LEVEL:g} in {len(weak)} of {len(least)} cells ({name_some(weak)}), corrected for "
        "the number of cells: too few trials or permutations",
        "test on more trials, give more --n-permutations, or take the scores as a description",
        warns=True,
    )]


def _smallest_p(table: pd.DataFrame, row: Row, kind: str, n_permutations: int) -> float:
    tested = row.members(table, kind)
    if row.by_stimulus:
        image_of = pd.factorize(table["stimulus"][tested])[0]
        blocks = permutation_blocks(image_of, table["run_group"].to_numpy(dtype=str)[tested])
        return exchange_images(blocks).smallest_p(n_permutations)
    fold_of = number_folds(row.fits(table), len(table)).to_numpy(dtype=int, na_value=0)
    exchange = find_exchange(
        table["label"].to_numpy(dtype=str)[tested],
        table["run_group"].to_numpy(dtype=str)[tested], fold_of[tested],
    )
    return exchange.smallest_p(n_permutations)


def describe(rules: tuple[Rule, ...]) -> str:
    """Return the name of the kind of trials that rules choose.

    Examples
    --------
    >>> from bids_decoder.bids.rules import parse_rules
    >>> describe(parse_rules(["task=a|b", "rt<1"], "--train-filter"))
    'task=a|b rt<1'
    """
    return " ".join(f"{r.column}{r.operator}{'|'.join(r.values)}" for r in rules)


def _text(cell: object) -> str:
    return f"{cell:g}" if isinstance(cell, float) else str(cell)
