"""Report of cross-decoding."""

from __future__ import annotations

import pandas as pd

from bids_decoder.analyses.cross.figures import draw_matrix
from bids_decoder.analyses.cross.outputs import CROSS
from bids_decoder.evaluation.multiple import is_headline
from bids_decoder.evaluation.statistics import ALPHA
from bids_decoder.reports.blocks import Block, Figure, Section, Table, Text
from bids_decoder.reports.figures import picture
from bids_decoder.reports.results import Results, numeric
from bids_decoder.reports.scores import target_kind
from bids_decoder.reports.tables import interval
from bids_decoder.reports.wording import NUMBERS, show, show_p, words

_DECODER = "decoder"
_LIMITS = (
    "Decoding above chance from one kind of trials to another suggests that part of the code is "
    "shared. P-values are for these trained decoders: where both codes are strong but unrelated, "
    "noise of training resembles the other code by chance, and in simulations p ≤ .05 was nearly "
    "twice as frequent as it should be. “p (names)” exchanges the names of labels instead, and is "
    "valid there, too; it is at least 1/2, 1/6 and 1/24 with 2, 3 and 4 labels. Where labels are "
    "few, rely on smaller p-values, both directions and several participants. Chance level across "
    "kinds does not show that codes differ: responses may differ in strength, noise or number of "
    "trials. Compare it with decoding within the tested kind (cross-validation over runs, framed), "
    "which says whether its trials can be decoded at all. "
    "Cells within a kind, and cells whose runs hold both kinds, are trained on all runs but the "
    "tested ones; other cells on all trials of the training kind. Cells of one row share their "
    "training trials, and those of one column their tested trials: they depend on each other, and "
    "their differences are not tested."
)

_LIMITS_OF_STIMULI = (
    "Retrieval above chance from one kind of trials to another suggests that responses to stimuli, "
    "of which none was shown in training, share part of their code. P-values are for these trained "
    "decoders: pairings of stimuli and responses are exchanged against fixed predictions. Chance "
    "level across kinds does not show that codes differ: responses may differ in strength, noise "
    "or number of trials. Runs may hold trials of both sides; what is held out are stimuli."
)

_LIMITS_OF_STIMULI_MATRIX = (
    " All cells of a matrix over values test the same stimuli, and no decoder was trained on one "
    "of these: not even in another kind of trials. Decoding within a kind (framed) says whether "
    "its responses can be told apart at all. Cells of one row share their decoder, and those of "
    "one column their tested trials: they depend on each other, and their differences are not "
    "tested. Rows may be trained on different numbers of trials."
)


def summary(results: Results) -> list[Block]:
    """Return in how many cells decoding generalises."""
    cells = _cells(results)
    across = cells[cells["train"] != cells["test"]]
    if across.empty:
        return []
    if across["p_holm"].isna().all():
        return [Text(f"Cross-decoding: {len(across)} pairs of kinds of trials, not tested.")]
    n_above = int((across["p_holm"] <= ALPHA).sum())
    return [Text(
        f"Cross-decoding: {n_above} of {len(across)} pairs of kinds of trials generalise "
        f"(p ≤ {ALPHA:g}, corrected for the number of cells).{_say_least(cells)}",
        "good" if n_above else "plain",
    )]


def sections(results: Results) -> list[Section]:
    """Return the section on cross-decoding; none where there is no table."""
    cells = _cells(results)
    if cells.empty:
        return []
    blocks: list[Block] = [*_means(cells), _matrix(results, cells), _table(results, cells)]
    if target_kind(results) == "category":
        blocks += [*_notes(cells), Text(_LIMITS)]
    else:
        has_diagonal = (cells["train"] == cells["test"]).any()
        blocks.append(Text(_LIMITS_OF_STIMULI + _LIMITS_OF_STIMULI_MATRIX * bool(has_diagonal)))
    return [Section("cross", "Cross-decoding", blocks)]


def lines(results: Results) -> list[str]:
    """Return the main result in one line."""
    cells = _cells(results)
    across = cells[cells["train"] != cells["test"]]
    if across.empty:
        return []
    best = across.sort_values("value", ascending=False, kind="stable").iloc[0]
    metric = best["metric"]
    said = (
        f"best {best['train']} to {best['test']}: {show(best['value'], metric)} "
        f"(chance {show(best['chance'], metric)}"
    )
    if across["p_holm"].isna().all():
        return [f"sub-{results.participant}: cross-decoding, not tested; {said})"]
    n_above = int((across["p_holm"] <= ALPHA).sum())
    return [
        f"sub-{results.participant}: cross-decoding generalises in {n_above} of {len(across)} "
        f"cells; {said}, corrected p = {show_p(best['p_holm'])}).{_say_least(cells)}"
    ]


