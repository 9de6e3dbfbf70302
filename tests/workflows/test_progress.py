"""Status of nodes, and what workers log while they run."""

import logging
import os

import pytest
from nipype import Function, Node, Workflow
from nipype.interfaces.utility import IdentityInterface

from bids_decoder.interfaces import progress
from bids_decoder.interfaces.progress import log_progress
from bids_decoder.workflows import progress as progress_of_nodes
from bids_decoder.workflows.plugin import WorkerPoolPlugin
from bids_decoder.workflows.progress import NodeLog, node_names, stage_and_person

LOGGER = logging.getLogger("bids_decoder")
SCORE = "wf.decode_01_wf.score"


@pytest.mark.parametrize(("name", "expected"), [
    ("wf.prepare_01_wf.bold_wf.motion_0", ("preprocess", "01")),
    ("wf.prepare_01_wf.anat_wf.bias", ("preprocess", "01")),
    ("wf.prepare_01_wf.mark_preprocess", ("preprocess", "01")),
    ("wf.prepare_01_wf.glm_wf.single_trial", ("betas", "01")),
    ("wf.prepare_01_wf.sink_trials_1", ("betas", "01")),
    ("wf.prepare_a-1_wf.mark_betas", ("betas", "a+1")),
    ("wf.decode_03_wf.score", ("decode", "03")),
    ("wf.responses_03", ("responses", "03")),
    ("wf.searchlight_03_wf.search_1", ("searchlight", "03")),
    ("wf.pretrain_label_without03_wf.pretrain", ("pretrain", None)),
    ("wf.targets", ("targets", None)),
    ("wf.population", ("population", None)),
    ("wf.population_results", ("population", None)),
    ("wf.mark_population", ("population", None)),
    ("wf.folders_pretrain_label_without03", ("pretrain", None)),
    ("wf.folders_align_03", ("align", "03")),
    ("wf.mark_position_03", ("position", "03")),
])
def test_stage_and_person_of_a_node(name, expected):
    assert stage_and_person(name) == expected


class FakeNode:
    def __init__(self, started, name=SCORE):
        runtime = type("Runtime", (), {"duration": 2.0, "startTime": started})()
        self.result = type("Result", (), {"runtime": runtime})()
        self.fullname = name


def test_reused_nodes_take_no_time():
    log = NodeLog([SCORE])
    log(FakeNode("2001-01-01T00:00:00"), "end")
    log(FakeNode("9001-01-01T00:00:00"), "end")
    log(FakeNode("9001-01-01T00:00:00"), "exception")
    assert [timing["seconds"] for timing in log.timings] == [2.0]
    assert log.failed == [SCORE]
    assert log.steps["decode", "01"].n_failed == 1


def test_memory_of_nodes_that_run_elsewhere_is_left_out():
    log = NodeLog([SCORE], are_here=False)
    log(FakeNode("9001-01-01T00:00:00"), "start")
    log.measure()
    assert [line.memory_mb for line in log.lines()] == [0, 0]
    log(FakeNode("9001-01-01T00:00:00"), "end")
    assert "peak_mb" not in log.timings[0] and log.steps["decode", "01"].peak_mb == 0


def test_a_record_that_comes_after_the_end_starts_nothing():
    log = NodeLog([SCORE])
    log(FakeNode("9001-01-01T00:00:00"), "start")
    log(FakeNode("9001-01-01T00:00:00"), "end")
    log.take(logging.makeLogRecord({"event": "start", "node": SCORE, "process": 1}))
    assert [line.stage for line in log.lines()] == ["all"]


def test_time_left_follows_from_the_kinds_of_nodes(monkeypatch):
    """Many short nodes after a long one take little time."""
    now = [0.0]
    monkeypatch.setattr(progress_of_nodes.time, "monotonic", lambda: now[0])
    names = [f"wf.decode_0{n}_wf.{leaf}" for n in (1, 2) for leaf in ("fit", "mark_decode")]
    log = NodeLog(names)
    for name, seconds in zip(names[:2], (90.0, 1.0), strict=True):
        node = FakeNode("9001-01-01T00:00:00", name)
        node.result.runtime.duration = seconds
        log(node, "start")
        now[0] += seconds
        log(node, "end")
    log(FakeNode("9001-01-01T00:00:00", names[2]), "start")
    everything, _ = log.lines()
    assert everything.seconds_left == pytest.approx(91)
    node.fullname, node.result.runtime.duration = names[2], 90.0
    now[0] += 90
    log(node, "end")
    (everything,) = log.lines()
    assert everything.percent == 75.0
    assert everything.seconds_left == pytest.approx(1)


