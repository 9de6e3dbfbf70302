"""Where the wall time of a call goes: import, plan, steps, reports, from the program's own records.

    python benchmarks/wall_time.py demo                    the demo
    python benchmarks/wall_time.py pictures                a study of simulated responses to images
    python benchmarks/wall_time.py haxby --data FOLDER     haxby-1slice, a raw dataset
    python benchmarks/wall_time.py DATASET OUT participant [OPTIONS]       any call

The call runs in a process of its own, with the options that follow the name. Phases come from the
lines that it writes and when; work by stage from ``timings`` of its ``run.json``. Nodes run side by
side, so that their work adds up to more than the wall time.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from printing import table

CASES = ("demo", "pictures", "haxby")
_PLANNED = re.compile(r"planned in ([\d.]+) s")
_COMPUTED = re.compile(r"computed for (\d+) s")


@dataclass(frozen=True)
class Line:
    """One line of a call, and the seconds since its start."""

    seconds: float
    text: str


def phases(lines: Sequence[Line], end: float) -> dict[str, float]:
    """Divide the wall time of a call.

    Parameters
    ----------
    lines : sequence of Line
        Of its standard error.
    end : float
        Seconds from its start to its end.

    Returns
    -------
    dict of str to float
        Seconds by phase, in order; their sum is *end*.

    Raises
    ------
    ValueError
        When the call did not plan.
    """
    planned = next((line for line in lines if _PLANNED.search(line.text)), None)
    if planned is None:
        raise ValueError("the call has no plan: " + "".join(line.text for line in lines[-3:]))
    planning = float(_PLANNED.search(planned.text).group(1))
    found = {
        "start and import": planned.seconds - planning, "plan (index, trials, checks)": planning,
    }
    computed = next((line for line in lines if _COMPUTED.search(line.text)), None)
    if computed is None:
        return {**found, "end": end - planned.seconds}
    steps = float(_COMPUTED.search(computed.text).group(1))
    written = [line.seconds for line in lines if " report: " in line.text]
    reports = max([*written, computed.seconds])
    return {
        **found, "locks and logs": computed.seconds - planned.seconds - steps, "steps": steps,
        "reports and plots": reports - computed.seconds, "end": end - reports,
    }


def by_stage(timings: Sequence[dict[str, Any]]) -> list[tuple[str, int, float, float]]:
    """Sum the nodes of each stage.

    Returns
    -------
    list of tuple
        Stage, number of nodes, seconds of work, largest peak in MB; the longest first.
    """
    stages: dict[str, list[dict[str, Any]]] = {}
    for timing in timings:
        stages.setdefault(timing["stage"], []).append(timing)
    rows = [
        (stage, len(nodes), sum(node["seconds"] for node in nodes),
         max(node.get("peak_mb", 0) for node in nodes))
        for stage, nodes in stages.items()
    ]
    return sorted(rows, key=lambda row: -row[2])


def call(words: Sequence[str]) -> tuple[list[Line], float, int]:
    """Call the program; return its lines, the seconds it took and its exit code."""
    started = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "-m", "bids_decoder", *words], stderr=subprocess.PIPE, text=True
    )
    lines = [Line(time.perf_counter() - started, text) for text in process.stderr]
    code = process.wait()
    return lines, time.perf_counter() - started, code


def words_of(case: str, folder: Path, data: Path) -> list[str]:
    """Return the command line of a case, and make its dataset."""
    if case == "demo":
        return ["--demo", str(folder)]
    if case == "haxby":
        return [str(data / "haxby-1slice"), str(folder / "out"), "participant"]
    from bids_decoder.simulate.betas import write_betas_dataset
    from bids_decoder.simulate.layout import PictureDesign

    made = folder / "data"
    write_betas_dataset(made, PictureDesign(n_participants=1), pictures=True)
    return [
        str(made), str(folder / "out"), "participant", "-d", f"betas={made}", "--from-scratch",
        "--stimuli-dir", str(made / "stimuli"),
    ]


def report(lines: Sequence[Line], end: float, records: Sequence[Path]) -> None:
    """Print phases, stages and the longest nodes."""
    rows = [(name, f"{seconds:.1f}", f"{seconds / end:.0%}")
            for name, seconds in phases(lines, end).items()]
    table([("phase", "s", "of the wall time"), *rows, ("all", f"{end:.1f}", "100%")])
    timings = [
        timing for path in records
        for timing in json.loads(path.read_text(encoding="utf-8"))["timings"]
    ]
    print()
    table([("stage", "nodes", "s of work", "peak MB"), *(
        (stage, n, f"{seconds:.1f}", f"{peak:.0f}") for stage, n, seconds, peak in by_stage(timings)
    )])
    print()
    longest = sorted(timings, key=lambda timing: -timing["seconds"])[:8]
    table([("longest nodes", "s"), *((t["node"], f"{t['seconds']:.1f}") for t in longest)])


def main(words: Sequence[str] | None = None) -> None:
    """Profile what the command line names."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("case", help="demo, pictures, haxby, or the first word of a call")
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    options, rest = parser.parse_known_args(words)
    with tempfile.TemporaryDirectory() as name:
        called = [options.case, *rest]
        if options.case in CASES:
            called = [*words_of(options.case, Path(name), options.data), *rest]
        output = Path(name) / "derivatives" if options.case == "demo" else Path(called[1])
        before = set(output.glob("logs/*/run.json"))
        lines, end, code = call(called)
        if code:
            raise SystemExit("".join(line.text for line in lines[-20:]))
        report(lines, end, sorted(set(output.glob("logs/*/run.json")) - before))


if __name__ == "__main__":
    main()
