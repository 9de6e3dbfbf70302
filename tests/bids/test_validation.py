"""The BIDS validator's errors become warnings."""

import shutil

import pytest

from bids_decoder.bids import validation
from bids_decoder.simulate.dataset import write_category_dataset


def test_errors_of_the_validator_are_warnings(tmp_path):
    if validation._find_program() is None:
        pytest.skip("bids-validator-deno is not installed")
    root = write_category_dataset(tmp_path / "data", n_participants=1, seed=1, n_runs=2)
    assert validation.validate(root) == []
    shutil.copy(root / "participants.tsv", root / "sub-01" / "strange.tsv")
    findings = validation.validate(root)
    assert findings and all(f.severity == "warning" for f in findings)
    assert any("NOT_INCLUDED" in f.what for f in findings)


def test_participants_that_the_own_checks_tell_are_not_told_again():
    issues = [{"severity": "error", "code": code, "location": "/participants.tsv"}
              for code in ("PARTICIPANT_ID_MISMATCH", "TSV_ERROR")]
    (finding,) = validation._findings(issues)
    assert "TSV_ERROR" in finding.what


def test_a_missing_validator_says_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(validation, "_find_program", lambda: None)
    assert validation.validate(tmp_path) == []


def test_a_broken_validator_is_said(tmp_path, monkeypatch):
    monkeypatch.setattr(validation, "_find_program", lambda: "/bin/true")
    (finding,) = validation.validate(tmp_path)
    assert finding.severity == "warning" and "did not finish" in finding.why
