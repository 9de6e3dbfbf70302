"""Rows of the matrix where stimuli are decoded: tested stimuli are held out of all training."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np

from bids_decoder.analyses.cross.trials import Rows, Trials, make_row
from bids_decoder.errors import name_some
from bids_decoder.evaluation.kinds import LEAST_STIMULI, Row, shows
from bids_decoder.evaluation.overlap import NearDuplicate

LEAST_TESTED = 2


def pairs_of_stimuli(
    trials: Trials, kinds: Mapping[str, np.ndarray], pairs: Iterable[tuple[str, str]]
) -> Rows:
    """Return a row for each pair of kinds: all stimuli of the second one are tested.

    Parameters
    ----------
    trials : Trials
    kinds : mapping of str to ndarray of bool, shape (n_trials,)
    pairs : iterable of (str, str)
        Kinds to train and to test on.
    """
    rows, findings = [], []
    for train, test in pairs:
        tested = trials.stimuli(kinds[test])
        row = make_row(trials, kinds, train, [test], held_out=tested)
        what = f"cross-decoding from {train}"
        n_left = len(trials.stimuli(row.fits(trials.table)[0].train))
        if n_left < LEAST_STIMULI:
            findings.append(trials.find(
                what, f"{n_left} of its {len(trials.stimuli(kinds[train]))} stimuli are not "
                f"tested, and tested ones are held out of training; {LEAST_STIMULI} are needed",
                "train on more stimuli, test on fewer (--test-filter), or decode labels (--target "
                "category)",
            ))
        if len(tested) < LEAST_TESTED:
            findings.append(trials.find(
                what, f"{len(tested)} stimulus is tested, and there is no other one to tell it "
                "from", "test on more stimuli",
            ))
        rows.append(row)
    return Rows(rows, findings)


def matrix_of_stimuli(trials: Trials, kinds: Mapping[str, np.ndarray], what: str) -> Rows:
    """Return the matrix: test stimuli of the split that all tested kinds share.

    No row is trained on a test stimulus of any kind. Test stimuli that some tested kind lacks are
    on neither side, so that all cells have the same pool and the same chance level.

    Parameters
    ----------
    trials : Trials
    kinds : mapping of str to ndarray of bool, shape (n_trials,)
    what : str
        The option, for findings.
    """
    is_test, is_train = ((trials.table["split"] == side).to_numpy() for side in ("test", "train"))
    tests = [name for name, rows in kinds.items() if (rows & is_test).any()]
    of_kind = [set(trials.stimuli(kinds[name] & is_test)) for name in tests]
    common = sorted(set.intersection(*of_kind)) if of_kind else []
    if len(common) < LEAST_TESTED:
        return Rows(findings=[trials.find(
            what, f"{len(common)} test stimuli occur at all of the values {name_some(tests, 8)}; "
            f"{LEAST_TESTED} are needed",
            "mark test stimuli that do with --split-column, leave values out with --trial-filter, "
            "or compare two values with --train-filter and --test-filter",
        )])
    n_train = {name: len(trials.stimuli(rows & is_train)) for name, rows in kinds.items()}
    trained = [name for name, count in n_train.items() if count >= LEAST_STIMULI]
    used = is_train | shows(trials.table, common)
    kinds = {name: rows & used for name, rows in kinds.items()}
    if not any(one != other for one in trained for other in tests):
        counts = "; ".join(f"{name}: {count} and {len(common) if name in tests else 0}"
                           for name, count in n_train.items())
        return Rows(findings=[trials.find(
            what, f"no value has {LEAST_STIMULI} stimuli to train on and another one test stimuli: "
            f"numbers of both are {counts}", "mark other test stimuli with --split-column, or "
            "decode labels (--target category)",
        )])
    found = Rows([
        make_row(trials, kinds, name, [*(t for t in tests if t == name),
                                       *(t for t in tests if t != name)], held_out=common)
        for name in trained
    ])
    left_out = sorted(set.union(*of_kind) - set(common))
    _warn(trials, found, what, left_out, (
        [name for name in kinds if name not in trained],
        [name for name in kinds if name not in tests],
    ))
    return found


def _warn(
    trials: Trials, found: Rows, what: str, left_out: list[str],
    empty: tuple[list[str], list[str]],
) -> None:
    """Add warnings of test stimuli that are left out, and of empty rows and columns."""
    if left_out:
        found.findings.append(trials.find(
            what, f"{len(left_out)} test stimuli left out, because they do not occur at all "
            f"values: {name_some(left_out)}",
            "compare two values with --train-filter and --test-filter to test more", warns=True,
        ))
    untrained, untested = empty
    if untrained:
        found.findings.append(trials.find(
            what, f"no decoder is trained on {name_some(untrained)}: fewer than {LEAST_STIMULI} "
            "stimuli that are not tested", "test fewer stimuli (--split-column) if that is wrong",
            warns=True,
        ))
    if untested:
        found.findings.append(trials.find(
            what, f"no decoder is tested on {name_some(untested)}: no test stimuli",
            "mark test stimuli there with --split-column if that is wrong", warns=True,
        ))


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
