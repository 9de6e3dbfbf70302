"""What brainlife shows of a run: ``product.json``, a few kilobytes, from the tables of results."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

SHOWN = ("balanced_accuracy", "top1")
"""The first of these metrics that a table has stands for the participant."""


def of(output_dir: Path) -> dict[str, Any]:
    """Return the content of ``product.json`` for a folder of results.

    Parameters
    ----------
    output_dir : Path

    Returns
    -------
    dict
        ``brainlife``: messages and a graph; ``bids_decoder``: the numbers, by participant.
    """
    tables = {
        path.name.split("_")[0]: read(path)
        for path in sorted(Path(output_dir).glob("sub-*/**/*_desc-decoder_metrics.tsv"))
    }
    numbers = {person: shown_rows(rows) for person, rows in tables.items()}
    messages = [message(person, rows) for person, rows in numbers.items()]
    if not messages:
        messages = [{
            "type": "warning",
            "msg": "Prepared, but not decoded: the options or the log say why.",
        }]
    graphs = [graph(numbers)] if numbers else []
    return {"brainlife": messages + graphs, "bids_decoder": numbers}


def read(path: Path) -> list[dict[str, str]]:
    """Read a table as a list of rows."""
    with path.open(encoding="utf-8", newline="") as handle:
        return list(csv.DictReader(handle, delimiter="\t"))


def shown_rows(rows: list[dict[str, str]]) -> dict[str, dict[str, Any]]:
    """Return one row for each model: the decoder first, then its baselines."""
    metric = next(name for name in SHOWN if any(row["metric"] == name for row in rows))
    found = {}
    for row in rows:
        if row["metric"] == metric and row["direction"] in ("b2i", "n/a", ""):
            found.setdefault(row["model"], {
                "metric": metric, "value": number(row["value"]), "chance": number(row["chance"]),
                "p": number(row["p"]), "n": int(float(row["n"])),
            })
    return found


def number(text: str) -> float | None:
    """Return a number, or None for ``n/a``."""
    return None if text in ("", "n/a") else float(text)


def message(person: str, models: dict[str, dict[str, Any]]) -> dict[str, str]:
    """Say how well a participant was decoded, and whether something simpler does as well."""
    own = models["decoder"]
    others = {
        name: row["value"] for name, row in models.items()
        if name != "decoder" and row["value"] is not None
    }
    text = (
        f"{person}: {own['metric']} {own['value']:.3f} "
        f"(chance {own['chance']:.3f}, p = {own['p']:.3g}, n = {own['n']})."
    )
    best = max(others, key=lambda name: others[name]) if others else None
    if best is not None and others[best] >= own["value"]:
        text += f" The baseline {best} reaches {others[best]:.3f}."
    return {"type": "success" if own["p"] < 0.05 else "warning", "msg": text}


def graph(numbers: dict[str, dict[str, dict[str, Any]]]) -> dict[str, Any]:
    """Return a plotly bar chart: participants, side by side the decoder and its baselines."""
    names = sorted({name for models in numbers.values() for name in models})
    names.sort(key=lambda name: name != "decoder")
    people = sorted(numbers)
    bars = [
        {"type": "bar", "name": name, "x": people,
         "y": [numbers[person].get(name, {}).get("value") for person in people]}
        for name in names
    ]
    first = numbers[people[0]]["decoder"]
    return {
        "type": "plotly", "name": "Decoding of held-out trials", "data": bars,
        "layout": {"barmode": "group", "yaxis": {"title": first["metric"], "rangemode": "tozero"},
                   "title": f"chance is {first['chance']:.3f}"},
    }
