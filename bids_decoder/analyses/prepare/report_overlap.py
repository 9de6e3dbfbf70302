"""Report section on the overlap of training and test."""

from __future__ import annotations

from typing import Any

import pandas as pd

from bids_decoder.analyses.prepare.figures import trial_use
from bids_decoder.reports.blocks import Block, Section, Table, Text, absent
from bids_decoder.reports.results import Results
from bids_decoder.trials import KINDS

_TITLE = "Overlap of training and test"
_MOST_LISTED = 200


def overlap_section(results: Results) -> Section:
    """Return the section on copies in images and stimuli, with checks of the trial tables.

    Parameters
    ----------
    results : Results
        Of one participant.
    """
    blocks: list[Block] = []
    tables = results.tables("trials")
    if tables:
        trials = pd.concat(tables.values(), ignore_index=True)
        blocks += overlap_checks(trials[trial_use(trials) != "excluded"], results)
    found = results.plan.get("overlap")
    if found is None:
        blocks.append(absent("The search for copies", "plan.json does not hold it."))
        return Section("overlap", _TITLE, blocks)
    images, stimuli = found["images"], found["stimuli"]
    blocks += _verdict(images, stimuli, results.participant)
    blocks += [_numbers(images, stimuli), *_lists(images, stimuli)]
    return Section("overlap", _TITLE, blocks)


def _verdict(
    images: dict[str, Any], stimuli: dict[str, Any], participant: str | None
) -> list[Text]:
    """Say what copies mean for the scores of a participant; copies of others' data mean less."""
    groups = [*images["identical_runs"], *images["across"]]
    own = [group for group in groups if any(n.split()[0] == f"sub-{participant}" for n in group)]
    across = stimuli["n_near_duplicates_across"]
    said = []
    if own:
        said.append(Text(
            "The same images are in training and test. The scores are not valid.", "bad"
        ))
    if len(own) < len(groups):
        said.append(Text(
            f"{len(groups) - len(own)} groups of copies are in the data of other participants "
            "only. They do not make the scores of this participant invalid.", "warn",
        ))
    if across:
        said.append(Text(
            f"{across} pairs of stimuli are nearly the same, and one of each is trained on where "
            "the other one is tested. Scores may be too good.", "warn",
        ))
    return said or [Text("There are no copies across training and test.", "good")]


def _numbers(images: dict[str, Any], stimuli: dict[str, Any]) -> Table:
    how = "" if images["whole"] else " (the first volumes of each run)"
    n_tested, n_seen = stimuli["n_tested"], stimuli["n_seen"]
    share = f"{100 * n_seen / n_tested:.0f} %" if n_tested else "n/a"
    rows = [
        ["identical runs", images["n_identical_runs"], f"{images['n_runs']} runs"],
        ["identical volumes of different runs", images["n_identical_volumes"],
         f"{images['n_volumes']} volumes{how}"],
        ["groups of identical responses across the split", images["n_across"], "beta series"],
        ["volumes not compared, being empty or constant", images["n_skipped"], ""],
        ["stimulus names merged, being the same stimulus", stimuli["n_merged"],
         f"{stimuli['n_pictures']} pictures, {stimuli['n_vectors']} feature vectors"],
        ["pairs of near-duplicates", stimuli["n_near_duplicates"],
         f"--near-duplicates {stimuli['policy']}"],
        ["pairs of near-duplicates across the split", stimuli["n_near_duplicates_across"], ""],
        ["test stimuli that are trained on, in the whole dataset", f"{n_seen} ({share})",
         f"{n_tested} test stimuli"],
    ]
    header = ["what", "found", "among"]
    cells = [[str(cell) for cell in row] for row in rows]
    return Table(header, cells, "Copies that were looked for in the plan", frozenset({"found"}))


