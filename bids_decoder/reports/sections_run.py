"""Report sections on the run: decisions, timings, about, errors."""

from __future__ import annotations

import shlex
from pathlib import Path

import pandas as pd

from bids_decoder.reports.blocks import Block, Pre, Section, Table, Text, absent, table_of
from bids_decoder.reports.results import Results, RunLog, numeric

_CRASH_TAIL = 6000


def decisions_section(results: Results) -> Section:
    """Return the section on decisions and their reasons."""
    decisions = results.plan.get("decisions", [])
    if not decisions:
        return Section(
            "decisions", "Decisions", [absent("The list of decisions", "there is no plan.json.")]
        )
    rows = [[str(d.get(k, "")) for k in ("what", "value", "reason")] for d in decisions]
    blocks: list[Block] = [
        Table(["what", "decided", "reason"], rows, "Decisions made from the data")
    ]
    fingerprint = results.plan.get("fingerprint", {})
    if fingerprint:
        pairs = [[str(k).replace("_", " "), str(v)] for k, v in fingerprint.items()]
        title = "Fingerprint of the dataset"
        blocks.append(Table(["property", "value"], pairs, title, folded=True))
    return Section("decisions", "Decisions", blocks)


def timings_section(results: Results) -> Section:
    """Return the section on seconds and peak memory per stage."""
    rows = [
        {**timing, "call": log.record.get("started", log.uuid)}
        for log in results.runs
        for timing in log.record.get("timings", [])
        if timing.get("participant") in (None, "", results.participant)
        or results.participant is None
    ]
    if not rows:
        return Section(
            "timings", "Timings", [absent("The timing", "no run.json with timings is on disk.")]
        )
    table = numeric(pd.DataFrame(rows), "seconds", "peak_mb")
    stages = (
        table.groupby(["call", "stage"], sort=False)
        .agg(nodes=("seconds", "size"), seconds=("seconds", "sum"), peak_mb=("peak_mb", "max"))
        .reset_index()
    )
    nodes = table.sort_values("seconds", ascending=False, kind="stable").head(20)
    nodes = nodes[[c for c in ("stage", "participant", "node", "seconds", "peak_mb") if c in nodes]]
    return Section(
        "timings",
        "Timings",
        [
            table_of(_rounded(stages), "Time and peak memory per stage and call"),
            table_of(_rounded(nodes), "The twenty longest steps", folded=True),
        ],
    )


def _rounded(table: pd.DataFrame) -> pd.DataFrame:
    rounded = table.assign(seconds=table["seconds"].round(1), peak_mb=table["peak_mb"].round(0))
    return rounded.rename(columns={"peak_mb": "peak memory (MB)"})


def about_section(results: Results) -> Section:
    """Return the section on version, command line and date, as recorded by the run."""
    if not results.runs:
        return Section("about", "About", [absent("The call", "no run.json is on disk.")])
    last = results.runs[-1]
    rows = [
        ["version", str(last.record.get("version", "n/a"))],
        ["command", _command(last)],
        ["started", str(last.record.get("started", "n/a"))],
        ["run", last.uuid],
        ["random seed", str(last.settings.get("random_seed", "n/a"))],
    ]
    blocks: list[Block] = [Table(["property", "value"], rows, "The last call")]
    if len(results.runs) > 1:
        earlier = [
            [str(r.record.get("started", "n/a")), str(r.record.get("version", "n/a")), _command(r)]
            for r in results.runs[:-1]
        ]
        blocks.append(
            Table(["started", "version", "command"], earlier, "Earlier calls", folded=True)
        )
    return Section("about", "About", blocks)


def _command(log: RunLog) -> str:
    command = log.record.get("command", [])
    return command if isinstance(command, str) else shlex.join(map(str, command))


def errors_section(results: Results) -> Section:
    """Return the section with crash files of this participant and of the group."""
    blocks: list[Block] = [
        Pre(f"{name} ({log.record.get('started', log.uuid)})", _tail(text))
        for log, name, text in results.crashes()
    ]
    if not blocks:
        return Section("errors", "Errors", [Text("No errors were recorded.", "good")])
    return Section("errors", "Errors", [Text(f"{len(blocks)} crash file(s).", "bad"), *blocks])


def _tail(text: str) -> str:
    return text if len(text) <= _CRASH_TAIL else "[…]\n" + text[-_CRASH_TAIL:]


def report_path(output_dir: Path, participant: str | None) -> Path:
    """Return the path of the page of a participant, or of the group."""
    return output_dir / (f"sub-{participant}.html" if participant else "group.html")
