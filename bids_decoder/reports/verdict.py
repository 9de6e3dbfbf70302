"""The answer of a result in words: yes, no, or not decided."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from bids_decoder.evaluation.statistics import ALPHA
from bids_decoder.reports.blocks import Answer, State, Verdict, Worry
from bids_decoder.reports.scores import Comparison, say_result
from bids_decoder.reports.wording import is_share, show, show_p

SMALL = 0.1
"""Share of the distance from chance to a perfect score below which an effect counts as none."""

ANSWERS: dict[State, str] = {
    "yes": "yes", "no": "no", "undecided": "not decided", "invalid": "no valid answer",
}
"""Answers as words."""

MANY_TIMES = 1.5
"""Multiple of chance up to which an effect can count as none: 2 % is much where chance is .3 %."""

_QUESTIONS = {
    "category": "Can the label of a held-out trial be told from the brain responses of this "
                "participant?",
    "value": "Can “{target}” of a held-out trial be predicted from the brain responses of this "
             "participant?",
}
_OTHER = "Can what was shown be identified from the brain responses of this participant?"


def judge(top: Comparison, target_kind: str) -> Answer:
    """Turn the headline score into an answer.

    Parameters
    ----------
    top : Comparison
        The headline measure, which was fixed before anything was fitted.
    target_kind : str
        One of :data:`bids_decoder.trials.KINDS`.

    Returns
    -------
    Answer
        ``"yes"`` at p ≤ .05, or without a p-value where the interval excludes chance. ``"no"``
        where neither holds and the interval contains chance but no score that is more than
        :data:`SMALL` of the distance from chance to a perfect score above chance, nor, among many
        candidates, more than :data:`MANY_TIMES` chance. Otherwise ``"undecided"``:
        that a test is not significant does not show that there is no information.
    """
    question = _QUESTIONS.get(target_kind, _OTHER).format(target=top.own.get("target", ""))
    return Answer(question, _state(top), say_result(top, target_kind), _certainty(top))


def with_worries(answers: Sequence[Answer], worries: Sequence[Worry]) -> Verdict:
    """Join answers and worries; no answer is valid where a worry invalidates the scores."""
    if any(worry.invalidates for worry in worries):
        answers = [replace(answer, state="invalid") for answer in answers]
    return Verdict(answers, worries)


def _state(top: Comparison) -> State:
    if top.beats_chance:
        return "yes"
    if cannot_reach(top) or not _reach(top) <= SMALL or not top.own["ci_low"] <= top.chance:
        return "undecided"
    many = is_share(top.metric) and top.own["ci_high"] > MANY_TIMES * top.chance
    return "undecided" if many else "no"


def cannot_reach(top: Comparison) -> bool:
    """Return whether no result could have been significant.

    Parameters
    ----------
    top : Comparison
    """
    least = top.own.get("p_min", np.nan)
    return bool(np.isfinite(least) and least > ALPHA)


def _reach(top: Comparison) -> float:
    """Return how far from chance to a perfect score the interval reaches; NaN if unknown."""
    if not (is_share(top.metric) or top.metric == "r"):
        return float("nan")
    return float((top.own["ci_high"] - top.chance) / (1.0 - top.chance))


def _certainty(top: Comparison) -> list[str]:
    row, metric = top.own, top.metric
    said = []
    if np.isfinite(row["p"]):
        said.append(
            "If responses held no information, a score at least this good would come up with a "
            f"probability of {show_p(row['p'])}."
        )
    else:
        said.append("No p-value was computed (--n-permutations).")
    if cannot_reach(top):
        said.append(
            f"The test could not have decided: its smallest possible p-value is "
            f"{show_p(row['p_min'])}. More permutations or more runs are needed."
        )
    if np.isfinite([row["ci_low"], row["ci_high"]]).all():
        said.append(
            f"The score that many new trials of this participant would give lies between "
            f"{show(row['ci_low'], metric)} and {show(row['ci_high'], metric)} (95 % interval); "
            f"chance is {show(row['chance'], metric)}."
        )
        said += _say_open(top)
    else:
        said.append(
            "There is no interval: too few runs or trials to tell how much the score varies."
        )
    return said


def _say_open(top: Comparison) -> list[str]:
    """Say what a result that is not above chance leaves open."""
    bound = show(top.own["ci_high"], top.metric)
    state = _state(top)
    if state == "no":
        return [f"Scores above {bound} are unlikely on these data: if there is information, it is "
                "little."]
    if state == "undecided" and not cannot_reach(top) and np.isfinite(_reach(top)):
        return [f"That is no proof of absence: scores up to {bound} remain possible. More "
                "trials would narrow it."]
    return []
