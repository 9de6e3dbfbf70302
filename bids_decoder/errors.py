"""One family of errors: each says what happened, why, and how to mend it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Literal


class ExitCode(IntEnum):
    """Exit codes of the BIDS-Apps execution specification and of ``sysexits.h``."""

    OK = 0
    FAILURE = 1
    UNKNOWN_LEVEL = 17
    NOTHING_SELECTED = 18
    USAGE = 64
    BAD_DATA = 65
    MISSING_INPUT = 66
    CANNOT_CREATE = 73
    IO_ERROR = 74
    TRY_AGAIN = 75


@dataclass(frozen=True)
class Finding:
    """One problem found in the input, the options or the machine.

    Parameters
    ----------
    what : str
        The thing concerned: participant, run, file, option.
    why : str
        The measured value against what was expected.
    fix : str
        The action or option that mends it.
    code : ExitCode
        The exit code if this finding stops the program.
    severity : {"error", "warning"}
        Warnings are logged and put into the report; errors stop the program.
    participant : str or None
        Label without ``sub-``, where the finding belongs to one person.
    """

    what: str
    why: str
    fix: str
    code: ExitCode = ExitCode.BAD_DATA
    severity: Literal["error", "warning"] = "error"
    participant: str | None = None

    def __str__(self) -> str:
        """Render as the three lines that a user reads."""
        return f"{self.what}\n    why: {self.why}\n    fix: {self.fix}"


class BidsDecoderError(Exception):
    """Base of all errors that the program raises on purpose.

    Parameters
    ----------
    what, why, fix : str
        See :class:`Finding`.
    code : ExitCode
        The exit code of the program if nothing catches the error.
    """

    code: ExitCode = ExitCode.FAILURE

    def __init__(
        self, what: str, why: str = "", fix: str = "", code: ExitCode | None = None
    ) -> None:
        super().__init__(what, why, fix, code)
        self.finding = Finding(what, why, fix, code or type(self).code)
        self.code = self.finding.code

    def __str__(self) -> str:
        """Render as the three lines that a user reads."""
        return str(self.finding)


class UsageError(BidsDecoderError):
    """An option or a combination of options is wrong."""

    code = ExitCode.USAGE


class InputError(BidsDecoderError):
    """The data are there but cannot be used."""

    code = ExitCode.BAD_DATA


class MissingInputError(BidsDecoderError):
    """Something that is needed is absent or unreadable."""

    code = ExitCode.MISSING_INPUT


class LeakageError(BidsDecoderError):
    """Test trials were about to enter a fit."""

    code = ExitCode.FAILURE


class FindingsError(BidsDecoderError):
    """Several findings at once, all reported before any computing.

    Parameters
    ----------
    findings : sequence of Finding
        At least one with severity ``"error"``; the first error's code becomes the exit code.
    """

    def __init__(self, findings: Sequence[Finding]) -> None:
        errors = [f for f in findings if f.severity == "error"]
        super().__init__(f"{len(errors)} problem(s) found", code=errors[0].code)
        self.findings = tuple(findings)

    def __str__(self) -> str:
        """Render all findings, errors first and numbered."""
        errors = [f for f in self.findings if f.severity == "error"]
        lines = [f"{len(errors)} problem(s) stop this run; nothing was computed:"]
        lines += [f"[{i}] {f}" for i, f in enumerate(errors, start=1)]
        return "\n".join(lines)
