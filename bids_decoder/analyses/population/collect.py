"""Results of participants in the output folder, read for statistics over participants."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from bids_decoder.bids.names import OutputName, find_name, parse_entities
from bids_decoder.bids.writer import read_table
from bids_decoder.evaluation.population import Measure
from bids_decoder.evaluation.tables import LOWER_IS_BETTER
from bids_decoder.files import read_json

KEYS = (
    "target", "metric", "direction", "unit", "similarity", "split", "pool_size", "features",
    "voxels", "n_runs",
)
"""Columns that together name a measure; tables have some of them."""

NUMBERS = ("value", "chance", "ci_low", "ci_high", "p", "p_min", "n")
_SHARE = re.compile(r"top\d+|(balanced_)?accuracy|macro_f1|auc|two_way|share_significant")
_CORRELATION = re.compile(r"r|(whitened_|profile_|dimension_)?correlation|pixcorr|ssim")


@dataclass(frozen=True)
class Source:
    """One kind of result of participants.

    Parameters
    ----------
    stage : str
        The stage that leaves it, and its marker.
    name : str
        Its name in the table over participants.
    metrics : str
        Key of the table in :data:`bids_decoder.bids.names.NAMES`.
    nulls : str or None
        Key of the table of null distributions.
    """

    stage: str
    name: str
    metrics: str
    nulls: str | None = None


SOURCES = (
    Source("decode", "decoder", "metrics", "nulls"),
    Source("gallery", "gallery", "gallery_metrics", "gallery_nulls"),
    Source("reconstruct", "reconstruction", "reconstruction_metrics"),
    Source("rsa", "rsa", "rsa_metrics", "rsa_nulls"),
    Source("encode", "encoder", "encoder_metrics", "encoder_nulls"),
    Source("learning", "learning curve", "curve_metrics"),
)


@dataclass(frozen=True, eq=False)
class Case:
    """One measure with what identifies it.

    Parameters
    ----------
    source : str
    model : str
    names : dict
        Values of :data:`KEYS`; None where the table has no such column.
    measure : Measure
    """

    source: str
    model: str
    names: dict[str, Any]
    measure: Measure


def read_marker(output_dir: Path, label: str, stage: str) -> dict[str, Any]:
    """Return the done marker of a stage of one participant; empty where it is not done."""
    path = output_dir / "logs" / "done" / f"sub-{label}_{stage}.json"
    try:
        content = read_json(path)
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def people_with_results(output_dir: Path) -> list[str]:
    """Return the labels of participants with a result that can be summarised."""
    folder = output_dir / "logs" / "done"
    return sorted({
        path.name.removeprefix("sub-").removesuffix(f"_{source.stage}.json")
        for source in SOURCES for path in folder.glob(f"sub-*_{source.stage}.json")
    })


def find_outputs(
    output_dir: Path, label: str, stage: str, key: str | OutputName, **entities: str
) -> list[Path]:
    """Return the files of one kind that a finished stage of a participant left.

    The marker lists them, so that files of earlier calls in another space do not count.
    """
    name = find_name(key)
    wanted, ending = {**name.entities, **entities}, f"_{name.suffix}{name.extension}"
    paths = (output_dir / path for path in read_marker(output_dir, label, stage).get("outputs", {}))
    return sorted(
        path for path in paths
        if path.name.endswith(ending) and wanted.items() <= parse_entities(path).items()
        and path.is_file()
    )


def read_cases(output_dir: Path, people: list[str]) -> list[Case]:
    """Read the measures that at least two participants have in common.

    Parameters
    ----------
    output_dir : Path
        Top of the derivatives.
    people : list of str
        Labels.

    Returns
    -------
    list of Case
        In the order of the tables. Pools of different size are different measures.
    """
    return [case for source in SOURCES for case in _read_source(output_dir, people, source)]


def _read_source(output_dir: Path, people: list[str], source: Source) -> list[Case]:
    tables, nulls = [], {}
    for label in people:
        found = find_outputs(output_dir, label, source.stage, source.metrics)
        if found:
            tables.append(_read_scores(found[0]).assign(participant=f"sub-{label}"))
            nulls[f"sub-{label}"] = _read_nulls(output_dir, label, source)
    if len(tables) < 2:
        return []
    table = pd.concat(tables, ignore_index=True)
    present = [name for name in KEYS if name in table]
    cases = []
    for values, part in table.groupby(present, sort=False):
        names = {name: value or None for name, value in zip(present, values, strict=True)}
        case = _make_case(source, names, part, nulls)
        if case is not None:
            cases.append(case)
    return cases


def _read_scores(path: Path) -> pd.DataFrame:
    """Read one table of metrics; the first model, or that called decoder, is marked as own."""
    table = read_table(path)
    if "inference" in table:
        # Values of a whole test set say nothing about single responses.
        table = table[table["inference"] != "transductive"]
    for name in NUMBERS:
        table[name] = pd.to_numeric(table[name]) if name in table else np.nan
    for name in (key for key in KEYS if key in table):
        table[name] = table[name].fillna("")
    own = "decoder" if (table["model"] == "decoder").any() else table["model"].iloc[0]
    return table.assign(own=table["model"] == own)


def _make_case(
    source: Source, names: dict[str, Any], part: pd.DataFrame, nulls: dict[str, pd.DataFrame]
) -> Case | None:
    own = part[part["own"] & part["value"].notna()].drop_duplicates("participant")
    if len(own) < 2:
        return None
    labels = own["participant"].tolist()
    others = part[~part["own"]].drop_duplicates(["participant", "model"])
    baselines = {
        model: rows.set_index("participant")["value"].reindex(labels).to_numpy(np.float64)
        for model, rows in others.groupby("model", sort=False)
    }
    measure = Measure(
        own[["participant", *NUMBERS]].reset_index(drop=True), baselines,
        [_null_of(nulls[label], names) for label in labels],
        names["metric"] not in LOWER_IS_BETTER, bounds_of(names),
    )
    return Case(source.name, str(own["model"].iloc[0]), names, measure)


def _read_nulls(output_dir: Path, label: str, source: Source) -> pd.DataFrame:
    """Read the null distributions of the decoder of one participant; empty where there are none."""
    empty = pd.DataFrame({"metric": [], "value": []})
    if source.nulls is None:
        return empty
    found = find_outputs(output_dir, label, source.stage, source.nulls)
    if not found:
        return empty
    table = read_table(found[0])
    own = "decoder" if (table["model"] == "decoder").any() else table["model"].iloc[0]
    return table[table["model"] == own].assign(
        value=pd.to_numeric(table["value"]), permutation=pd.to_numeric(table["permutation"])
    )


def _null_of(table: pd.DataFrame, names: dict[str, Any]) -> np.ndarray:
    """Return the null distribution of one measure, in the order of permutations."""
    for name in (key for key in KEYS if key in table):
        table = table[table[name].fillna("") == (names.get(name) or "")]
    if table.empty or table["permutation"].duplicated().any():
        return np.empty(0)
    return table.sort_values("permutation")["value"].to_numpy(np.float64)


def bounds_of(names: dict[str, Any]) -> tuple[float, float]:
    """Return the smallest and largest possible value of a measure.

    Examples
    --------
    >>> bounds_of({"metric": "top1"}), bounds_of({"metric": "median_rank", "pool_size": "40"})
    ((0.0, 1.0), (1.0, 40.0))
    """
    metric = str(names["metric"])
    if _SHARE.fullmatch(metric):
        return 0.0, 1.0
    if _CORRELATION.fullmatch(metric):
        return -1.0, 1.0
    if metric == "median_rank" and names.get("pool_size"):
        return 1.0, float(names["pool_size"])
    return -np.inf, np.inf
