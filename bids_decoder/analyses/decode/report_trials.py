"""Report of single trials: confusions, which trials were wrong, and whether motion goes with it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from markupsafe import Markup
from scipy.stats import mannwhitneyu

from bids_decoder.analyses.decode.report_values import value_blocks, values_of
from bids_decoder.bids.stimulus_files import find_stimulus_files
from bids_decoder.preprocessing.confounds import RESPONSE_SECONDS
from bids_decoder.reports.blocks import Block, Figure, Html, Table, Text, absent
from bids_decoder.reports.drawings import confusion_figure, timeline_drawing
from bids_decoder.reports.figures import picture
from bids_decoder.reports.figures_decoding import (
    Example,
    draw_examples,
    pick_examples,
)
from bids_decoder.reports.figures_motion import draw_errors
from bids_decoder.reports.results import Results, numeric, truth
from bids_decoder.reports.thumbnails import Thumbnails, read_thumbnails
from bids_decoder.reports.wording import show_p

_LISTED = 1000
"""Trials in the table; the file has them all."""
_RUNS = 40
"""Runs in the timeline."""
_TOPS = tuple(f"top{place}" for place in range(1, 6))


def prediction_blocks(results: Results) -> list[Block]:
    """Return confusions or examples, the table of trials, and motion beside errors."""
    table = results.table("predictions")
    if table is None:
        return [absent("The list of single-trial predictions", "no predictions table is on disk.")]
    if values_of(table):
        return value_blocks(table, results)
    decoded = table.get("predicted_label", pd.Series(None, table.index, dtype=object))
    known = table["label"].notna() & decoded.notna() if "label" in table else decoded.notna()
    blocks: list[Block] = []
    if known.any():
        blocks.append(confusion_figure(
            table.loc[known, "label"], decoded[known], "confusion",
            "Confusion matrix: trials of each shown label (row) decoded as each label (column). "
            "Labels that are taken for each other are side by side.",
            f"Confusion matrix of {table.loc[known, 'label'].nunique()} labels.",
        ))
    examples = [] if known.any() else pick_examples(table)
    if examples:
        blocks.append(_examples(examples, results))
    if "correct" not in table:
        return blocks
    moved = with_motion(table, results)
    return [*blocks, *trial_blocks(moved, results.stimuli_dir), *_motion_blocks(moved, results)]


def _examples(examples: list[Example], results: Results) -> Block:
    chosen = "Trials spread evenly from the best to the worst rank, not picked by eye."
    names = {name for e in examples for name in (e.stimulus, *e.found)}
    paths = find_stimulus_files(results.stimuli_dir, names).found
    if not any(e.stimulus in paths for e in examples):
        header = ["shown", "rank", *(f"top {i}" for i in range(1, 6))]
        rows = [
            [e.stimulus, f"{e.rank:.0f}", *e.found, *[""] * (5 - len(e.found))] for e in examples
        ]
        absence = (
            " The images are not shown, because they were not there when this report was "
            "written; write it again with --reports-only --stimuli-dir."
        ) if results.plan.get("target_kind") == "image" else ""
        return Table(header, rows, f"Retrieval examples. {chosen}{absence}", frozenset({"rank"}))
    pic = picture(
        draw_examples(examples, paths), "retrieval",
        f"Retrieval examples: the shown image and the five nearest; green: the right one. {chosen}",
        "; ".join(f"{e.stimulus} at rank {e.rank:.0f}" for e in examples) + ".", "png",
    )
    return Figure(pic)


def with_motion(predictions: pd.DataFrame, results: Results) -> pd.DataFrame:
    """Add onset and head motion to predictions, where they are known.

    Parameters
    ----------
    predictions : DataFrame
        ``run_group``, ``trial``, ``correct`` as read from disk.
    results : Results

    Returns
    -------
    DataFrame
        With ``correct`` as truth values, ``onset`` in seconds, ``run`` (name of the run) and
        ``displacement``, the largest framewise displacement in mm from the onset to
        :data:`~bids_decoder.preprocessing.confounds.RESPONSE_SECONDS` after the end of the trial.
    """
    table = predictions.assign(correct=truth(predictions["correct"]))
    runs = results.tables("trials")
    if "trial" not in table or not runs:
        return table.assign(run=None, onset=np.nan, displacement=np.nan)
    keys = ["run_group", "trial"]
    times = pd.concat([
        numeric(trials, "onset", "duration")[[*keys, "onset", "duration"]].assign(run=name)
        for name, trials in runs.items()
    ]).drop_duplicates(keys)
    table = table.drop(columns=["run", "onset", "duration"], errors="ignore")
    table = table.merge(times, on=keys, how="left")
    t_r = repetition_times(results)
    steps = {name: _displacement(run) for name, run in results.tables("confounds").items()}
    table["displacement"] = [
        _largest(steps.get(row["run"]), t_r.get(row["run"], np.nan), row["onset"],
                 row["onset"] + row["duration"] + RESPONSE_SECONDS)
        for _, row in table.iterrows()
    ]
    return table


def repetition_times(results: Results) -> dict[str, float]:
    """Return the seconds from volume to volume of each preprocessed run, by its name."""
    return {
        name: float(card["RepetitionTime"])
        for name, card in results.cards("preproc_bold").items() if "RepetitionTime" in card
    }


def _largest(steps: np.ndarray | None, t_r: float, start: float, stop: float) -> float:
    """Return the largest displacement between two times in seconds; NaN where unknown."""
    if steps is None or not np.isfinite([t_r, start, stop]).all():
        return float("nan")
    inside = steps[max(int(start / t_r), 0):int(stop / t_r) + 1]
    return float(np.nanmax(inside)) if np.isfinite(inside).any() else float("nan")


def _displacement(confounds: pd.DataFrame) -> np.ndarray:
    table = numeric(confounds, "framewise_displacement")
    return table["framewise_displacement"].to_numpy(dtype=float)


def trial_blocks(table: pd.DataFrame, stimuli_dir: Path | None) -> list[Block]:
    """Return the table of held-out trials, wrong ones first.

    Parameters
    ----------
    table : DataFrame
        As :func:`with_motion` returns it.
    stimuli_dir : Path or None
        Folder with the pictures of stimuli.
    """
    table = table.sort_values("correct", kind="stable")
    listed = table.head(_LISTED)
    tops = [name for name in _TOPS if name in listed]
    has_labels = "predicted_label" in listed and listed["predicted_label"].notna().any()
    names = list(listed["stimulus"].dropna().astype(str))
    names += [] if has_labels else [str(n) for n in listed[tops].to_numpy().ravel() if n]
    pictures = read_thumbnails(stimuli_dir, names)
    columns = _columns(listed, pictures, has_labels, tops)
    rows = [list(cells) for cells in zip(*columns.values(), strict=True)]
    wrong = int((~table["correct"]).sum())
    caption = f"Held-out trials: {wrong} of {len(table)} were decoded wrongly"
    if len(table) > _LISTED:
        caption += f"; the first {_LISTED} are listed, all are in the table of predictions"
    block = Table(
        list(columns), rows, caption, frozenset({"trial", "rank", "motion (mm)"}),
        key="trials", quick=("Wrong only", "correct=no"),
    )
    return [Html(pictures.sprite), block]


def _columns(
    table: pd.DataFrame, pictures: Thumbnails, has_labels: bool, tops: list[str]
) -> dict[str, list[str]]:
    def text(name: str) -> list[str]:
        return ["n/a" if pd.isna(cell) else str(cell) for cell in table[name]]

    columns = {"run": text("run_group")}
    if "trial" in table:
        columns["trial"] = text("trial")
    if has_labels:
        if (table["stimulus"] != table["label"]).any():
            columns["stimulus"] = [pictures.cell(name) for name in text("stimulus")]
        columns["shown"], columns["decoded"] = text("label"), text("predicted_label")
    else:
        columns["shown"] = [pictures.cell(name) for name in text("stimulus")]
        if "rank_b2i" in table:
            columns["rank"] = text("rank_b2i")
        columns["nearest, best first"] = [
            Markup('<span class="nearest">{}</span>').format(Markup(" ").join(
                pictures.picture(name) or name for name in map(str, row) if name
            ))
            for row in table[tops].fillna("").to_numpy()
        ]
    columns["correct"] = ["yes" if right else "no" for right in table["correct"]]
    if table["displacement"].notna().any():
        columns["motion (mm)"] = [f"{value:.2f}" if np.isfinite(value) else "n/a"
                                  for value in table["displacement"]]
    return columns


def _motion_blocks(table: pd.DataFrame, results: Results) -> list[Block]:
    """Draw motion and errors over time, and compare motion of right and wrong trials."""
    timed = table[table["displacement"].notna()]
    if timed.empty:
        return []
    timed = timed.assign(said=[
        f"{row['run']}, {row['onset']:.1f} s: {row['stimulus']}, "
        f"{'right' if row['correct'] else 'wrong'}, largest displacement "
        f"{row['displacement']:.2f} mm" for _, row in timed.iterrows()
    ])
    confounds = results.tables("confounds")
    runs = {name: _displacement(confounds[name])
            for name in list(dict.fromkeys(timed["run"]))[:_RUNS]}
    limit = float(results.setting("preprocessing", "fd_threshold", 0.5))
    drawing = timeline_drawing(runs, timed, repetition_times(results), limit)
    pic = picture(
        draw_errors(timed), "motionerrors",
        "Head motion and errors: framewise displacement of each run, and its trials below. "
        "Of a trial counts the largest displacement from its onset to "
        f"{RESPONSE_SECONDS:g} s after its end.",
        "Head motion of trials that were decoded correctly and wrongly.",
    )
    return [Text(say_motion(timed)), Figure(pic, drawing)]


def say_motion(table: pd.DataFrame) -> str:
    """Compare head motion during trials that were decoded correctly and wrongly.

    Parameters
    ----------
    table : DataFrame
        ``correct`` (bool) and ``displacement`` in mm, finite.
    """
    right, wrong = (table.loc[table["correct"] == side, "displacement"] for side in (True, False))
    if right.empty or wrong.empty:
        which = "correctly" if wrong.empty else "wrongly"
        return f"All {len(table)} held-out trials with known motion were decoded {which}."
    p = mannwhitneyu(right, wrong).pvalue
    return (
        f"Head motion: median {wrong.median():.2f} mm in {len(wrong)} trials that were decoded "
        f"wrongly, {right.median():.2f} mm in {len(right)} correct ones (Mann-Whitney p = "
        f"{show_p(p)}; trials of a run are not independent, so that this p is a guide only)."
    )
