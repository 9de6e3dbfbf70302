"""Inline SVG of one measure over participants, whose marks say what they are."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import pandas as pd
from markupsafe import Markup
from matplotlib.ticker import MaxNLocator

from bids_decoder.reports.drawings import frame
from bids_decoder.reports.figures import GRID, RED, SOFT, model_colour, shorten
from bids_decoder.reports.scores import show

_WIDTH, _LEFT, _TOP = 900, 150, 30
_NUMBERS = ("ci_low", "value", "ci_high")
_LINE = 13
"""Height of one model of one participant."""


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
    wide = (high - low) or 1.0

    def across(value: float) -> float:
        return _LEFT + 20 + (value - low) / wide * (_WIDTH - _LEFT - 40)

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
    low, middle, high = places
    said = f"sub-{row['participant']}, {row['model']}: {show(float(row['value']), metric)}"
    colour, line = model_colour(int(row["number"])), Markup("")
    if np.isfinite([low, high]).all():
        said += (f" (95 % interval {show(float(row['ci_low']), metric)} to "
                 f"{show(float(row['ci_high']), metric)})")
        line = Markup('<line x1="{:.1f}" x2="{:.1f}" y1="{}" y2="{}" stroke="{}"/>').format(
            low, high, y, y, colour)
    return Markup(
        '<g data-said="{0}" data-filter="participant=sub-{1}"><title>{0}</title>{2}'
        '<circle cx="{3:.1f}" cy="{4}" r="{5}" fill="{6}"/></g>'
    ).format(said, row["participant"], line, middle, y, 5 if row["number"] == 0 else 4, colour)
