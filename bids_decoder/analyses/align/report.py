"""Report of functional alignment."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from bids_decoder.analyses.align.outputs import COMPARISONS, METRICS
from bids_decoder.analyses.align.scoring import own_model
from bids_decoder.errors import name_some
from bids_decoder.evaluation.multiple import headline_of, is_headline
from bids_decoder.reports.blocks import Block, Section, Table, Text
from bids_decoder.reports.results import Results, numeric, sidecar_of
from bids_decoder.reports.scores import target_kind
from bids_decoder.reports.tables import interval
from bids_decoder.reports.wording import (
    NUMBERS,
    P_HEADER,
    p_cells,
    show,
    show_difference,
    show_p,
    words,
)
from bids_decoder.training.refit import DECODER

_METHODS = {"procrustes": "Procrustes", "srm": "shared response model",
            "ot": "optimal transport"}
_SIDES = {"others": "others' trials", "both": "others' and own trials"}
_LIMITS = (
    "Aligned decoders are tested on the trials, folds and permutations of the decoder. The "
    "transformation is estimated from mean responses in training trials. That of Procrustes and of "
    "the shared response model has at most as many dimensions as there are shared labels (less "
    "one) or stimuli: with few of them, what distinguishes trials in other dimensions is lost; "
    "optimal transport then hardly tells voxels apart. More targets than those decoded, as the "
    "frames of a film, would align people better. P-values of aligned decoders are not corrected "
    "for their number: they are baselines."
)


def sections(results: Results) -> list[Section]:
    """Return the section on functional alignment; none where it was not asked for."""
    table = _headlines(results)
    if table.empty:
        return []
    card = sidecar_of(results.files(METRICS)[0])
    people = [f"sub-{label}" for label in card["SourceParticipants"]]
    blocks: list[Block] = [
        Text(f"Decoders trained on trials of {len(people)} other participant(s) "
             f"({name_some(people)}), aligned to this one by responses to shared "
             f"{'labels' if card['Target'] == 'category' else 'stimuli'}."),
        Text(_say_best(results, table)), _table(results, table), Text(_LIMITS),
    ]
    return [Section("alignment", "Functional alignment", blocks)]


def lines(results: Results) -> list[str]:
    """Return the best aligned decoder beside the decoder, in one line."""
    table = _headlines(results)
    return [] if table.empty else [f"sub-{results.participant}: {_say_best(results, table)}"]


def _headlines(results: Results) -> pd.DataFrame:
    """Return the headline score of each aligned decoder, the best first."""
    table = results.table(METRICS)
    if table is None or table.empty:
        return pd.DataFrame(columns=["model"])
    table = numeric(table, *NUMBERS)
    chosen = table[is_headline(table, target_kind(results))]
    return chosen.sort_values("value", ascending=False, kind="stable")


def _compared(results: Results) -> pd.DataFrame:
    table = results.table(COMPARISONS)
    assert table is not None, "metrics and comparisons are written together"
    return numeric(table, "value", "ci_low", "ci_high", "p").set_index(["first", "second"])


def _say_best(results: Results, table: pd.DataFrame) -> str:
    best, metric = table.iloc[0], headline_of(target_kind(results))["metric"]
    gap = _compared(results).loc[(DECODER, best["model"])]
    return (
        f"Best aligned decoder: {name_of(best['model'])}, {words(metric)} "
        f"{show(best['value'], metric)} (chance {show(best['chance'], metric)}, "
        f"p = {show_p(best['p'])}); the decoder less this one: {_difference(gap, metric)}."
    )


def name_of(model: str) -> str:
    """Return the name of an aligned decoder in words.

    Examples
    --------
    >>> name_of("procrustes-both")
    "Procrustes, others' and own trials"
    """
    method, side = model.split("-")
    return f"{_METHODS[method]}, {_SIDES[side]}"


def _difference(gap: pd.Series, metric: str) -> str:
    value, low, high = (show_difference(gap[name], metric) for name in ("value", "ci_low",
                                                                       "ci_high"))
    return f"{value} ({low} to {high}; p = {show_p(gap['p'])})"


def _table(results: Results, table: pd.DataFrame) -> Table:
    kind = target_kind(results)
    metric, own = headline_of(kind)["metric"], own_model(kind)
    header = ["model", words(metric), "95 % interval", "chance", *P_HEADER, "decoder less this",
              f"this less {own}"]
    gaps = _compared(results)
    rows = _references(results, kind)
    n_references = len(rows)
    rows += [
        [*_row(name_of(row["model"]), row, metric),
         _difference(gaps.loc[(DECODER, row["model"])], metric),
         _difference(gaps.loc[(row["model"], own)], metric)]
        for _, row in table.iterrows()
    ]
    return Table(
        header, rows, f"Aligned decoders on the test trials of the decoder; {own}: trained on this "
        "participant's training trials alone; differences with 95 % interval and two-sided p",
        frozenset(header[1:]), frozenset({0} if n_references else ()),
    )


def _references(results: Results, kind: str) -> list[list[Any]]:
    """Return the rows of the decoder and of the baseline on own data."""
    metrics = results.table("metrics")
    if metrics is None:
        return []
    found = numeric(metrics, *NUMBERS)
    found = found[is_headline(found, kind)].drop_duplicates("model").set_index("model")
    names = {DECODER: "the decoder", own_model(kind): f"{own_model(kind)}: own data alone"}
    return [
        [*_row(text, found.loc[name], headline_of(kind)["metric"]), "", ""]
        for name, text in names.items() if name in found.index
    ]


def _row(name: str, row: pd.Series, metric: str) -> list[str]:
    chance = show(row["chance"], metric) if np.isfinite(row["chance"]) else "n/a"
    return [name, show(row["value"], metric), interval(row, metric), chance,
            *p_cells(row)]
