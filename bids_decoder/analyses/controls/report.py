"""Report of confounds: what could explain the result instead."""

from __future__ import annotations

import pandas as pd

from bids_decoder.analyses.controls.outputs import CONTROLS
from bids_decoder.evaluation.multiple import is_headline
from bids_decoder.evaluation.statistics import ALPHA
from bids_decoder.reports.blocks import Block, Section, Table, Text
from bids_decoder.reports.results import Results, numeric, sidecar_of
from bids_decoder.reports.scores import target_kind
from bids_decoder.reports.tables import interval
from bids_decoder.reports.wording import NUMBERS, P_HEADER, p_cells, show, show_p, words
from bids_decoder.trials import MEAN_SIGNAL, MOTION, TRIAL_ORDER

_NAMES = {
    TRIAL_ORDER: "position in the run", MEAN_SIGNAL: "mean signal of all voxels",
    MOTION: "head motion",
}
_LIMITS = (
    "Each row decodes from one number per trial, on the trials and folds of the decoder, with "
    "labels or values permuted in the same way. A confound that decodes as well as the decoder "
    "may be what the decoder uses; one that decodes at chance alone may still help it together "
    "with the responses. The mean signal is no confound in itself: labels or values may differ in "
    "how strongly the brain responds."
)


def sections(results: Results) -> list[Section]:
    """Return the section on confounds; none where there is no table."""
    table = headlines(results)
    if table.empty:
        return []
    card = sidecar_of(results.files(CONTROLS)[0])
    removed, balanced = card.get("Removed", []), card.get("Counterbalanced", [])
    blocks: list[Block] = [
        Text(f"{said[0].upper()}{said[1:]}.", "warn" if row["p"] <= ALPHA else "plain")
        for _, row in table.iterrows() if (said := say_confound(row))
    ]
    blocks.append(_table(results, table))
    if removed:
        blocks.append(Text(
            f"Regressed out of the responses, with weights of the training trials of each fold: "
            f"{', '.join(_name(name) for name in removed)}. The scores of the decoder are those of "
            "what is left.",
        ))
    if balanced:
        blocks.append(Text(
            "Trials were left out until all labels had as many with about the same "
            f"{', '.join(_name(name) for name in balanced)}; these are scored here on the trials "
            "that were kept.",
        ))
    blocks.append(Text(_LIMITS))
    return [Section("controls", "What could explain it instead", blocks)]


def headlines(results: Results) -> pd.DataFrame:
    """Return the headline score of each confound, the one that tells most first."""
    table = results.table(CONTROLS)
    if table is None or table.empty:
        return pd.DataFrame(columns=["p"], dtype=float)
    table = numeric(table, *NUMBERS, "p_holm")
    chosen = table[is_headline(table, target_kind(results))]
    return chosen.sort_values("value", ascending=False, kind="stable")


def _name(column: str) -> str:
    return _NAMES.get(column, f"“{column}”")


def say_confound(row: pd.Series) -> str:
    r"""Say what one confound alone decodes.

    Examples
    --------
    >>> row = pd.Series({"model": "rt", "metric": "top1", "value": 0.31, "chance": 0.25, "p": 0.2})
    >>> say_confound(row)
    '“rt” alone decodes 31.0\xa0% (chance 25.0\xa0%, p = 0.2)'
    """
    value, chance = (show(row[name], row["metric"]) for name in ("value", "chance"))
    value = f"{value} ({words(row['metric'])} of {row['target']})" if row.get("target") else value
    return (
        f"{_name(row['model'])} alone decodes {value} (chance {chance}, p = {show_p(row['p'])})"
    )


def _table(results: Results, table: pd.DataFrame) -> Table:
    metric = str(table["metric"].iloc[0])
    header = ["decoded from", words(metric), "95 % interval", "chance", *P_HEADER, "p (Holm)"]
    metrics = results.table("metrics")
    rows = []
    if metrics is not None:
        own = numeric(metrics, *NUMBERS)
        own = own[is_headline(own, target_kind(results)) & (own["model"] == "decoder")]
        rows = [_row("responses: the decoder", row, metric, "") for _, row in own.iterrows()]
    rows += [
        _row(_name(row["model"]), row, metric, show_p(row["p_holm"]))
        for _, row in table.iterrows()
    ]
    return Table(
        header, rows, "The decoder, and single confounds on the same split; Holm: corrected for "
        f"{len(table)} confounds", frozenset(header[1:]), frozenset({0} if len(rows) > len(table)
                                                                    else ()),
    )


def _row(name: str, row: pd.Series, metric: str, corrected: str) -> list[str]:
    return [
        name, show(row["value"], metric), interval(row, metric), show(row["chance"], metric),
        *p_cells(row), corrected,
    ]
