"""Rows of the generalisation matrix of one participant, and what prevents them."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from bids_decoder.analyses.cross.stimuli import matrix_of_stimuli, pairs_of_stimuli
from bids_decoder.analyses.cross.trials import Rows, Trials, make_row
from bids_decoder.bids.layouts import natural_key
from bids_decoder.bids.rules import Rule, satisfy_all
from bids_decoder.errors import ExitCode, Finding, name_some
from bids_decoder.evaluation.kinds import LEAST_TRIALS, Row, lacking_labels, number_folds
from bids_decoder.evaluation.nulls import exchange_images, find_exchange, permutation_blocks
from bids_decoder.evaluation.statistics import ALPHA
from bids_decoder.trials import rule_columns

MOST_LEVELS = 12
"""Levels of a matrix; more are values of a continuous variable rather than kinds."""



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
        return pairs_of_stimuli(trials, kinds, pairs)
    labels = [trials.labels(rows) for rows in kinds.values()]
    differing = labels[0] ^ labels[1]
    if differing or len(labels[0]) < 2:
        return Rows(findings=[_labels_differ(trials, wanted, labels, differing)])
    classes = sorted(labels[0])
    rows = [make_row(trials, kinds, one, [other], classes=classes) for one, other in pairs]
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
    if trials.by_stimulus:
        return matrix_of_stimuli(trials, kinds, what)
    return _matrix_of_labels(trials, kinds, what)


def _matrix_of_labels(trials: Trials, kinds: Mapping[str, np.ndarray], what: str) -> Rows:
    """Return the matrix of the labels that all kinds share."""
    levels = list(kinds)
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
        row = make_row(trials, kinds, level, [level, *others], classes=classes)
        if lacking_labels(row, trials.table):
            alone.append(level)
            row = make_row(trials, kinds, level, others, classes=classes)
        rows.append(row)
    if alone:
        findings.append(trials.find(
            "--generalise-over", "no cross-validation over runs within "
            f"{name_some(alone)}: too few runs with trials of each label; these cells of the "
            "matrix stay empty", "give more runs, or compare values of which each has several",
            warns=True,
        ))
    return _checked(trials, rows, findings)


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
        Of cells of cross-validation within a kind.
    """
    if not n_permutations:
        return []
    least = {
        f"{row.train} to {kind}": _smallest_p(
            trials.table, row, kind,
            n_refits if row.crosses_own and kind == row.train else n_permutations,
        )
        for row in rows for kind in row.tests
    }
    weak = [name for name, p in least.items() if p * len(least) > ALPHA]
    if not weak:
        return []
    return [trials.find(
        "cross-decoding: smallest possible p-value",
        f"above {ALPHA:g} in {len(weak)} of {len(least)} cells ({name_some(weak)}), corrected for "
        "the number of cells: too few trials or permutations",
        "test on more trials, give more --n-permutations, or take the scores as a description",
        warns=True,
    )]


def _smallest_p(table: pd.DataFrame, row: Row, kind: str, n_permutations: int) -> float:
    tested = row.tested(table, kind)
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
