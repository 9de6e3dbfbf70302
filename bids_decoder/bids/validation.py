"""Findings of the BIDS validator on the input, where it is installed."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

from bids_decoder.errors import ExitCode, Finding

PROGRAM = "bids-validator-deno"
SECONDS = 300

_TOLD_BY_PREFLIGHT = {"PARTICIPANT_ID_MISMATCH"}
"""Codes of what :func:`bids_decoder.bids.preflight.check_dataset` reports with all labels."""


def validate(root: Path) -> list[Finding]:
    """Run the BIDS validator on a dataset.

    Parameters
    ----------
    root : Path

    Returns
    -------
    list of Finding
        One warning per kind of error: what this program needs is checked elsewhere, and a file
        that breaks a rule may not be needed. Empty where the validator is not installed.
    """
    program = _find_program()
    if program is None:
        return []
    try:
        done = subprocess.run(
            [program, "--format", "json", str(root)], capture_output=True, text=True,
            timeout=SECONDS, check=False,
        )
        issues = json.loads(done.stdout)["issues"]["issues"]
    except (OSError, subprocess.TimeoutExpired, ValueError, KeyError) as error:
        return [Finding(
            f"BIDS validation of {root}", f"the validator did not finish: {error!r}",
            "run it by hand, or leave it out with --skip-bids-validation",
            ExitCode.BAD_DATA, "warning",
        )]
    return _findings(issues)


def _find_program() -> str | None:
    beside = Path(sys.executable).with_name(PROGRAM)
    return str(beside) if beside.is_file() else shutil.which(PROGRAM)


def _findings(issues: list[dict[str, Any]]) -> list[Finding]:
    errors = [
        issue for issue in issues
        if issue.get("severity") == "error" and issue.get("code") not in _TOLD_BY_PREFLIGHT
    ]
    counts = Counter(str(issue.get("code")) for issue in errors)
    first = {str(issue.get("code")): issue for issue in reversed(errors)}
    return [
        Finding(
            f"BIDS validator: {code}", f"{count} time(s), first in {first[code].get('location')}",
            "correct the dataset; the program stops only if it needs the file",
            ExitCode.BAD_DATA, "warning",
        )
        for code, count in counts.items()
    ]