def test_time_left_after_a_resume_follows_from_what_is_computed(monkeypatch):
    """Nodes that are taken over are known in their kind, and their time here counts for nothing."""
    now = [0.0]
    monkeypatch.setattr(progress_of_nodes.time, "monotonic", lambda: now[0])
    names = [f"wf.decode_0{n}_wf.fit" for n in range(1, 6)]
    log = NodeLog(names)
    for name in names[:3]:
        node = FakeNode("2001-01-01T00:00:00", name)
        node.result.runtime.duration = 60.0
        log(node, "start")
        now[0] += 10
        log(node, "end")
    assert log.lines()[0].seconds_left is None
    log(FakeNode("9001-01-01T00:00:00", names[3]), "start")
    now[0] += 30
    log.take(logging.makeLogRecord({
        "event": "work", "fraction": 0.5, "msg": "half", "process": os.getpid()
    }))
    assert log.lines()[0].seconds_left == pytest.approx(90)
    now[0] += 30
    node = FakeNode("9001-01-01T00:00:00", names[3])
    node.result.runtime.duration = 60.0
    log(node, "end")
    assert log.lines()[0].seconds_left == pytest.approx(60)
    assert [timing["seconds"] for timing in log.timings] == [60.0]


def test_time_left_where_a_kind_is_new_beside_nodes_that_are_taken_over(monkeypatch):
    """The table expects little of a long node; that says nothing of nodes that are measured."""
    now = [0.0]
    monkeypatch.setattr(progress_of_nodes.time, "monotonic", lambda: now[0])
    names = [f"wf.encode_0{n}_wf.{leaf}" for n in (1, 2) for leaf in ("etecrm", "ridge")]
    log = NodeLog(names)
    node = FakeNode("2001-01-01T00:00:00", names[1])
    node.result.runtime.duration = 200.0
    log(node, "start")
    log(node, "end")
    log(FakeNode("9001-01-01T00:00:00", names[0]), "start")
    now[0] += 400
    log.take(logging.makeLogRecord({
        "event": "work", "fraction": 0.8, "msg": "later", "process": os.getpid()
    }))
    first, step = log.lines()
    # A quarter of what passed is left of this node; two others wait, as long as the one known.
    assert step.seconds_left == pytest.approx(100)
    assert first.seconds_left == pytest.approx(500)
    # A node that reports nothing takes time, too.
    log(FakeNode("9001-01-01T00:00:00", names[3]), "start")
    now[0] += 50
    left = log.lines()[0].seconds_left
    assert left < first.seconds_left


def test_parts_of_a_node_are_not_steps_of_their_own():
    log = NodeLog([SCORE])
    part = FakeNode("9001-01-01T00:00:00")
    part.fullname = "_sink_betaseries0"
    log(part, "end")
    assert (log.timings, log.steps["decode", "01"].n_done) == ([], 0)
    log(part, "exception")
    assert log.failed == ["_sink_betaseries0"]


def test_nodes_left_out_after_a_failure_are_not_done():
    class LeftOut:
        fullname = "wf.decode_01_wf.mark_decode"

        @property
        def result(self):
            raise FileNotFoundError("result_mark_decode.pklz")

    log = NodeLog([SCORE, LeftOut.fullname])
    log(FakeNode("9001-01-01T00:00:00"), "exception")
    log(LeftOut(), "end")
    assert log.timings == []
    tally = log.steps["decode", "01"]
    assert (tally.n_done, tally.n_failed, tally.waiting.total()) == (0, 1, 0)


@pytest.fixture
def records(monkeypatch):
    """What reaches the handlers of this process."""
    found = []
    handler = logging.Handler(logging.INFO)
    handler.emit = found.append
    monkeypatch.setattr(logging.getLogger(), "handlers", [handler])
    monkeypatch.setattr(LOGGER, "level", logging.INFO)
    LOGGER.manager._clear_cache()
    return found


