"""Inline SVG whose marks say what they are when they are pointed at or reached by arrow keys."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from markupsafe import Markup
from matplotlib import colormaps
from matplotlib.colors import to_hex
from scipy.cluster.hierarchy import leaves_list, linkage
from scipy.spatial.distance import squareform

from bids_decoder.reports.blocks import Figure
from bids_decoder.reports.figures import BLUE, INK, ORANGE, RED, SOFT, picture, shorten
from bids_decoder.reports.figures_decoding import draw_confusion, shares_of

_CELL = 34
_MOST_LABELS = 40
_FONT = "font-family:system-ui,sans-serif"
ROW = 64
"""Height of a run in the timeline."""
_WIDTH, _LEFT = 960, 150


def confusion_counts(shown: pd.Series, decoded: pd.Series) -> pd.DataFrame:
    """Count trials by shown (rows) and decoded label (columns), similar labels side by side.

    The order is that of the leaves of an average-linkage clustering, with the mean of the two
    shares by which labels are taken for each other as similarity.

    Parameters
    ----------
    shown, decoded : Series of str, the same length

    Returns
    -------
    DataFrame of int
        The same labels in rows and columns.
    """
    counts = pd.crosstab(shown, decoded)
    labels = sorted(set(counts.index) | set(counts.columns))
    counts = counts.reindex(index=labels, columns=labels, fill_value=0)
    if len(labels) < 3:
        return counts
    shares = shares_of(counts).fillna(0.0).to_numpy()
    distance = 1.0 - (shares + shares.T) / 2
    np.fill_diagonal(distance, 0.0)
    tree = linkage(squareform(distance), "average", optimal_ordering=len(labels) <= 200)
    order = [labels[place] for place in leaves_list(tree)]
    return counts.loc[order, order]


def confusion_figure(
    shown: pd.Series, decoded: pd.Series, name: str, caption: str, alt: str
) -> Figure:
    """Return the confusion matrix of labels, with counts that can be pointed at.

    Parameters
    ----------
    shown, decoded : Series of str, the same length
    name, caption, alt : str
        Of the picture.
    """
    counts = confusion_counts(shown, decoded)
    return Figure(
        picture(draw_confusion(counts), name, caption, alt), confusion_drawing(counts)
    )


def confusion_drawing(counts: pd.DataFrame) -> Markup | None:
    """Draw a confusion matrix with the counts of each cell.

    Parameters
    ----------
    counts : DataFrame of int
        As :func:`confusion_counts` returns it.

    Returns
    -------
    Markup or None
        None for more labels than can be pointed at.
    """
    labels = list(counts.index)
    if len(labels) > _MOST_LABELS:
        return None
    shares = shares_of(counts)
    left = 12 + 7 * max(len(shorten(str(name), 18)) for name in labels)
    cells = [
        _confusion_cell(labels, (row, column), counts.iat[row, column], shares.iat[row, column],
                        left)
        for row in range(len(labels)) for column in range(len(labels))
    ]
    size = left + _CELL * len(labels) + 4
    names = [
        Markup('<text x="{}" y="{}" text-anchor="end" font-size="12">{}</text>'
               '<text transform="translate({},{}) rotate(-90)" font-size="12">{}</text>').format(
            left - 6, left + _CELL * place + 22, shorten(str(name), 18),
            left + _CELL * place + 22, left - 6, shorten(str(name), 18),
        )
        for place, name in enumerate(labels)
    ]
    hint = ("Point at a cell, or use the arrow keys; click or Enter lists its trials. Rows: shown; "
            "columns: decoded.")
    return frame((size, size), "Confusion matrix with counts", hint, [*names, *cells],
                  len(labels))


def _confusion_cell(
    labels: list[str], place: tuple[int, int], count: int, share: float, left: int
) -> Markup:
    row, column = place
    said = f"Shown {labels[row]}, decoded {labels[column]}: {count}"
    said += f" ({100 * share:.0f} % of {labels[row]})" if np.isfinite(share) else ""
    colour = to_hex(colormaps["Blues"](0.0 if np.isnan(share) else share))
    x, y = left + _CELL * column, left + _CELL * row
    return Markup(
        '<g data-said="{}" data-filter="{}"><title>{}</title><rect x="{}" y="{}" width="{}" '
        'height="{}" fill="{}" stroke="#fff"/><text x="{}" y="{}" text-anchor="middle" '
        'font-size="12" fill="{}">{}</text></g>'
    ).format(
        said, f"shown={_quoted(labels[row])}; decoded={_quoted(labels[column])}", said, x, y,
        _CELL, _CELL, colour, x + _CELL / 2, y + 22, "#fff" if share > 0.5 else INK, count or "",
    )


def _quoted(label: str) -> str:
    """Return a label as the filter of tables reads it."""
    return f'"{label}"' if ";" in str(label) else str(label)


def timeline_drawing(
    runs: Mapping[str, np.ndarray], trials: pd.DataFrame, t_r: Mapping[str, float], limit: float
) -> Markup:
    """Draw head motion of each run, and below it which trials were decoded wrongly.

    Parameters
    ----------
    runs : mapping of str to ndarray, shape (n_volumes,)
        Framewise displacement in mm; NaN where unknown.
    trials : DataFrame
        ``run`` (key of *runs*), ``onset`` in seconds, ``correct`` and ``said`` (what the mark of
        the trial says).
    t_r : mapping of str to float
        Seconds from volume to volume of each run.
    limit : float
        Displacement in mm that is drawn as a line.
    """
    seconds = max(t_r[name] * len(values) for name, values in runs.items())
    known = np.concatenate([values[np.isfinite(values)] for values in runs.values()])
    top = max(2 * limit, float(np.percentile(known, 99))) if len(known) else 2 * limit
    across = (_WIDTH - _LEFT - 10) / seconds
    parts: list[Markup] = []
    for row, (name, values) in enumerate(runs.items()):
        base = ROW * row + 44
        points = " ".join(
            f"{_LEFT + across * t_r[name] * place:.1f},{base - 36 * min(value / top, 1):.1f}"
            for place, value in enumerate(values) if np.isfinite(value)
        )
        line = base - 36 * limit / top
        parts.append(Markup(
            '<text x="4" y="{}" font-size="12">{}</text><line x1="{}" x2="{}" y1="{}" y2="{}" '
            'stroke="{}" stroke-dasharray="4 3"/><polyline points="{}" fill="none" stroke="{}"/>'
        ).format(base, shorten(name, 20), _LEFT, _WIDTH - 10, line, line, RED, points, SOFT))
        own = trials[trials["run"] == name]
        parts += [_trial_mark(trial, _LEFT + across * trial["onset"], base + 9)
                  for _, trial in own.iterrows()]
    hint = ("Point at a trial, or use the arrow keys. Circles: decoded correctly; crosses: not. "
            f"Line: framewise displacement; dashed: {limit:g} mm.")
    return frame((_WIDTH, ROW * len(runs) + 4), "Head motion and decoding errors", hint, parts, 0)


def _trial_mark(trial: pd.Series, x: float, y: float) -> Markup:
    shape = (
        Markup('<circle cx="{:.1f}" cy="{}" r="4" fill="{}"/>').format(x, y, BLUE)
        if trial["correct"] else
        Markup('<path d="M{:.1f} {}l8 8m0 -8l-8 8" stroke="{}" stroke-width="2.4"/>').format(
            x - 4, y - 4, ORANGE)
    )
    return Markup('<g data-said="{0}"><title>{0}</title>{1}</g>').format(trial["said"], shape)


def frame(
    size: tuple[float, float], label: str, hint: str, parts: Sequence[Markup], columns: int,
    table: str = "trials",
) -> Markup:
    """Return the parts of a drawing as an SVG whose marks can be pointed at.

    Parameters
    ----------
    size : tuple of float
        Width and height.
    label, hint : str
        Name of the drawing, and the line below it before a mark is chosen.
    parts : sequence of Markup
        Marks have ``data-said``, and ``data-filter`` where a click filters a table.
    columns : int
        Marks of a row, for arrow keys; 0 for one row.
    table : str
        Key of the table that is filtered.
    """
    return Markup(
        '<svg class="marks" xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {0:.0f} {1:.0f}" '
        'width="{0:.0f}" role="application" tabindex="0" aria-label="{2}" data-hint="{3}" '
        'data-columns="{4}" data-table="{8}" fill="{5}" style="{6}">{7}</svg>'
    ).format(*size, label, hint, columns, INK, _FONT, Markup("").join(parts), table)
