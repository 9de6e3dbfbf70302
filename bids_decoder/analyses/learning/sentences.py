"""What learning curves say, in words."""

from __future__ import annotations

from collections.abc import Mapping
from math import ceil
from typing import Any

import numpy as np
import pandas as pd

from bids_decoder.evaluation.curve_fit import FARTHEST
from bids_decoder.reports.wording import show, words

NEED_NUMBERS = ("target", "n_runs", "runs_low", "runs_high", "minutes", "minutes_low",
                "minutes_high", "rise_low", "rise_high")


def name_of(model: str, *, is_pretrained: bool) -> str:
    """Return the name of a decoder in words."""
    if model == "without-pretraining":
        return "without pretraining"
    return "pretrained decoder" if is_pretrained else "decoder"


def say_need(row: pd.Series, card: Mapping[str, Any]) -> str:
    r"""Say how much more data a score needs, or that the curve cannot tell.

    Parameters
    ----------
    row : Series
        Row of the table of needs, numbers as floats.
    card : mapping
        Its sidecar.

    Examples
    --------
    >>> row = pd.Series({"metric": "top1", "target": 0.4, "verdict": "beyond",
    ...                  "runs_low": float("nan")})
    >>> say_need(row, {"Sizes": [2, 8], "RunsNow": 8})[:35]
    '40.0\xa0% is out of reach within 3 times'
    """
    verdict, target = row["verdict"], show(row["target"], "accuracy")
    if verdict == "ceiling":
        return f"{words(row['metric'])} is close to 100 %: no higher step is left to ask for"
    if verdict == "no rise":
        low, high = (f"{100 * row[name]:.0f}" for name in ("rise_low", "rise_high"))
        return (
            f"{words(row['metric'])} does not rise clearly with more training runs (all runs less "
            f"the fewest: 95 % interval {low} to {high} points), so that "
            "the curve cannot say how much data a higher score needs"
        )
    most = FARTHEST * max(card["Sizes"])
    if verdict == "beyond":
        return (
            f"to reach {target} more than {most:.0f} training runs are needed by this fit, or no "
            f"number suffices (95 % interval from {_amount(row['runs_low'], row['minutes_low'])} "
            f"on); it is not continued beyond {FARTHEST:g} times the data"
        ) if pd.notna(row["runs_low"]) else (
            f"{target} is out of reach within {FARTHEST:g} times the data: more than {most:.0f} "
            "training runs are needed, or no number suffices"
        )
    needed = f"about {_amount(row['n_runs'], row['minutes'])}"
    spread = f"95 % interval {_between(row, most)}"
    if verdict == "reached":
        return f"{target} needs {needed} of training data in all ({spread}), which are there"
    more = row["n_runs"] - card["RunsNow"]
    per_run = card.get("MinutesPerRun")
    extra = _amount(more, np.nan if per_run is None else more * per_run)
    return (
        f"to reach {target}, scan about {extra} more: {needed} of training data in all ({spread}), "
        f"of which {card['RunsNow']} run(s) are there"
    )


def _amount(runs: float, minutes: float) -> str:
    """Say runs, rounded up, and minutes where they are known.

    Examples
    --------
    >>> _amount(6.2, 31.0), _amount(0.5, float("nan"))
    ('31 minutes (7 runs)', '1 run')
    """
    number = max(1, ceil(runs - 1e-9))
    said = f"{number} run{'s' if number > 1 else ''}"
    return said if pd.isna(minutes) else f"{max(1, ceil(minutes)):.0f} minutes ({said})"


def _between(row: pd.Series, most: float) -> str:
    in_minutes = pd.notna(row["minutes_low"])
    name, unit = ("minutes", "minutes") if in_minutes else ("runs", "runs")
    low, high = row[f"{name}_low"], row[f"{name}_high"]
    if pd.isna(high):
        limit = f"{FARTHEST:g} times the data" if in_minutes else f"{most:.0f}"
        return f"{low:.0f} to more than {limit}{'' if in_minutes else ' runs'}"
    return f"{low:.0f} to {high:.0f} {unit}"


def say_pretraining(own: pd.DataFrame, alone: pd.DataFrame) -> list[str]:
    """Say what the decoder has with and without pretraining, and what that is worth in runs.

    Parameters
    ----------
    own, alone : DataFrame
        Curves with and without pretraining, ascending in ``n_runs``; *alone* may be empty.
    """
    if alone.empty:
        return []
    metric = str(own["metric"].iloc[0])
    both = own.merge(alone, on="n_runs", suffixes=("", "_alone"))
    first, last = both.iloc[0], both.iloc[-1]
    said = (
        f"With {first['n_runs']:.0f} training run(s) the pretrained decoder has "
        f"{show(first['value'], metric)}, without pretraining "
        f"{show(first['value_alone'], metric)}; with {last['n_runs']:.0f} they have "
        f"{show(last['value'], metric)} and {show(last['value_alone'], metric)}."
    )
    # From which number of runs on all scores are as high: a single one may be so by chance.
    lower = own[own["value"] < last["value_alone"]]
    enough = own if lower.empty else own[own["n_runs"] > lower["n_runs"].max()]
    if enough.empty or enough["n_runs"].iloc[0] >= last["n_runs"]:
        return [said]
    return [f"{said} What the decoder from scratch has with {last['n_runs']:.0f} runs, the "
            f"pretrained one has from {enough['n_runs'].iloc[0]:.0f} on (not tested)."]
