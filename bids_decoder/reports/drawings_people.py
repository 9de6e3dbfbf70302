"""Inline SVG of one measure over participants, whose marks say what they are."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

import numpy as np
import pandas as pd
from markupsafe import Markup
from matplotlib.ticker import MaxNLocator

from bids_decoder.reports.drawings import frame
from bids_decoder.reports.figures import BLUE, GRID, ORANGE, RED, SOFT, model_colour, shorten
from bids_decoder.reports.wording import show

_WIDTH, _LEFT, _TOP = 900, 150, 30
_NUMBERS = ("ci_low", "value", "ci_high")
_LINE = 13
"""Height of one model of one participant."""
_ROW = 22
"""Height of one row of a forest plot."""
_STATISTICS = {"participant": BLUE, "mean": ORANGE, "new_participant": SOFT}
"""Rows of a forest plot in their order, and their colours."""


def people_drawing(
    values: Mapping[str, pd.DataFrame], title: str, metric: str, chance: float
) -> Markup | None:
    """Draw one measure over participants: the decoder beside its baselines, one row each.

    Parameters
    ----------
    values : mapping of model to DataFrame
        Columns ``participant, value, ci_low, ci_high``; the first model is the decoder.
    title : str
        What is measured.
    metric : str
        Name of the metric, which decides how values are written.
    chance : float
        Not-a-number draws no line.

    Returns
    -------
    Markup or None
        None where no value is finite.
    """
    rows = pd.concat(
        [table.assign(model=model, number=number)
         for number, (model, table) in enumerate(values.items())], ignore_index=True,
    )
    known = rows[list(_NUMBERS)].to_numpy(float)
    known = np.append(known[np.isfinite(known)], chance if np.isfinite(chance) else [])
    if not len(known) or not np.isfinite(rows["value"].astype(float)).any():
        return None
    low, high = float(known.min()), float(known.max())
    across = partial(_across, low=low, high=high)

    people = sorted(set(rows["participant"]))
    height = _LINE * len(values) + 8
    bottom = _TOP + height * len(people)
    parts = [*_key(list(values)), *_scale((low, high), metric, across, bottom)]
    if np.isfinite(chance):
        parts.append(_chance_line(across(chance), bottom))
    for place, person in enumerate(people):
        top = _TOP + height * place
        parts.append(Markup('<text x="4" y="{}" font-size="12">{}</text>').format(
            top + height / 2 + 4, shorten(f"sub-{person}", 20)))
        own = rows[rows["participant"] == person].sort_values("number")
        parts += [
            _mark(row, metric, [across(float(row[name])) for name in _NUMBERS],
                  top + _LINE * row["number"] + 12)
            for _, row in own.iterrows() if np.isfinite(float(row["value"]))
        ]
    hint = (f"{title}. Point at a mark, or use the arrow keys; click or Enter shows the row of the "
            "participant. Lines: 95 % intervals; dashed: chance.")
    return frame((_WIDTH, bottom + 24), f"{title} of each participant", hint, parts, len(values),
                 table="people")


def forest_drawing(rows: pd.DataFrame, title: str, metric: str) -> Markup | None:
    """Draw a forest plot: each participant, the means, and one more participant.

    Parameters
    ----------
    rows : DataFrame
        Of one measure: ``statistic, participant, method, value, chance, ci_low, ci_high, n``;
        numbers as floats.
    title : str
        What is measured.
    metric : str
        Name of the metric, which decides how values are written.

    Returns
    -------
    Markup or None
        None where no value is finite.
    """
    drawn = rows[rows["statistic"].isin(_STATISTICS)].sort_values(
        "statistic", key=lambda column: column.map(list(_STATISTICS).index), kind="stable"
    )
    drawn = drawn[drawn[["value", "ci_low"]].notna().any(axis=1)]
    numbers = drawn[[*_NUMBERS, "chance"]].to_numpy(float)
    known = numbers[np.isfinite(numbers)]
    if not np.isfinite(drawn["value"].to_numpy(float)).any():
        return None
    low, high = float(known.min()), float(known.max())
    across = partial(_across, low=low, high=high)

    bottom = _TOP + _ROW * len(drawn)
    parts = _scale((low, high), metric, across, bottom)
    chance = drawn.loc[drawn["statistic"] == "participant", "chance"].to_numpy(float)
    if np.isfinite(chance).any():
        parts.append(_chance_line(across(float(np.nanmean(chance))), bottom))
    for place, (_, row) in enumerate(drawn.iterrows()):
        y = _TOP + _ROW * place + _ROW / 2
        name = _name_of(row)
        parts.append(Markup('<text x="4" y="{}" font-size="12">{}</text>').format(
            y + 4, shorten(name, 20)))
        said, colour = f"{name}{_said(row, metric)}", _STATISTICS[row["statistic"]]
        parts.append(Markup('<g data-said="{0}"><title>{0}</title>{1}</g>').format(
            said, _with_limits([across(float(row[column])) for column in _NUMBERS], y, 5, colour)))
    hint = (f"{title}. Point at a line, or use the arrow keys. Lines: 95 % intervals; dashed: "
            "chance; orange: the mean over participants; grey: one more participant.")
    return frame((_WIDTH, bottom + 24), f"{title}: forest plot", hint, parts, 1)


def _name_of(row: pd.Series) -> str:
    if row["statistic"] == "participant":
        return str(row["participant"])
    if row["statistic"] == "mean":
        return f"mean, {str(row['method']).split(' (')[0]}"
    return "one more participant"


def _said(row: pd.Series, metric: str) -> str:
    """Return number of trials, score, interval and chance in words."""
    parts = []
    if row["statistic"] == "participant" and np.isfinite(float(row["n"])):
        parts.append(f"n = {float(row['n']):.0f}")
    if np.isfinite(float(row["value"])):
        parts.append(show(float(row["value"]), metric))
    if np.isfinite([float(row["ci_low"]), float(row["ci_high"])]).all():
        parts.append(f"95 % interval {show(float(row['ci_low']), metric)} to "
                     f"{show(float(row['ci_high']), metric)}")
    if np.isfinite(float(row["chance"])):
        parts.append(f"chance {show(float(row['chance']), metric)}")
    return f": {', '.join(parts)}" if parts else ""


def _with_limits(places: list[float], y: float, radius: int, colour: str) -> Markup:
    """Return a line between the limits and a circle at the value, each where it is known."""
    low, middle, high = places
    parts = []
    if np.isfinite([low, high]).all():
        parts.append(Markup('<line x1="{:.1f}" x2="{:.1f}" y1="{}" y2="{}" stroke="{}"/>').format(
            low, high, y, y, colour))
    if np.isfinite(middle):
        parts.append(Markup('<circle cx="{:.1f}" cy="{}" r="{}" fill="{}"/>').format(
            middle, y, radius, colour))
    return Markup("").join(parts)


def _key(models: list[str]) -> list[Markup]:
    """Return the colours of the models, side by side above the rows."""
    parts, x = [], 10
    for number, model in enumerate(models):
        name = shorten(model, 24)
        parts.append(Markup(
            '<circle cx="{}" cy="12" r="5" fill="{}"/><text x="{}" y="16" font-size="12">{}</text>'
        ).format(x, model_colour(number), x + 9, name))
        x += 30 + 7 * len(name)
    return parts


def _across(value: float, *, low: float, high: float) -> float:
    """Return where a value is from left to right, of values from *low* to *high*."""
    return _LEFT + 20 + (value - low) / ((high - low) or 1.0) * (_WIDTH - _LEFT - 40)


def _scale(
    ends: tuple[float, float], metric: str, across: Callable[[float], float], bottom: float
) -> list[Markup]:
    """Return lines at round values, with the values below them."""
    ticks = [tick for tick in MaxNLocator(5).tick_values(*ends) if ends[0] <= tick <= ends[1]]
    return [
        Markup(
            '<line x1="{0:.1f}" x2="{0:.1f}" y1="{1}" y2="{2}" stroke="{3}"/>'
            '<text x="{0:.1f}" y="{4}" font-size="12" text-anchor="middle" fill="{5}">{6}</text>'
        ).format(across(tick), _TOP - 4, bottom, GRID, bottom + 16, SOFT, show(tick, metric))
        for tick in ticks
    ]


def _chance_line(x: float, bottom: float) -> Markup:
    return Markup(
        '<line x1="{0:.1f}" x2="{0:.1f}" y1="{1}" y2="{2}" stroke="{3}" stroke-dasharray="4 3"/>'
    ).format(x, _TOP - 4, bottom, RED)


def _mark(row: pd.Series, metric: str, places: list[float], y: float) -> Markup:
    said = f"sub-{row['participant']}, {row['model']}: {show(float(row['value']), metric)}"
    if np.isfinite([float(row["ci_low"]), float(row["ci_high"])]).all():
        said += (f" (95 % interval {show(float(row['ci_low']), metric)} to "
                 f"{show(float(row['ci_high']), metric)})")
    number = int(row["number"])
    marks = _with_limits(places, y, 5 if number == 0 else 4, model_colour(number))
    return Markup(
        '<g data-said="{0}" data-filter="participant=sub-{1}"><title>{0}</title>{2}</g>'
    ).format(said, row["participant"], marks)