def _lists(images: dict[str, Any], stimuli: dict[str, Any]) -> list[Block]:
    merged = [[kept, ", ".join(others)] for kept, others in stimuli["merged"].items()]
    near = [
        [pair["first"], pair["second"], f"{pair['cosine']:.4f}", "yes" if pair["across"] else "no"]
        for pair in stimuli["near_duplicates"]
    ]
    equal = [[", ".join(group)] for group in images["identical_volumes"]]
    tables = (
        (["stimulus", "other names of it"], merged, "Stimuli under several names"),
        (["stimulus", "nearly the same", "cosine", "across the split"], near, "Near-duplicates"),
        (["volumes"], equal, "Identical volumes of different runs"),
    )
    return [
        Table(header, rows[:_MOST_LISTED], _caption(caption, len(rows)), folded=True)
        for header, rows, caption in tables if rows
    ]


def _caption(caption: str, count: int) -> str:
    return caption if count <= _MOST_LISTED else (
        f"{caption}: the first {_MOST_LISTED} of {count}; all are in plan.json"
    )


def overlap_checks(trials: pd.DataFrame, results: Results) -> list[Text]:
    """Check in the trial tables that the split holds.

    Parameters
    ----------
    trials : DataFrame
        All trials that are not excluded.
    results : Results

    Returns
    -------
    list of Text
        One note per check; the tone is ``"bad"`` where something is on both sides.
    """
    checks = []
    train, test = (trials[trials["split"] == side] for side in ("train", "test"))
    if len(train) and len(test):
        checks += _sides(train, test, results.plan.get("split", {}))
    if (trials["split"] == "cv").any():
        rotating, split = trials[trials["split"] == "cv"], results.plan.get("split", {})
        checks += _cross_validation(rotating, split.get("kind") == "stimulus-folds")
    predictions = results.table("predictions")
    if predictions is not None and "split" in predictions:
        wrong = int((predictions["split"] == "train").sum())
        checks.append(
            _check(wrong, "training trials among the scored predictions", len(predictions))
        )
    seen = Results(results.output_dir).card("pretrained_model").get("stimuli_seen")
    if seen is not None and len(test):
        both = set(map(str, seen)) & set(test["stimulus"])
        checks.append(
            _check(len(both), "test stimuli seen in pretraining", test["stimulus"].nunique())
        )
    return checks


def _sides(train: pd.DataFrame, test: pd.DataFrame, split: dict[str, Any]) -> list[Text]:
    stimuli = set(train["stimulus"]) & set(test["stimulus"])
    runs = set(train["run_group"]) & set(test["run_group"])
    by_run = split.get("kind") == "heldout-runs"
    checks = []
    if by_run:
        checks.append(
            _check(len(runs), "runs in both training and test", test["run_group"].nunique())
        )
    elif runs:
        checks.append(
            Text(
                f"{len(runs)} runs hold both training and test trials, of different stimuli, as a "
                "split by stimulus "
                "implies. Neighbouring trials share slow noise, which can move scores a little.",
            )
        )
    if by_run and stimuli and KINDS[split.get("target", "image")].over_runs:
        checks.append(
            Text(
                f"{len(stimuli)} stimuli occur in training and in test runs: labels or values are "
                "decoded and are meant to "
                "recur. This does not support claims about new stimuli.",
                "warn",
            )
        )
    else:
        checks.append(
            _check(len(stimuli), "stimuli in both training and test", test["stimulus"].nunique())
        )
    return checks


def _cross_validation(trials: pd.DataFrame, by_stimulus: bool) -> list[Text]:
    column, unit = ("stimulus", "stimuli") if by_stimulus else ("run_group", "runs")
    folds_of = trials.groupby(column)["fold"].nunique()
    straddling = int((folds_of != 1).sum())
    checks = [_check(straddling, f"{unit} in the test set of more or fewer than one fold",
                     len(folds_of))]
    shared = int((trials.groupby("run_group")["fold"].nunique() > 1).sum())
    if by_stimulus and shared:
        checks.append(Text(
            f"{shared} runs hold both training and test trials of a fold, of different stimuli: "
            "what is held out are stimuli. Trials of one run share slow noise, which is the same "
            "for all stimuli of the run and can move scores a little; --test-runs holds out runs."
        ))
    return checks


def _check(count: int, what: str, of: int) -> Text:
    if count == 0:
        return Text(f"0 {what} (checked {of}).", "good")
    return Text(f"{count} {what} (of {of}). The scores are not valid.", "bad")
