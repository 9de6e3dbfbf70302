"""Report of representational similarity analysis."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd

from bids_decoder.analyses.rsa.figures import draw_distances, draw_models
from bids_decoder.analyses.rsa.report_group import group_blocks
from bids_decoder.analyses.rsa.report_regions import limits, region_sections
from bids_decoder.analyses.rsa.report_search import search_lines, search_sections
from bids_decoder.evaluation.rdm_inference import LEAST_RESAMPLED
from bids_decoder.evaluation.rdm_models import LEAST_CONDITIONS
from bids_decoder.evaluation.statistics import ALPHA
from bids_decoder.reports.blocks import Block, Figure, Section, Table, Text
from bids_decoder.reports.figures import picture
from bids_decoder.reports.results import Results, numeric, participants
from bids_decoder.reports.wording import show_p

_NUMBERS = ("value", "ci_low", "ci_high", "p", "p_max", "p_min", "n")


def sections(results: Results) -> list[Section]:
    """Return the sections on models of the distances; none where there are no models."""
    return [
        *_whole_sections(results), *region_sections(results), *search_sections(results),
    ]


def _whole_sections(results: Results) -> list[Section]:
    metrics, distances = results.table("rsa_metrics"), read_distances(results)
    if metrics is None or distances is None:
        return []
    metrics, card = numeric(metrics, *_NUMBERS), results.card("rsa_metrics")
    blocks: list[Block] = [
        Text(
            f"Crossnobis distances of {card['Conditions']} conditions from {card['Voxels']:,} "
            f"voxels, {card['Trials']} trials in {card['Runs']} runs. They are 0 on average where "
            "responses do not differ, and may be negative."
        ),
        *(Text(_verdict(row), _tone(row)) for _, row in metrics.iterrows()),
        Figure(picture(
            draw_distances(distances), "rsadistances",
            "Distance of the responses to any two conditions, in the order in which similar ones "
            "are neighbours.", "Matrix of distances.",
        )),
        Figure(picture(
            draw_models(metrics), "rsamodels",
            "Whitened correlation of each model with the distances. Bars: 95 % intervals, by "
            "leaving out runs in turn; they take the conditions as fixed.",
            "Models and their correlations.",
        )),
        _table(metrics),
        *_comparison_blocks(results, card["Conditions"], len(metrics)),
    ]
    return [Section("rsa", "Representational similarity", blocks)]


def lines(results: Results) -> list[str]:
    """Return the best model in one line."""
    metrics = results.table("rsa_metrics")
    if metrics is None:
        return []
    metrics = numeric(metrics, *_NUMBERS).sort_values("value", ascending=False)
    best = metrics.iloc[0]
    tested = "" if pd.isna(best["p_max"]) else f", p = {show_p(best['p_max'])} corrected"
    return [f"sub-{results.participant}: model {best['model']} fits distances best, r = "
            f"{best['value']:.2f}{tested}", *search_lines(results)]


def group_sections(results: Results) -> list[Section]:
    """Return the models over participants, with the noise ceiling."""
    shared = shared_distances(results)
    blocks = group_blocks(results)
    if shared is None or not blocks:
        return []
    common, matrices = shared
    mean_matrix = pd.DataFrame(matrices.mean(axis=0), index=common, columns=common)
    return [Section("rsa", "Representational similarity", [*blocks, Figure(picture(
        draw_distances(mean_matrix), "rsadistances", "Mean distances over participants.",
        "Matrix of distances.",
    ))])]


def shared_distances(results: Results) -> tuple[list[str], np.ndarray] | None:
    """Return the distances of the conditions that all participants have.

    Returns
    -------
    tuple of (conditions, ndarray of (n_people, n_conditions, n_conditions)), or None
        None where fewer than two participants share too few conditions, or miss distances.
    """
    found = {
        label: read_distances(replace(results, participant=label))
        for label in participants(results.output_dir)
    }
    people = {label: table for label, table in found.items() if table is not None}
    if len(people) < 2:
        return None
    common = sorted(set.intersection(*(set(table.index) for table in people.values())))
    matrices = np.stack([table.loc[common, common].to_numpy() for table in people.values()])
    if len(common) < LEAST_CONDITIONS or not np.isfinite(matrices).all():
        return None
    return common, matrices


def read_distances(results: Results) -> pd.DataFrame | None:
    """Return the distances of a participant, with conditions in rows and columns."""
    table = results.table("rsa_distances")
    return None if table is None else table.set_index("condition").astype(float)


def _verdict(row: pd.Series) -> str:
    if pd.isna(row["p_max"]):
        return f"{row['model']}: r = {row['value']:.2f}, not tested."
    text = f"{row['model']}: r = {row['value']:.2f}, p = {show_p(row['p_max'])}, corrected for " \
           "all models."
    if row["p_min"] > ALPHA:
        text += f" It cannot be significant: the smallest possible p is {row['p_min']:.2g}."
    return text


def _tone(row: pd.Series) -> str:
    return "good" if row["p_max"] <= ALPHA else "plain"


def _table(metrics: pd.DataFrame) -> Table:
    header = ["model", "whitened correlation", "95 % interval", "p", "p, all models",
              "smallest possible p"]
    rows = [
        [row["model"], f"{row['value']:.3f}",
         limits(row),
         *(show_p(row[name]) for name in ("p", "p_max", "p_min"))]
        for _, row in metrics.iterrows()
    ]
    return Table(header, rows, "Models of the distances", frozenset(header[1:]))


def _comparison_blocks(results: Results, n_conditions: int, n_models: int) -> list[Block]:
    """Return the differences of any two models."""
    if n_models < 2:
        return []
    table = results.table("rsa_comparisons")
    if table is None:
        return [Text(
            f"Models are not compared with each other: {n_conditions} conditions are too few to "
            f"say what holds for others ({LEAST_RESAMPLED} are needed)."
        )]
    table = numeric(table, "value", "ci_low", "ci_high", "p", "p_holm", "n")
    header = ["model", "less", "difference", "95 % interval", "p", "p, all pairs"]
    rows = [
        [row["first"], row["second"], f"{row['value']:.3f}", limits(row),
         *(show_p(row[name]) for name in ("p", "p_holm"))]
        for _, row in table.iterrows()
    ]
    caption = "Differences of models; intervals and p-values hold for conditions like these"
    return [Table(header, rows, caption, frozenset(header[2:]))]