def _say_least(cells: pd.DataFrame) -> str:
    """Say so where no cell could be significant: the smallest p-value times their number."""
    least = cells["p_min"].min() * cells["p_holm"].notna().sum()
    if not least > ALPHA:
        return ""
    return (f" None could be: with these trials and permutations the smallest possible p-value of "
            f"{len(cells)} cells is {show_p(min(least, 1.0))}.")


def _cells(results: Results) -> pd.DataFrame:
    """Return the headline score of the decoder in each cell."""
    table = _headlines(results)
    return table[table["model"] == _DECODER].reset_index(drop=True)


def _headlines(results: Results) -> pd.DataFrame:
    table = results.table(CROSS)
    numbers = (*NUMBERS, "p_names", "n_train", "n_fits", "n_seen")
    if table is None or table.empty:
        return pd.DataFrame(columns=["train", "test", "model", "metric", "null", *numbers])
    table = numeric(table, *numbers)
    # Cells may differ in the number of tested stimuli.
    return pd.concat([
        cell[is_headline(cell, target_kind(results))]
        for _, cell in table.groupby(["train", "test"], sort=False)
    ])


def _means(cells: pd.DataFrame) -> list[Block]:
    """Return the mean within and across kinds, where both were computed."""
    own = cells["train"] == cells["test"]
    if not own.any():
        return []
    within, across = cells.loc[own, "value"].mean(), cells.loc[~own, "value"].mean()
    metric = _metric(cells)
    return [Text(
        f"Mean {words(metric)}: {show(within, metric)} within kinds of trials, "
        f"{show(across, metric)} across them (chance {show(cells['chance'].mean(), metric)})."
    )]


def _metric(cells: pd.DataFrame) -> str:
    return str(cells["metric"].iloc[0])


def _matrix(results: Results, cells: pd.DataFrame) -> Figure:
    labels = target_kind(results) == "category"
    framed = "cross-validation over runs within a kind" if labels else "within a kind"
    return Figure(picture(
        draw_matrix(cells), "cross",
        f"{words(_metric(cells)).capitalize()} in percent of decoders trained on the trials of a "
        f"row and tested on those of a column. White: chance. Framed: {framed}. "
        f"Star: p ≤ {ALPHA:g}, corrected for all cells.",
        f"Matrix of {len(cells)} cells.",
    ))


def _table(results: Results, cells: pd.DataFrame) -> Table:
    others = _headlines(results)
    others = others[others["model"] != _DECODER].sort_values("value", ascending=False)
    best = others.drop_duplicates(["train", "test"]).set_index(["train", "test"])
    metric = _metric(cells)
    unit = "trials" if target_kind(results) == "category" else "stimuli"
    names = ["p (names)"] * bool(cells["p_names"].notna().any())
    header = ["trained on", "tested on", words(metric), "95 % interval", "chance", "p",
              "p (Holm)", *names, unit, "training trials", "best baseline"]
    rows = []
    for _, row in cells.iterrows():
        base = best.loc[(row["train"], row["test"])]
        rows.append([
            row["train"], row["test"], show(row["value"], metric), interval(row, metric),
            show(row["chance"], metric), show_p(row["p"]), show_p(row["p_holm"]),
            *(show_p(row["p_names"]) for _ in names), f"{row['n']:.0f}", f"{row['n_train']:.0f}",
            f"{base['model']}: {show(base['value'], metric)}",
        ])
    strong = frozenset(
        number for number, (_, row) in enumerate(cells.iterrows()) if row["p_holm"] <= ALPHA
    )
    return Table(
        header, rows, f"The decoder in all {len(cells)} cells; Holm: corrected for their number; "
        f"bold: p ≤ {ALPHA:g}", frozenset(header[2:-1]), strong,
    )


def _notes(cells: pd.DataFrame) -> list[Block]:
    """Say how runs on both sides were handled, and which stimuli were shown in both kinds."""
    across = cells[cells["train"] != cells["test"]]
    found: list[Block] = []
    n_split = int((across["n_fits"] > 1).sum())
    if n_split:
        found.append(Text(
            f"In {n_split} of {len(across)} cells across kinds, runs hold trials of both kinds: "
            "each was tested by decoders fitted without any of its trials."
        ))
    seen = across[across["n_seen"] > 0]
    if len(seen):
        share = seen["n_seen"].sum() / across["n"].sum()
        found.append(Text(
            f"Across kinds, {100 * share:.0f} % of tested trials show a stimulus that was also "
            "shown in training trials: what generalises may be the stimulus rather than its label."
        ))
    return found
