"""Answers of a fitted decoder to new trials, and their scores where labels are known."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from bids_decoder.analyses.apply.scoring import KnownTrials, score_known
from bids_decoder.bids.event_columns import UNLABELLED
from bids_decoder.config import Evaluation
from bids_decoder.evaluation.calibration import expected_calibration_error, reliability
from bids_decoder.evaluation.classification import LabelScores
from bids_decoder.evaluation.retrieval import RetrievalScores
from bids_decoder.evaluation.shift import judge
from bids_decoder.training.fitted import FittedDecoder
from bids_decoder.trials import KINDS

N_BEST = 5
MOST_CLASSES = 50
"""Labels above which only the best ones have columns."""

ANSWER_COLUMNS = {
    "run_group": "Session, task and run of the trial.",
    "trial": "Row of the trial in the table of its run.",
    "onset": "Seconds from the start of the first stored volume.",
    "duration": "Seconds.",
    "stimulus": "What was shown, as far as the events tell.",
    "label": "Label of the trial, as far as the events tell.",
    "is_known": "Whether the decoder knows this answer, so that the trial is scored.",
    "was_trained": "Whether the stimulus was shown in training trials of the decoder.",
    "correct": "Whether the best answer is right; n/a where no right answer is known.",
    "probability": "Calibrated probability of the best answer.",
}
_BEST = "Answer with rank {} by score."
_OF_LABEL = {
    "probability": "Calibrated probability of {}.", "score": "Evidence for {}.",
}


@dataclass(frozen=True, eq=False)
class NewTrials:
    """New trials of one participant on the voxels of a decoder.

    Parameters
    ----------
    betas : ndarray of float32, shape (n_trials, n_voxels)
        In the units of the beta series.
    scaled : ndarray of float32, shape (n_trials, n_voxels)
        Z-scored.
    groups : ndarray of str, shape (n_trials,)
        Session or run of each trial, within which it was z-scored.
    trials : DataFrame, n_trials rows
        Columns of a trial table.
    are_volumes : bool
        Whether they are single volumes, one after the other. Neighbours depend on each other, so
        that labels cannot be exchanged; and they are compared with no training run.
    """

    betas: np.ndarray
    scaled: np.ndarray
    groups: np.ndarray
    trials: pd.DataFrame
    are_volumes: bool = False

    @property
    def runs(self) -> np.ndarray:
        """Run of each trial, shape (n_trials,)."""
        return self.trials["run_group"].to_numpy(dtype=str)


@dataclass(frozen=True, eq=False)
class Answers:
    """What a decoder says of new trials.

    Parameters
    ----------
    table : DataFrame, n_trials rows
        Columns of :data:`ANSWER_COLUMNS` and those of :func:`describe`.
    shift : DataFrame
        New runs against training runs (:func:`~bids_decoder.evaluation.shift.judge`).
    scores : LabelScores, RetrievalScores or None
        Where labels, or what was shown, are known.
    reliability : DataFrame
        Of held-out training trials, and of new ones whose labels are known.
    errors : dict of str to float
        Expected calibration error of both, where it is known.
    """

    table: pd.DataFrame
    shift: pd.DataFrame
    scores: LabelScores | RetrievalScores | None
    reliability: pd.DataFrame
    errors: dict[str, float]


def answer(
    fitted: FittedDecoder, new: NewTrials, settings: Evaluation, seed: int
) -> Answers:
    """Decode new trials.

    Parameters
    ----------
    fitted : FittedDecoder
    new : NewTrials
    settings : Evaluation
    seed : int
        For permutations of the labels.

    Returns
    -------
    Answers
    """
    embedding = fitted.embed(new.scaled)
    shift = judge({}, ()) if new.are_volumes else fitted.judge_runs(
        new.betas, new.groups, new.runs
    )
    if fitted.targets.kind == "value":
        return Answers(_values(fitted, new, embedding), shift, None, _reliability(fitted), {})
    scores = fitted.scores(embedding)
    table = _ranked(fitted, new, scores)
    known = table["is_known"].to_numpy()
    true = fitted.targets.rows_of(truth_of(fitted, new)[known])
    curve, errors = _reliability(fitted), {}
    if fitted.calibration is not None and fitted.calibration.error is not None:
        errors["training"] = fitted.calibration.error
    if known.any() and fitted.calibration is not None:
        chances = fitted.probabilities(scores[known])
        errors["new"] = expected_calibration_error(chances, true)
        own = reliability(chances, true).assign(trials="new")
        curve = pd.concat([curve, own], ignore_index=True)
    found = None if new.are_volumes else score_known(KnownTrials(
        embedding[known], scores[known], truth_of(fitted, new)[known].astype(str), new.runs[known],
        fitted.targets, fitted.gallery,
    ), settings, seed)
    return Answers(table, shift, found, curve, errors)


def describe(table: pd.DataFrame) -> dict[str, str]:
    """Return descriptions of the columns of :attr:`Answers.table`."""
    found = {}
    for name in table.columns.astype(str):
        part, _, label = name.partition("_")
        if name in ANSWER_COLUMNS:
            found[name] = ANSWER_COLUMNS[name]
        elif part in _OF_LABEL:
            found[name] = _OF_LABEL[part].format(label)
        elif part in ("predicted", "low", "high"):
            found[name] = {
                "predicted": "Predicted {}.", "low": "Lower end of the 95 % prediction interval "
                "of {}, from errors in held-out training trials.", "high": "Upper end, of {}.",
            }[part].format(label)
        else:
            found[name] = _BEST.format(name.removeprefix("top"))
    return found


def truth_of(fitted: FittedDecoder, new: NewTrials) -> np.ndarray:
    """Return the label or the stimulus of each trial, as far as it is known, shape (n_trials,)."""
    return new.trials[KINDS[fitted.targets.kind].column].to_numpy(dtype=object)


def name_trials(new: NewTrials) -> pd.DataFrame:
    """Return what is known of each trial, n_trials rows; see :data:`ANSWER_COLUMNS`."""
    named = [name for name in ANSWER_COLUMNS if name in new.trials]
    table = new.trials[named].reset_index(drop=True).copy()
    for name in ("stimulus", "label"):
        table[name] = table[name].where(table[name] != UNLABELLED, None)
    return table


def _ranked(fitted: FittedDecoder, new: NewTrials, scores: np.ndarray) -> pd.DataFrame:
    """Return one row for each trial: what it is, the best answers, and their probabilities."""
    ids = np.array(fitted.targets.ids)
    order = np.argsort(-scores, axis=1, kind="stable")
    truth, table = truth_of(fitted, new), name_trials(new)
    known = np.isin(truth.astype(str), ids)
    table["is_known"] = known
    if "seen" in fitted.facts:
        seen = np.isin(truth.astype(str), fitted.facts["seen"])
        table["was_trained"] = np.where(known, seen, None)
    table["correct"] = np.where(known, ids[order[:, 0]] == truth, None)
    for place in range(min(N_BEST, len(ids))):
        table[f"top{place + 1}"] = ids[order[:, place]]
    columns: dict[str, np.ndarray] = {}
    if fitted.calibration is not None:
        chances = fitted.probabilities(scores)
        table["probability"] = chances.max(axis=1)
        columns |= {f"probability_{name}": chances[:, k] for k, name in enumerate(ids)}
    columns |= {f"score_{name}": scores[:, k] for k, name in enumerate(ids)}
    if len(ids) > MOST_CLASSES:
        return table
    return pd.concat([table, pd.DataFrame(columns)], axis=1)


def _values(fitted: FittedDecoder, new: NewTrials, predicted: np.ndarray) -> pd.DataFrame:
    table = name_trials(new)
    spread = np.asarray(fitted.facts["residual_sd"]) * 1.96
    for number, name in enumerate(fitted.targets.columns):
        table[f"predicted_{name}"] = predicted[:, number]
        table[f"low_{name}"] = predicted[:, number] - spread[number]
        table[f"high_{name}"] = predicted[:, number] + spread[number]
    return table


def _reliability(fitted: FittedDecoder) -> pd.DataFrame:
    bins = () if fitted.calibration is None else fitted.calibration.bins
    columns = ["bin", "n", "confidence", "accuracy"]
    return pd.DataFrame(list(bins), columns=columns).assign(trials="training")


def summarise_shift(shift: pd.DataFrame, level: float) -> dict[str, Any]:
    """Count the runs that lie outside of what the training runs let expect."""
    judged = shift[shift["p_corrected"].notna()]
    far = sorted(judged.loc[judged["p_corrected"] <= level, "run_group"].unique().tolist())
    return {"Runs": int(shift["run_group"].nunique()),
            "Judged": int(judged["run_group"].nunique()), "Far": far}
