"""Errors and findings: what happened, why, and how to fix it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from enum import IntEnum
from pathlib import Path
from typing import Literal


class ExitCode(IntEnum):
    """Exit codes of the BIDS-Apps execution specification and of ``sysexits.h``."""

    OK = 0, "everything planned is done"
    FAILURE = 1, "a failure without a code of its own; the log names the crash file"
    UNKNOWN_LEVEL = 17, "unknown analysis level: use participant, group, or both"
    NOTHING_SELECTED = 18, "the filters select nothing; the message lists the available values"
    USAGE = 64, "an option, or a combination of options, is wrong"
    BAD_DATA = 65, "data are present but cannot be used, as events after the end of a run"
    MISSING_INPUT = 66, "a required input is absent or unreadable, as files that DataLad must get"
    CANNOT_CREATE = 73, "an output cannot be created: the user may not write there"
    IO_ERROR = 74, "reading or writing failed, for instance on a full disk; call again"
    TRY_AGAIN = 75, "stopped for a temporary reason: the same command continues"

    meaning: str
    """What the code says, for documents."""

    def __new__(cls, value: int, meaning: str) -> ExitCode:
        """Keep the meaning beside the number."""
        code = int.__new__(cls, value)
        code._value_ = value
        code.meaning = meaning
        return code


_ANY = "\0"
"""Placeholder for the place in a text; it never occurs in a message."""


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
        The action or option that solves it.
    code : ExitCode
        The exit code if this finding stops the program.
    severity : {"error", "warning"}
        Warnings are logged and put into the report; errors stop the program.
    participant : str or None
        Label without ``sub-``, where the finding belongs to one participant.
    place : str or None
        The file, run or participant concerned, as written in *what*, where other files, runs or
        participants may have the same problem: :func:`summarise` joins findings that differ in it
        only. Default: ``sub-<participant>``.
    """

    what: str
    why: str
    fix: str
    code: ExitCode = ExitCode.BAD_DATA
    severity: Literal["error", "warning"] = "error"
    participant: str | None = None
    place: str | None = None

    def __str__(self) -> str:
        """Render as the three lines that a user reads."""
        return f"{self.what}\n    why: {self.why}\n    fix: {self.fix}"

    @property
    def concerned(self) -> str | None:
        """The place, or the participant where no place is named."""
        own = None if self.participant is None else f"sub-{self.participant}"
        return self.place or own

    def at_any_place(self, text: str) -> str:
        """Return *text*, which is *what* or *fix*, with a placeholder for the place."""
        return text if self.concerned is None else text.replace(self.concerned, _ANY)

    def record(self) -> dict[str, str | None]:
        """Return the entry of a warning in ``plan.json``."""
        return {"what": self.what, "why": self.why, "fix": self.fix,
                "participant": self.participant, "place": self.place}


def has_errors(findings: Iterable[Finding]) -> bool:
    """Return whether one of the findings stops the program."""
    return any(finding.severity == "error" for finding in findings)


MOST_SHOWN = 3
"""Number of places named where many have the same problem."""


def summarise(findings: Iterable[Finding], full_list: str) -> list[Finding]:
    """Join findings of the same kind, so that each kind is reported once.

    Parameters
    ----------
    findings : iterable of Finding
    full_list : str
        Where all of them are listed, for the reader of a joined finding.

    Returns
    -------
    list of Finding
        In the order of their first members. A joined one names the first places and counts
        the others.
    """
    kinds: dict[tuple[object, ...], list[Finding]] = {}
    met: Counter[tuple[object, ...]] = Counter()
    for finding in dict.fromkeys(findings):
        kind = (finding.at_any_place(finding.what), finding.at_any_place(finding.fix),
                finding.code, finding.severity)
        # Findings on one place, or without a place, are never joined with each other.
        met[kind, finding.concerned] += 1
        kinds.setdefault((kind, met[kind, finding.concerned]), []).append(finding)
    return [_joined(members, full_list) for members in kinds.values()]


def _joined(members: Sequence[Finding], full_list: str) -> Finding:
    first = members[0]
    if len(members) == 1:
        return first
    where = name_some([_short(str(member.concerned)) for member in members])
    what = first.at_any_place(first.what)
    what = what.replace(_ANY, where) if _ANY in what else f"{what} ({where})"
    rest = f"; all {len(members)}: {full_list}" if len(members) > MOST_SHOWN else ""
    return replace(
        first, what=what, why=_common(members, [f.why for f in members]),
        fix=_common(members, [f.fix for f in members]) + rest, participant=None, place=None,
    )


def _common(members: Sequence[Finding], texts: Sequence[str]) -> str:
    """Return the text that all have in common, or the first one as an example."""
    if len(set(texts)) == 1:
        return texts[0]
    return f"{texts[0]} ({_short(str(members[0].concerned))}; others differ)"


def _short(place: str) -> str:
    return Path(place).name if "/" in place else place


def name_some(names: Sequence[str], most: int = MOST_SHOWN) -> str:
    """Return the first names and how many more there are.

    Examples
    --------
    >>> name_some(["01", "02", "03", "04", "05"])
    '01, 02, 03 and 2 more'
    """
    more = f" and {len(names) - most:,} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


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

    @property
    def all_findings(self) -> tuple[Finding, ...]:
        """What it says: one finding, or several."""
        return (self.finding,)

    def __str__(self) -> str:
        """Render as the three lines that a user reads."""
        return self.render(full=False)

    def render(self, *, full: bool) -> str:
        """Return the text that a user reads; *full* matters where there are several problems."""
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


class MemoryLackError(BidsDecoderError):
    """The memory did not suffice, or a process was killed, most often for this reason.

    Parameters
    ----------
    what, why : str
        See :class:`Finding`.
    """

    def __init__(self, what: str, why: str) -> None:
        super().__init__(
            what, why, "give more memory (docker run --memory, sbatch --mem), or use less at a "
            "time: --nprocs 1, a lower --mem, --low-mem, or fewer participants; then run the same "
            "command again, it goes on where it stopped",
        )


@contextmanager
def explain_damage(what: str, why: str, fix: str) -> Iterator[None]:
    """Turn whatever a library raises while it reads a file into an error that says what to do.

    nibabel, NumPy, SciPy and Pillow do not wrap what zlib, XML parsers, unpacking and the file
    system raise, so that no list of kinds would be complete. Lack of memory is no fault of the
    file and passes, as do errors that say already what to do.

    Parameters
    ----------
    what, fix : str
        See :class:`Finding`.
    why : str
        What is wrong, as ``"is not readable as CIFTI"``; the reason of the library follows.

    Raises
    ------
    InputError
    """
    try:
        yield
    except (BidsDecoderError, MemoryError):
        raise
    except Exception as error:
        reason = str(error).strip().partition("\n")[0]
        raise InputError(
            what, f"{why}: {type(error).__name__}" + (f": {reason}" if reason else ""), fix,
        ) from error


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

    @property
    def all_findings(self) -> tuple[Finding, ...]:
        """The findings, warnings among them."""
        return self.findings

    def render(self, *, full: bool) -> str:
        """Return the errors as text; all of them with *full*, else one for each kind."""
        errors = list(dict.fromkeys(f for f in self.findings if f.severity == "error"))
        shown = errors if full else summarise(errors, "give -v")
        places = f", at {len(errors)} places," if len(shown) < len(errors) else ""
        lines = [f"{len(shown)} problem(s){places} stop this run; nothing was computed:"]
        lines += [f"[{i}] {f}" for i, f in enumerate(shown, start=1)]
        return "\n".join(lines)