@pytest.fixture
def listening(records):
    """Make a log of nodes that takes what nodes report."""
    made = []

    def make(names):
        log = NodeLog(names)
        LOGGER.addFilter(log.take)
        made.append(log)
        return log

    yield make
    for log in made:
        LOGGER.removeFilter(log.take)


def test_lines_of_running_steps(listening, records, monkeypatch):
    monkeypatch.setattr(progress, "_SECONDS_BETWEEN", 0.0)
    log = listening([SCORE, "wf.decode_01_wf.fit", "wf.decode_02_wf.fit"])
    log(FakeNode("9001-01-01T00:00:00", "wf.decode_01_wf.fit"), "start")
    log(FakeNode("9001-01-01T00:00:00", "wf.decode_01_wf.fit"), "end")
    log(FakeNode("9001-01-01T00:00:00"), "start")
    report = log_progress("chance in fold 2", unit="permutation")
    report(1, 4)
    report(2, 4)
    everything, step = log.lines()
    assert (step.stage, step.participant, step.percent) == ("decode", "01", 75.0)
    assert step.text == "chance in fold 2: permutation 2 of 4"
    assert step.seconds_left >= 0 and step.memory_mb > 1
    assert everything.percent == pytest.approx(50) and everything.text == "1 of 3 nodes done"
    assert records == [], "progress of a node is no line of its own"
    log(FakeNode("9001-01-01T00:00:00"), "end")
    assert len(log.lines()) == 1
    assert log.timings[1]["peak_mb"] > 1 and log.steps["decode", "01"].peak_mb > 1


def test_progress_is_logged_once_a_second_and_at_the_end(records):
    report = log_progress("x")
    for number in range(1, 101):
        report(number, 100, 0.5)
    assert [r.getMessage() for r in records] == [
        "x: epoch 1 of 100, loss 0.5000", "x: epoch 100 of 100, loss 0.5000",
    ]


def test_progress_belongs_to_the_process_that_reports_it(listening):
    log = listening([SCORE])
    record = logging.makeLogRecord({"event": "start", "node": SCORE, "process": 1})
    assert not log.take(record)
    work = {"event": "work", "fraction": 0.5, "msg": "half"}
    log.take(logging.makeLogRecord({**work, "process": os.getpid()}))
    assert log.lines()[1].percent == 0
    log.take(logging.makeLogRecord({**work, "process": 1}))
    assert (log.lines()[1].percent, log.lines()[1].text) == (50.0, "half")


def test_finished_stage_is_a_message(listening, records):
    log = listening(["wf.decode_01_wf.mark_decode"])
    log(FakeNode("9001-01-01T00:00:00", "wf.decode_01_wf.mark_decode"), "end")
    assert [(r.getMessage(), r.event, r.step) for r in records] == [
        ("sub-01: decode done", "done", ("decode", "01")),
    ]


def reported(x):
    import logging

    from bids_decoder.interfaces.progress import log_progress

    log_progress("counting", unit="number")(1, 2)
    logging.getLogger("bids_decoder").warning("heard")
    return x


def test_what_a_worker_logs_is_handled_here(tmp_path, records, monkeypatch):
    workflow = Workflow("wf", base_dir=str(tmp_path))
    inner = Workflow("decode_01_wf")
    given = Node(IdentityInterface(["x"]), "inputnode")
    given.inputs.x = 1
    inner.connect(given, "x", Node(Function(function=reported), "score"), "x")
    workflow.add_nodes([inner])
    names = list(node_names(workflow))
    assert names == [SCORE]
    log, taken = NodeLog(names), []

    def take(record):
        taken.append(record)
        return log.take(record)

    monkeypatch.setattr(LOGGER, "filters", [take])
    plugin = WorkerPoolPlugin(plugin_args={
        "n_procs": 1, "memory_gb": 1.0, "status_callback": log,
    })
    workflow.run(plugin=plugin)
    assert [r.getMessage() for r in records if r.name == LOGGER.name] == ["heard"]
    assert [r.event for r in taken if hasattr(r, "event")] == ["start", "work"]
    assert {r.process for r in taken} != {os.getpid()}
    assert [timing["node"] for timing in log.timings] == ["decode_01_wf.score"]
