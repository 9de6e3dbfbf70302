"""All analyses keep the contract."""

import inspect

import pytest

from bids_decoder.analyses.base import Analysis, in_order
from bids_decoder.analyses.jobs import Job, Stage
from bids_decoder.analyses.registry import NAMES, analyses, find_analysis, stages_of_level
from bids_decoder.cli.plan import with_used
from bids_decoder.config import Section
from bids_decoder.markers import StageKey

PARTS = {
    "options": {"is_wanted": 1, "add_options": 1, "resolve": 2},
    "plan": {"read": 2, "check": 2, "jobs": 3, "record": 1},
    "workflow": {"build": 2},
    "verdict": {"answer": 1, "worries": 1},
    "report": {"summary": 1, "sections": 1, "group_summary": 1, "group_sections": 1, "lines": 1},
    "methods": {"steps": 1, "group_steps": 1},
}


@pytest.mark.parametrize("name", NAMES)
def test_functions_of_the_contract_take_what_it_says(name):
    analysis = find_analysis(name)
    for part, functions in PARTS.items():
        for function, n_arguments in functions.items():
            found = analysis._find(part, function)
            if found is not None:
                assert len(inspect.signature(found).parameters) == n_arguments, (part, function)


@pytest.mark.parametrize("name", NAMES)
def test_every_analysis_can_be_planned_built_and_reported(name):
    analysis = find_analysis(name)
    for part, function in (("plan", "jobs"), ("workflow", "build")):
        assert analysis._find(part, function) is not None
    assert analysis.section is None or issubclass(analysis.section, Section)
    assert analysis._find("report", "sections") or analysis._find("report", "group_sections")


@pytest.mark.parametrize("name", NAMES)
def test_results_that_depend_on_the_region_come_with_its_check(name):
    jobs = find_analysis(name)._find("plan", "jobs")
    source = inspect.getsource(inspect.getmodule(jobs))
    assert ("study.region_key" in source) == ("study.region_findings" in source)


def test_what_is_needed_is_given_by_somebody():
    given = {name for analysis in analyses() for name in analysis.gives}
    assert {name for analysis in analyses() for name in analysis.needs} <= given


def test_stages_of_levels():
    assert stages_of_level("participant") == (
        "prepare", "decode", "encode", "searchlight", "regions", "cross", "timecourse", "rsa",
        "apply", "population",
    )
    assert stages_of_level("group") == ("prepare", "pretrain", "population")


def test_needs_that_go_round_in_a_circle_are_an_error():
    first = Analysis("first", ("group",), "x", needs=("b",), gives=("a",))
    second = Analysis("second", ("group",), "x", needs=("a",), gives=("b",))
    with pytest.raises(ValueError, match="first, second"):
        in_order([first, second])


def job(name, why, gives="", uses=()):
    return Job(name, name, (Stage(StageKey(name, "sub-01", {}), why),), None, gives, uses)


def test_a_job_is_due_when_its_intermediate_results_are_read():
    done, reader = job("decode", None, "decoder/01"), job("draw", "new", uses=("decoder/01",))
    first, second = with_used([done, reader])
    assert first.is_due and "needed by draw" in first.stages[0].why
    assert second.stages == reader.stages
    assert not any(j.is_due for j in with_used([done, job("draw", None, uses=("decoder/01",))]))


def test_chains_of_intermediate_results():
    jobs = [job("a", None, "a/1"), job("b", None, "b/1", ("a/1",)), job("c", "new", "", ("b/1",))]
    assert all(j.is_due for j in with_used(jobs))
