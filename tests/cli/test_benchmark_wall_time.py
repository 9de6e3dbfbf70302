"""benchmarks/wall_time.py: phases and stages from the lines and records of a call."""

import json
import sys
from importlib import import_module
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"
TIMINGS = [
    {"stage": "betas", "node": "a", "seconds": 1.5, "peak_mb": 20, "participant": "01"},
    {"stage": "decode", "node": "b", "seconds": 4.0, "peak_mb": 90, "participant": "01"},
    {"stage": "betas", "node": "c", "seconds": 2.0, "participant": "01"},  # too short to be seen
]


@pytest.fixture(scope="module")
def bench():
    sys.path.insert(0, str(BENCHMARKS))
    try:
        yield import_module("wall_time")
    finally:
        sys.path.remove(str(BENCHMARKS))
        for name in ("wall_time", "printing"):
            sys.modules.pop(name, None)


def lines(bench, *pairs):
    return [bench.Line(seconds, text) for seconds, text in pairs]


def test_phases_add_up_to_the_wall_time(bench):
    found = bench.phases(lines(
        bench, (7.0, "1 participant(s); planned in 3.0 s"), (12.0, "betas done"),
        (30.0, "computed for 20 s; the nodes took 35 s of work"), (38.0, "x report: sub-01.html"),
        (39.0, "x report: group.html"), (39.5, "finished successfully"),
    ), 40.0)
    assert list(found.values()) == [4.0, 3.0, 3.0, 20.0, 9.0, 1.0] and sum(found.values()) == 40


def test_a_call_without_anything_due_has_no_steps(bench):
    found = bench.phases(lines(bench, (5.0, "planned in 2.0 s"), (5.5, "nothing to compute")), 6.0)
    assert "steps" not in found and sum(found.values()) == 6
    with pytest.raises(ValueError, match="no plan: wrong option"):
        bench.phases(lines(bench, (1.0, "wrong option")), 1.0)


def test_stages_sum_their_nodes(bench):
    assert bench.by_stage(TIMINGS) == [("decode", 1, 4.0, 90), ("betas", 2, 3.5, 20)]


def test_a_call_is_profiled_from_its_records(bench, monkeypatch, tmp_path, capsys):
    def call(words):
        path = tmp_path / "out" / "logs" / "new" / "run.json"
        path.parent.mkdir(parents=True)
        path.write_text(json.dumps({"timings": TIMINGS}))
        return lines(bench, (2.0, "planned in 1.0 s"), (9.0, "computed for 6 s;")), 10.0, 0

    monkeypatch.setattr(bench, "call", call)
    bench.main(["data", str(tmp_path / "out"), "participant"])
    printed = capsys.readouterr().out
    assert "| steps | 6.0 | 60% |" in printed and "| betas | 2 | 3.5 | 20 |" in printed
    assert "| b | 4.0 |" in printed


def test_the_program_still_says_what_the_profile_reads(bench):
    """A change of either line would leave the profile without phases."""
    from bids_decoder.cli import run, summary

    assert "planned in {seconds:.1f} s" in Path(summary.__file__).read_text(encoding="utf-8")
    assert "computed for %.0f s" in Path(run.__file__).read_text(encoding="utf-8")
    assert bench._PLANNED.search(f"planned in {1.25:.1f} s")
    assert bench._COMPUTED.search(f"computed for {7:.0f} s")
