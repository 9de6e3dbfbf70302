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
