"""Tables of metrics that several sections share."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd

from bids_decoder.reports.blocks import Table
from bids_decoder.reports.scores import Comparison
from bids_decoder.reports.wording import P_HEADER, p_cells, show


def metrics_table(found: list[Comparison]) -> Table:
    """List all measures with all their models, folded."""
    header = ["model", "value", "chance", "95 % interval", *P_HEADER, "n", "draws"]
    rows: list[list[str]] = []
    strong, groups = [], []
    for comparison in found:
        groups.append(len(rows))
        strong.append(len(rows) + 1)
        rows.append([comparison.title])
        rows += [_metrics_row(row, comparison.metric) for _, row in comparison.rows.iterrows()]
    return Table(
        header,
        rows,
        f"All {len(found)} measures of all models: the decoder in bold, baselines from best to "
        "worst",
        frozenset(header[1:]),
        frozenset(strong),
        frozenset(groups),
        folded=True,
    )


def _metrics_row(row: pd.Series, metric: str) -> list[str]:
    return [
        str(row["model"]),
        show(row["value"], metric),
        show(row["chance"], metric),
        interval(row, metric),
        *p_cells(row),
        _count(row["n"]),
        _count(row["n_draws"]),
    ]


def interval(
    row: pd.Series, metric: str, form: Callable[[float, str], str] = show
) -> str:
    """Return the 95 % interval of a row as text.

    Parameters
    ----------
    row : Series
        ``ci_low`` and ``ci_high``.
    metric : str
    form : callable
        How a value of the metric is written: :func:`~.wording.show`, or
        :func:`~.wording.show_difference` for differences.
    """
    if not np.isfinite([row["ci_low"], row["ci_high"]]).all():
        return "n/a"
    return f"{form(row['ci_low'], metric)} – {form(row['ci_high'], metric)}"


def _count(value: float) -> str:
    return f"{value:.0f}" if np.isfinite(value) else "n/a"


def rounded(cell: str | None) -> str:
    """Return a cell of a table with three significant digits."""
    return "n/a" if cell is None else f"{float(cell):.3g}"
