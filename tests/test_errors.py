import pytest

from bids_decoder.errors import (
    BidsDecoderError,
    ExitCode,
    Finding,
    FindingsError,
    InputError,
    LeakageError,
    MissingInputError,
    UsageError,
    explain_damage,
    summarise,
)


def test_codes_are_those_of_the_specification():
    assert {code.name: int(code) for code in ExitCode} == {
        "OK": 0, "FAILURE": 1, "UNKNOWN_LEVEL": 17,
        "NOTHING_SELECTED": 18, "USAGE": 64, "BAD_DATA": 65, "MISSING_INPUT": 66,
        "CANNOT_CREATE": 73, "IO_ERROR": 74, "TRY_AGAIN": 75,
    }


@pytest.mark.parametrize(("kind", "code"), [
    (BidsDecoderError, 1), (UsageError, 64), (InputError, 65), (MissingInputError, 66),
    (LeakageError, 1),
])
def test_each_error_has_a_code(kind, code):
    error = kind("thing", "broken", "mend it")
    assert error.code == error.finding.code == code
    assert str(error) == "thing\n    why: broken\n    fix: mend it"
    assert kind("thing", "broken", "mend it", ExitCode.IO_ERROR).code == 74


@pytest.mark.parametrize(("raised", "why"), [
    (OSError("no header\nsecond line"), "is no image: OSError: no header"),
    (EOFError(), "is no image: EOFError"),
])
def test_damage_is_told_with_the_reason_of_the_library(raised, why):
    with pytest.raises(InputError) as caught, explain_damage("a.nii", "is no image", "copy it"):
        raise raised
    assert caught.value.finding == Finding("a.nii", why, "copy it")
    assert caught.value.__cause__ is raised


@pytest.mark.parametrize("error", [MemoryError("40 GiB"), UsageError("a", "b", "c")])
def test_lack_of_memory_and_what_is_explained_already_pass(error):
    with pytest.raises(type(error)) as caught, explain_damage("a.nii", "is no image", "copy it"):
        raise error
    assert caught.value is error


def test_findings_are_told_together_without_warnings():
    findings = [
        Finding("small", "odd", "look", severity="warning"),
        Finding("first", "bad", "mend", ExitCode.MISSING_INPUT),
        Finding("second", "worse", "mend", ExitCode.BAD_DATA),
    ]
    error = FindingsError(findings)
    assert error.code == 66
    assert str(error).splitlines() == [
        "2 problem(s) stop this run; nothing was computed:",
        "[1] first", "    why: bad", "    fix: mend",
        "[2] second", "    why: worse", "    fix: mend",
    ]
    assert error.findings == tuple(findings)


def test_warnings_alone_are_no_error():
    with pytest.raises(IndexError):
        FindingsError([Finding("small", "odd", "look", severity="warning")])


def test_errors_survive_the_way_between_processes():
    import pickle

    error = pickle.loads(pickle.dumps(InputError("thing", "broken", "mend it")))
    assert (str(error), error.code) == ("thing\n    why: broken\n    fix: mend it", 65)


def absurd_times(n, severity="warning"):
    return [
        Finding(f"RepetitionTime of /data/sub-{k:05d}_bold.nii.gz", f"the sidecar says {k} s",
                "correct it", severity=severity, participant=f"{k:05d}",
                place=f"/data/sub-{k:05d}_bold.nii.gz")
        for k in range(1, n + 1)
    ]


def test_one_kind_in_many_runs_is_told_once():
    alone = Finding("something else", "odd", "look", severity="warning")
    first, second = summarise([*absurd_times(10_000), alone], "OUT/plan.json")
    assert second == alone
    assert first.what == (
        "RepetitionTime of sub-00001_bold.nii.gz, sub-00002_bold.nii.gz, sub-00003_bold.nii.gz "
        "and 9,997 more"
    )
    assert first.why == "the sidecar says 1 s (sub-00001_bold.nii.gz; others differ)"
    assert first.fix == "correct it; all 10000: OUT/plan.json"


def test_participants_are_joined_where_no_other_place_is_named():
    found = [Finding(f"sub-{k}: no trials", "all left out", f"see sub-{k}", participant=k)
             for k in ("01", "02")]
    (joined,) = summarise(found, "list")
    assert (joined.what, joined.why) == ("sub-01, sub-02: no trials", "all left out")
    assert joined.fix == "see sub-01 (sub-01; others differ)"


def test_different_problems_are_never_joined():
    one_place = [Finding("time of a", why, "mend", place="a") for why in ("long", "short")]
    no_place = [Finding("options", why, "mend") for why in ("wrong", "missing")]
    kinds = [Finding("run 1", "x", "mend", place="run 1", code=code) for code in (65, 66)]
    every = [*one_place, *no_place, *kinds]
    assert summarise(every, "list") == every
    assert summarise([*every, *every], "list") == every


def test_errors_of_one_kind_are_one_problem_unless_all_are_wanted():
    error = FindingsError(absurd_times(5000, "error"))
    assert len(str(error).splitlines()) == 4 and "1 problem(s), at 5000 places, stop" in str(error)
    assert len(error.render(full=True).splitlines()) == 1 + 3 * 5000
