"""Rows of a metrics table, and of the tests that go with it, by measure."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd

from bids_decoder.evaluation.tables import LOWER_IS_BETTER
from bids_decoder.training.ablations import PREFIX

_KEYS = ("target", "metric", "direction", "unit", "similarity", "split", "pool_size")
_CIRCUMSTANCES = ("direction", "unit", "similarity")


def measures(table: pd.DataFrame, model: str) -> Iterator[tuple[pd.DataFrame, pd.DataFrame]]:
    """Find the decoder and its baselines, and its ablations, of each measure that it has.

    Parameters
    ----------
    table : DataFrame
        Metrics; ``value`` and ``pool_size`` are numbers.
    model : str
        The decoder.

    Yields
    ------
    rows : DataFrame
        One row a model: the decoder, then the baselines that have a value, from best to worst.
    ablations : DataFrame
        One row for each part of the decoder that was left out, in the order of the table.
    """
    measure = table.groupby(list(_KEYS), sort=False, dropna=False).ngroup().to_numpy()
    names = table["model"].astype(str)
    own = (names == model).to_numpy()
    kind = np.where(own, 0, np.where(names.str.startswith(PREFIX), 2, 1))
    value = table["value"].to_numpy(float)
    loss = np.where(table["metric"].isin(LOWER_IS_BETTER), value, -value)
    again = own & pd.DataFrame({"measure": measure, "own": own}).duplicated().to_numpy()
    kept = np.flatnonzero(~again & (own | ~np.isnan(value)))
    rank = np.where(kind == 1, loss, 0)
    order = kept[np.lexsort((rank[kept], kind[kept], measure[kept]))]
    starts = np.flatnonzero(np.diff(measure[order], prepend=-1))
    for rows in np.split(order, starts[1:]):
        if kind[rows[0]] == 0 and np.isfinite(value[rows[0]]):
            part, n = table.iloc[rows], int(np.searchsorted(kind[rows], 2))
            yield part.iloc[:n].reset_index(drop=True), part.iloc[n:]


class PairedTests:
    """Tests of the decoder against its baselines, on the same trials.

    Parameters
    ----------
    tested : DataFrame
        As read from disk; ``pool_size`` is a number.
    """

    def __init__(self, tested: pd.DataFrame) -> None:
        self.table = tested
        self.columns = {
            name: tested[name].fillna(0 if name == "pool_size" else "").to_numpy()
            for name in ("second", "metric", "pool_size", *_CIRCUMSTANCES, "target")
            if name in tested
        }

    def of(self, rows: pd.DataFrame) -> pd.DataFrame:
        """Return those of the measure in rows of metrics; only stimuli have a similarity."""
        first = rows.iloc[0]
        names = ("metric", *(_CIRCUMSTANCES if first["similarity"] else ()))
        names += ("target",) if first["target"] else ()
        same = [self.columns[name] == first[name] for name in names]
        # Values have no pool.
        same.append(self.columns["pool_size"] == np.nan_to_num(first["pool_size"]))
        same.append(np.isin(self.columns["second"].astype(str), rows["model"].astype(str)))
        return self.table[np.logical_and.reduce(same).astype(bool)]
