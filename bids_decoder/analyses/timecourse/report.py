"""Report of decoding over time."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from bids_decoder.analyses.timecourse.figures import draw_course, draw_generalisation
from bids_decoder.analyses.timecourse.outputs import CLUSTERS, GENERALISATION, TIMES
from bids_decoder.bids.names import OutputName
from bids_decoder.evaluation.statistics import ALPHA
from bids_decoder.evaluation.time_scores import (
    CLUSTER_COLUMNS,
    GENERALISATION_COLUMNS,
    TIME_COLUMNS,
)
from bids_decoder.reports.blocks import Block, Figure, Headline, Section, Table, Text
from bids_decoder.reports.cards import card_table
from bids_decoder.reports.figures import picture
from bids_decoder.reports.results import Results, numeric
from bids_decoder.reports.tables import interval
from bids_decoder.reports.wording import show, show_p

_SHOWN = ("RepetitionTime", "Times", "Trials", "TrialsLeftOut", "TrialDuration", "MeanShift",
          "LargestShift", "HRF", "ExpectedPeak", "Chance", "Labels", "MedianShrinkage", "Folds",
          "Permutations", "ExchangedUnits", "NumberOfUnits", "Null", "SmallestP", "Seed")
_CAVEATS = (
    "BOLD is late: a time is when the response carries information, not when the brain did. A "
    "significant cluster says that labels can be decoded within the window; its first time is no "
    "estimate of when that begins (Sassenhagen and Draschkow 2019). Before the onset, scores may "
    "depart from chance where the order of labels is not random, or where the response to the "
    "trial before has not ended. The highest score is too high as an estimate of accuracy."
)


def sections(results: Results) -> list[Section]:
    """Return the section on decoding over time; none where there is no table."""
    table, card = _read(results, TIMES, TIME_COLUMNS), results.card(TIMES)
    matrix = _read(results, GENERALISATION, GENERALISATION_COLUMNS)
    if table is None or matrix is None:
        return []
    clusters = _read_clusters(results)
    blocks: list[Block] = [
        _headline(table, card), *_verdict(table, clusters, card), *_note_trials(card),
        Figure(picture(
            draw_course(table, card), "timecourse",
            "Decoding at each time after the onset: decoders are trained and tested on the "
            f"volumes at this time (TR {card['RepetitionTime']:g} s). Bars at the bottom: "
            "significant clusters, corrected for all times.",
            f"Balanced accuracy from {card['FirstTime']:g} to {card['LastTime']:g} s after the "
            "onset.",
        )),
        Figure(picture(
            draw_generalisation(matrix, card), "timegeneralisation",
            "Temporal generalisation: decoders trained at one time and tested at all others. "
            "Outlined: significant clusters, corrected for all pairs of times. A square means one "
            "pattern that lasts, a diagonal patterns that change.",
            "Matrix of balanced accuracy by training time and test time.",
        )),
    ]
    if len(clusters):
        blocks.append(_cluster_table(clusters))
    blocks += [
        _time_table(table),
        card_table({name: card[name] for name in _SHOWN if name in card}, "How times were decoded"),
        Text(_CAVEATS),
    ]
    return [Section("timecourse", "Decoding over time", blocks)]


def lines(results: Results) -> list[str]:
    """Return the peak, or the best cluster of times, in one line."""
    table, card = _read(results, TIMES, TIME_COLUMNS), results.card(TIMES)
    if table is None:
        return []
    return [f"sub-{results.participant}: {_say_best(table, _read_clusters(results), card)}"]


def _read(
    results: Results, name: OutputName, columns: Mapping[str, str]
) -> pd.DataFrame | None:
    """Return a table of scores with its numbers; None where there is none."""
    table, texts = results.table(name), ("metric", "map")
    return None if table is None else numeric(
        table, *(column for column in columns if column not in texts)
    )


def _read_clusters(results: Results) -> pd.DataFrame:
    """Return the clusters; empty where none were found or tested."""
    table = _read(results, CLUSTERS, CLUSTER_COLUMNS)
    return pd.DataFrame(columns=list(CLUSTER_COLUMNS)) if table is None else table


def _say_best(table: pd.DataFrame, clusters: pd.DataFrame, card: dict[str, Any]) -> str:
    best = table.loc[table["value"].idxmax()]
    highest = f"labels are decoded best {best['time']:g} s after the onset, " \
              f"{show(best['value'], card['Metric'])}"
    if not card["Permutations"]:
        return f"{highest}, not tested"
    if _lacks_permutations(card):
        return f"{highest}; nothing can be significant with so few permutations or runs"
    if card.get("PeakTime") is not None:
        return f"{highest}, p = {show_p(best['p_max'])} corrected"
    good = _good_clusters(clusters)
    if good.empty:
        return "no time is above chance"
    first = good.loc[good["p_cluster"].idxmin()]
    return f"labels are decoded from {first['test_first']:g} to {first['test_last']:g} s after " \
           f"the onset, p = {show_p(first['p_cluster'])} corrected (cluster)"


def _lacks_permutations(card: dict[str, Any]) -> bool:
    return (card.get("SmallestP") or 0) > ALPHA


def _good_clusters(clusters: pd.DataFrame) -> pd.DataFrame:
    return clusters[(clusters["p_cluster"] <= ALPHA) & (clusters["map"] == "diagonal")]


def _headline(table: pd.DataFrame, card: dict[str, Any]) -> Headline:
    best, metric = table.loc[table["value"].idxmax()], card["Metric"]
    against = [
        ("chance", show(card["Chance"], metric)),
        ("expected peak of BOLD", f"{card['ExpectedPeak']:.1f} s"),
        ("p, all times", show_p(best["p_max"])),
    ]
    peak = "" if card.get("PeakLow") is None else \
        f"; 95 % interval of the peak {card['PeakLow']:g} to {card['PeakHigh']:g} s"
    return Headline(
        show(best["value"], metric),
        f"highest balanced accuracy, {best['time']:g} s after the onset{peak}", against,
    )


def _verdict(table: pd.DataFrame, clusters: pd.DataFrame, card: dict[str, Any]) -> list[Text]:
    if not card["Permutations"]:
        return [Text("Not tested: no permutations were asked for.", "warn")]
    if _lacks_permutations(card):
        return [Text(
            f"Nothing can be significant: the smallest possible p-value is "
            f"{card['SmallestP']:.2g}. Ask for more permutations (--n-permutations), or decode "
            "more runs.", "warn",
        )]
    good = _good_clusters(clusters)
    if good.empty:
        return [Text("No cluster of times is above chance after correction.", "warn")]
    shown = ", ".join(
        f"{row['test_first']:g} to {row['test_last']:g} s (p = {show_p(row['p_cluster'])})"
        for _, row in good.iterrows()
    )
    n_single = int((table["p_max"] <= ALPHA).sum())
    return [Text(
        f"Above chance, corrected for all times by the largest cluster: {shown}. By the largest "
        f"value, {n_single} of {len(table)} times are above chance by themselves.", "good",
    )]


def _note_trials(card: dict[str, Any]) -> list[Text]:
    if not card["TrialsLeftOut"]:
        return []
    return [Text(
        f"{card['TrialsLeftOut']} trials are left out here, because the window reaches beyond "
        f"their run; {card['Trials']} trials have all times."
    )]


def _cluster_table(clusters: pd.DataFrame) -> Table:
    header = ["where", "cluster", "trained at (s)", "tested at (s)", "cells", "mass",
              "p, corrected"]
    rows = [
        [str(row["map"]), f"{row['cluster']:.0f}",
         f"{row['train_first']:g} – {row['train_last']:g}",
         f"{row['test_first']:g} – {row['test_last']:g}", f"{row['n_cells']:.0f}",
         f"{row['mass']:.1f}", show_p(row["p_cluster"])]
        for _, row in clusters.iterrows()
    ]
    strong = frozenset(n for n, p in enumerate(clusters["p_cluster"]) if p <= ALPHA)
    return Table(header, rows, "Clusters of times above chance", frozenset(header[1:]), strong)


def _time_table(table: pd.DataFrame) -> Table:
    header = ["time (s)", "balanced accuracy", "95 % interval", "p", "p, all times", "p, cluster"]
    rows = [
        [f"{row['time']:g}", show(row["value"], "balanced_accuracy"),
         interval(row, "balanced_accuracy"),
         *(show_p(row[name]) for name in ("p", "p_max", "p_cluster"))]
        for _, row in table.iterrows()
    ]
    strong = frozenset(n for n, p in enumerate(table["p_cluster"]) if p <= ALPHA)
    return Table(header, rows, "Scores at each time; bold: in a significant cluster",
                 frozenset(header), strong, folded=True)
