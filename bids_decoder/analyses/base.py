"""The contract of an analysis: what it needs, and the parts in which its code is found.

An analysis is one folder below ``bids_decoder/analyses``. Its ``__init__.py`` holds an
:class:`Analysis`; what it does is in modules of fixed names with functions of fixed names, each of
which may be absent:

========== ===================================================================================
module     functions
========== ===================================================================================
options    ``SECTION`` (a :class:`~bids_decoder.config.Section`), ``is_wanted(settings)``,
           ``add_options(parser)``, ``resolve(settings, notes)``
plan       ``read(study, notes)``, ``check_without_trials(study, notes)``,
           ``check(study, notes)``, ``jobs(study, notes, made)``, ``record(study)``
workflow   ``build(job, wiring)``
verdict    ``answer(results)``, ``worries(results)``
report     ``summary(results)``, ``sections(results)``, ``group_summary(results)``,
           ``group_sections(results)``, ``lines(results)``
methods    ``TEXTS``, ``PASSAGES``, ``steps(results)``, ``group_steps(results)``
========== ===================================================================================

A module is imported only when one of its functions is called, so that the command line knows all
options without importing what computes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Literal

from bids_decoder.config import Section, Settings

if TYPE_CHECKING:
    from argparse import ArgumentParser

    from bids_decoder.analyses.jobs import Job, Notes
    from bids_decoder.analyses.study import Study
    from bids_decoder.reports.blocks import Answer, Block, Worry
    from bids_decoder.reports.blocks import Section as ReportSection
    from bids_decoder.reports.results import Results
    from bids_decoder.workflows.wiring import Wiring

Level = Literal["participant", "group"]
Steps = dict[str, dict[str, Any]]
"""Name of a methods text -> what the text needs to know."""


@dataclass(frozen=True)
class Analysis:
    """One analysis, as the rest of the program knows it.

    Parameters
    ----------
    name : str
        Also the name of its folder.
    levels : tuple of {"participant", "group"}
        Levels at which it has something to do.
    stage : str
        Value of ``--stage`` that selects it.
    needs : tuple of str
        What other analyses must have made: names in their ``gives``.
    gives : tuple of str
        What it makes for others.
    reads_trials : bool
        Whether it works on trials; one that does not reads its data itself.
    is_alone : bool
        Whether it takes the place of all other analyses when it is wanted.
    replaces : tuple of str
        Stages whose analyses are left out of a call in which it is wanted.
    is_basis : bool
        Whether it is planned wherever trials are read, even if its stage is not part of the call:
        others must know what it has left.
    scores : bool
        Whether it goes beyond single-trial responses, so that the split must be sound.
    descriptions : mapping of str to str
        Labels of the ``desc`` entity that its outputs bear, and what they mean.
    """

    name: str
    levels: tuple[Level, ...]
    stage: str
    needs: tuple[str, ...] = ()
    gives: tuple[str, ...] = ()
    reads_trials: bool = True
    is_alone: bool = False
    replaces: tuple[str, ...] = ()
    is_basis: bool = False
    scores: bool = True
    descriptions: Mapping[str, str] = field(default_factory=dict)

    @property
    def section(self) -> type[Section] | None:
        """Class of its settings, if it has some of its own."""
        return self._find("options", "SECTION")

    def is_asked_for(self, settings: Settings) -> bool:
        """Return whether it is done only if options ask for it, and they do."""
        asked = self._find("options", "is_wanted")
        return asked is not None and asked(settings)

    def is_wanted(self, settings: Settings) -> bool:
        """Return whether the call runs this analysis: its level, its stage and its options.

        One that stands alone is wanted at every level, so that its plan can refuse a wrong one.
        """
        execution = settings.execution
        asked = self._find("options", "is_wanted")
        has_level = bool(set(self.levels) & set(execution.analysis_level)) or self.is_alone
        return has_level and execution.wants(self.stage) and (asked is None or asked(settings))

    def add_options(self, parser: ArgumentParser) -> None:
        """Add its options to the command line."""
        self._call("options", "add_options", parser)

    def resolve(self, settings: Settings, notes: Notes) -> Settings:
        """Return the settings with what its options imply for others."""
        return self._call("options", "resolve", settings, notes) or settings

    def read(self, study: Study, notes: Notes) -> Study:
        """Return the study with the data of an analysis that does not work on trials."""
        return self._call("plan", "read", study, notes) or study

    def check_without_trials(self, study: Study, notes: Notes) -> None:
        """Note problems that are seen without trials, where no trials are found.

        :meth:`check`, which notes them too, is not called then.
        """
        self._call("plan", "check_without_trials", study, notes)

    def check(self, study: Study, notes: Notes) -> None:
        """Note all problems that prevent it, before anything is computed."""
        self._call("plan", "check", study, notes)

    def jobs(self, study: Study, notes: Notes, made: Mapping[str, Job]) -> list[Job]:
        """Return its jobs, done or due.

        *made* holds those of the analyses before by what they give, or else by their name.
        """
        return self._call("plan", "jobs", study, notes, made) or []

    def record(self, study: Study) -> dict[str, Any]:
        """Return what it adds to ``plan.json``."""
        return self._call("plan", "record", study) or {}

    def build(self, job: Job, wiring: Wiring) -> None:
        """Add the nodes of one of its jobs to the workflow."""
        self._call("workflow", "build", job, wiring)

    def answer(self, results: Results) -> Answer | None:
        """Return its answer for the box at the top of a participant's report, if it has one."""
        return self._call("verdict", "answer", results)

    def worries(self, results: Results) -> list[Worry]:
        """Return what it found that speaks against believing the answers."""
        return self._call("verdict", "worries", results) or []

    def summary(self, results: Results) -> list[Block]:
        """Return its part of the summary of a participant's report."""
        return self._call("report", "summary", results) or []

    def sections(self, results: Results) -> list[ReportSection]:
        """Return its sections of a participant's report."""
        return self._call("report", "sections", results) or []

    def group_summary(self, results: Results) -> list[Block]:
        """Return its part of the summary of the group report."""
        return self._call("report", "group_summary", results) or []

    def group_sections(self, results: Results) -> list[ReportSection]:
        """Return its sections of the group report."""
        return self._call("report", "group_sections", results) or []

    def lines(self, results: Results) -> list[str]:
        """Return its main results of a participant, one line each."""
        return self._call("report", "lines", results) or []

    def steps(self, results: Results) -> Steps:
        """Return the methods texts that apply to a participant, by what is on disk."""
        return self._call("methods", "steps", results) or {}

    def group_steps(self, results: Results) -> Steps:
        """Return the methods texts that apply to the dataset, by what is on disk."""
        return self._call("methods", "group_steps", results) or {}

    @property
    def passages(self) -> dict[str, str]:
        """Methods texts that its folder holds itself, by name; others are in ``boilerplate``."""
        return self._find("methods", "PASSAGES") or {}

    @property
    def texts(self) -> dict[str, tuple[str, ...]]:
        """Its methods texts, in their order, by heading."""
        return self._find("methods", "TEXTS") or {}

    def _find(self, part: str, name: str) -> Any:
        module = f"bids_decoder.analyses.{self.name}.{part}"
        if find_spec(module) is None:
            return None
        return getattr(import_module(module), name, None)

    def _call(self, part: str, name: str, *arguments: Any) -> Any:
        function: Callable[..., Any] | None = self._find(part, name)
        return None if function is None else function(*arguments)


def in_order(analyses: Iterable[Analysis]) -> list[Analysis]:
    """Return analyses so that each comes after those whose results it needs.

    Parameters
    ----------
    analyses : iterable of Analysis
        Their order is kept where needs leave it open. A need that none of them gives is met from
        earlier calls or by the user.

    Examples
    --------
    >>> late = Analysis("late", ("group",), "late", needs=("model",))
    >>> early = Analysis("early", ("group",), "early", gives=("model",))
    >>> [analysis.name for analysis in in_order([late, early])]
    ['early', 'late']
    """
    left, placed = list(analyses), []
    while left:
        pending = {name for analysis in left for name in analysis.gives}
        ready = [a for a in left if not set(a.needs) & (pending - set(a.gives))]
        if not ready:
            names = ", ".join(analysis.name for analysis in left)
            raise ValueError(f"these analyses need each other: {names}")
        placed.append(ready[0])
        left.remove(ready[0])
    return placed
