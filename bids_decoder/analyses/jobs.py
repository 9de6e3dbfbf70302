"""What planning passes on: stages, jobs, and what it found out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from bids_decoder.errors import BidsDecoderError, Finding, FindingsError, has_errors

if TYPE_CHECKING:
    from bids_decoder.markers import StageKey
    from bids_decoder.trials import Decision


@dataclass(frozen=True)
class Stage:
    """One stage of one participant or of the group: done, or still to do.

    Parameters
    ----------
    key : StageKey
    why : str or None
        Why it has to run; None when it is done.
    wanted : bool
        False when the call leaves it out, for instance with ``--stage``.
    locks : bool
        Whether no other call may work on the same unit at the same time. False for a stage
        that several calls of a job array may come to: the last one counts.
    """

    key: StageKey
    why: str | None
    wanted: bool = True
    locks: bool = True

    @property
    def is_due(self) -> bool:
        """True when this call runs it."""
        return self.wanted and self.why is not None


@dataclass(frozen=True, eq=False)
class Job:
    """What an analysis has to do for one participant or for the group.

    Parameters
    ----------
    name : str
        Name of the sub-workflow: letters, digits and underscores.
    analysis : str
    stages : tuple of Stage
        Almost always one.
    spec : object
        What the analysis' builder needs to know, of any type.
    gives : str
        Name under which other jobs find it, as ``decoder/01``.
    uses : tuple of str
        Such names, of jobs whose intermediate results it reads: they run again where this one is
        due.
    card : mapping
        What is known of the result before it is made, for the jobs that build on it.
    """

    name: str
    analysis: str
    stages: tuple[Stage, ...]
    spec: Any = None
    gives: str = ""
    uses: tuple[str, ...] = ()
    card: Mapping[str, Any] = field(default_factory=dict)

    @property
    def key(self) -> StageKey:
        """Key of the only stage."""
        (stage,) = self.stages
        return stage.key

    @property
    def is_due(self) -> bool:
        """True when one of its stages is."""
        return any(stage.is_due for stage in self.stages)


@dataclass(frozen=True)
class Step:
    """One line of the printed plan."""

    unit: str
    stage: str
    todo: bool
    why: str
    locks: bool = True


@dataclass
class Notes:
    """What planning found out: problems, decisions, and what is left out with the reason."""

    findings: list[Finding] = field(default_factory=list)
    decisions: list[Decision] = field(default_factory=list)
    skipped: list[Step] = field(default_factory=list)

    def skip(self, unit: str, stage: str, why: str) -> None:
        """Note that a stage is left out."""
        self.skipped.append(Step(unit, stage, False, why))

    @contextmanager
    def noting_errors(self) -> Iterator[None]:
        """Note an error that ends a check or a reader, so that it hides no other problem."""
        try:
            yield
        except BidsDecoderError as error:
            self.findings += [one for one in error.all_findings if one not in self.findings]

    def stop_if_errors(self) -> None:
        """Raise all findings at once when one of them is an error.

        Raises
        ------
        FindingsError
        """
        if has_errors(self.findings):
            raise FindingsError(list(dict.fromkeys(self.findings)))
