"""Command line: options named as in fMRIPrep, read into :class:`~bids_decoder.config.Settings`.

Each option carries the name of the setting it changes (``dest="group.field"``) and leaves no
trace when it is not given. So what is on the command line wins over ``--config-file``, and a
default never overrides the file.
"""

from __future__ import annotations

import argparse
import dataclasses
import difflib
import itertools
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Never

from bids_decoder.analyses.registry import analyses, section_kinds, stages_of_level
from bids_decoder.cli import groups
from bids_decoder.cli.trial_options import add_trials
from bids_decoder.config import LEVELS, Execution, Settings, default_settings
from bids_decoder.config_files import load_settings
from bids_decoder.errors import BidsDecoderError, ExitCode, Finding, FindingsError, UsageError
from bids_decoder.options import FIX_MARK, default_of, one_of, read_path
from bids_decoder.protocols import follow

_EXAMPLE = "call it as: bids_decoder BIDS_DIR OUTPUT_DIR participant [options]"

_CHOICE = re.compile(r"invalid choice: '(.*)' \(choose from (.*)\)")

_ALIKE = 0.77  # ratio of difflib from which a name may be meant by another one
_NEARLY_SAME = 0.9
_MOST_OFFERED = 3

RIVALS = (
    ("execution", "pretrained", "from_scratch"),
    ("execution", "holdout_label", "leave_one_out"),
    ("trials", "split_column", "test_runs"),
    ("trials", "split_column", "test_sessions"),
)
"""Settings of one group that exclude each other."""


@dataclass(frozen=True)
class Actions:
    """Actions beside or instead of computing; they are no settings of the analysis.

    Parameters
    ----------
    dry_run : bool
        Check everything, print the plan and stop.
    reports_only : bool
        Write the reports again from the results on disk.
    boilerplate_only : bool
        Write the methods text and stop.
    verbosity : int
        How often ``-v`` was given.
    log_format : {"text", "json"}
        Of messages on the screen and in the log file.
    demo : Path or None
        Folder of the demo: the dataset goes to ``demo/data``, results to
        ``demo/derivatives``.
    """

    dry_run: bool = False
    reports_only: bool = False
    boilerplate_only: bool = False
    verbosity: int = 0
    log_format: str = "text"
    demo: Path | None = None


def parse_args(argv: Sequence[str] | None = None) -> tuple[Settings, Actions]:
    """Read a command line.

    Parameters
    ----------
    argv : sequence of str or None
        The words after the program name; None takes them from the process.

    Returns
    -------
    Settings
        Defaults, changed by ``--config-file``, changed by the options. Paths given as options
        are absolute; the preflight checks whether they exist.
    Actions

    Raises
    ------
    UsageError
        With code 17 for an unknown level and 64 for everything else.
    FindingsError
        When several options are wrong: with all of them.
    SystemExit
        With 0, by ``--help`` and ``--version`` only.
    """
    words = list(sys.argv[1:] if argv is None else argv)
    given, problems = build_parser().parse_all(_with_demo(words))
    problems += _named_twice(given)
    tables = _nested(given)
    actions = Actions(**tables.pop("actions", {}))
    top = tables.pop("", {})
    problems += _resolve_rivals(tables)
    try:
        base = _base(given.get("config_file"))
        settings, against = follow(dataclasses.replace(base.replaced(**tables), **top))
        problems += against
        problems += _foreign_stages(settings.execution, given="stage" in tables["execution"])
    except BidsDecoderError as error:
        problems.append(error.finding)
    _raise(problems)
    return settings, actions


def _base(file: Path | None) -> Settings:
    kinds = section_kinds()
    return default_settings(kinds) if file is None else load_settings(file, kinds)


def _raise(problems: Sequence[Finding]) -> None:
    """Raise all problems with the options at once."""
    if len(problems) == 1:
        found = problems[0]
        raise UsageError(found.what, found.why, found.fix, found.code)
    if problems:
        raise FindingsError(problems)


def build_parser() -> argparse.ArgumentParser:
    """Build the parser; its ``--help`` is the reference of all options.

    Returns
    -------
    argparse.ArgumentParser
        Its ``error`` raises :class:`~bids_decoder.errors.UsageError` instead of exiting. Options
        that are not given leave no attribute.
    """
    parser = _Parser(
        prog="bids_decoder",
        usage="%(prog)s bids_dir output_dir {participant,group} [options]\n"
        "       %(prog)s --demo OUT [options]",
        description="Decode what participants saw or did from task fMRI.",
        epilog="Options may be written with - or with _ inside. Settings without an option are "
        "set with --config-file. Exit codes: 0 done, 1 failure, 17 level, 18 selection, 64 usage, "
        "65 bad data, 66 missing input, 73-75 output and temporary problems.",
        argument_default=argparse.SUPPRESS,
        allow_abbrev=False,
        add_help=False,
    )
    for add in (
        groups.add_positionals, groups.add_queries, add_trials, groups.add_performance,
        groups.add_subset, groups.add_workflow,
    ):
        add(parser)
    for analysis in analyses():
        analysis.add_options(parser)
    groups.add_other(parser)
    return parser


class _Parser(argparse.ArgumentParser):
    """Argparse that collects this program's errors and reads ``--task_id`` as ``--task-id``."""

    def parse_all(self, words: list[str]) -> tuple[dict[str, Any], list[Finding]]:
        """Read a command line to its end, whatever is wrong with it.

        Returns
        -------
        given : dict of str to object
            Values by ``dest``, without those that are wrong.
        problems : list of Finding

        Raises
        ------
        UsageError, FindingsError
            When positional arguments are missing.
        """
        problems: list[Finding] = []
        most_removed = 0
        while True:
            try:
                namespace, rest = self.parse_known_args(words)
            except UsageError as error:
                shorter = self._without(words, error.finding)
                # A list option that took the positional arguments is already reported.
                if shorter != words or most_removed < 3:
                    problems.append(error.finding)
                if shorter == words:
                    # Without its positional arguments the command line is not read further.
                    unknown = [word for word in words if self._is_unknown(word)]
                    _raise([*problems, *self._unknown(unknown)])
                most_removed = max(most_removed, len(words) - len(shorter))
                words = shorter
            else:
                return vars(namespace), [*problems, *self._unknown(rest)]

    def _without(self, words: list[str], problem: Finding) -> list[str]:
        """Return the command line without an option that is wrong, or with another level."""
        if problem.code == ExitCode.UNKNOWN_LEVEL:
            return [LEVELS[0] if f"{word!r}" in problem.what else word for word in words]
        flags = problem.what.split("/")
        for number, word in enumerate(words):
            flag, equals, _ = _hyphenated(word).partition("=")
            if flag in flags:
                n_values = 0 if equals else self._n_values(flag, words[number + 1:])
                return words[:number] + words[number + 1 + n_values:]
        return words

    def _n_values(self, flag: str, following: list[str]) -> int:
        nargs = self._option_string_actions[flag].nargs
        most = {None: 1, "?": 1, "+": len(following)}.get(nargs, 0)
        return len(list(itertools.takewhile(_is_value, following[:most])))

    def _is_unknown(self, word: str) -> bool:
        flag = _hyphenated(word).partition("=")[0]
        return flag.startswith("--") and flag not in self._option_string_actions

    def _unknown(self, rest: Sequence[str]) -> list[Finding]:
        """Report each option that does not exist, with the values that follow it."""
        groups: list[list[str]] = []
        for word in rest:
            if word.startswith("-") or not groups:
                groups.append([])
            groups[-1].append(word)
        return [
            Finding(" ".join(group), "not understood", self._suggestion(group[0]), ExitCode.USAGE)
            for group in groups
        ]

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        words = [_hyphenated(word) for word in (sys.argv[1:] if args is None else args)]
        return super().parse_known_args(words, namespace)

    def error(self, message: str) -> Never:
        why, _, fix = message.partition(FIX_MARK)
        what = "command line"
        if why.startswith("argument "):
            what, _, why = why.removeprefix("argument ").partition(": ")
        choice = _CHOICE.fullmatch(why)
        if choice:
            known = re.findall(r"[^\s',]+", choice[2])
            why, fix = f"'{choice[1]}' is none of its values", one_of(choice[1], known)
        if why in ("expected one argument", "expected at least one argument"):
            why, fix = "has no value", f"give it as {self._form(what.split('/')[-1])}"
        raise UsageError(what, why, fix or f"{_EXAMPLE}; bids_decoder --help lists all options")

    def _form(self, flag: str) -> str:
        """Return an option with what stands for its values in the help."""
        action = self._option_string_actions[flag]
        values = action.metavar or "|".join(map(str, action.choices or ["VALUE"]))
        return f"{flag} {values}" + (" ..." if action.nargs == "+" else "")

    def _suggestion(self, unknown: str) -> str:
        flag = re.match(r"-*([^\s=]*)", unknown)[1]
        near = _nearest(flag, [
            known.removeprefix("--") for known in self._option_string_actions
            if known.startswith("--")
        ])
        if near:
            return f"did you mean {' or '.join(f'--{name}' for name in near)}?"
        return f"{_EXAMPLE}; bids_decoder --help lists all options"


def _nearest(name: str, known: Sequence[str]) -> list[str]:
    """Return the known name that differs in a letter or two, else those with all words of a name.

    Where there is none either, the one that is spelled most alike, if it is alike enough.

    Examples
    --------
    >>> known = ["participant-label", "n-seeds", "random-seed", "help", "n-cpus"]
    >>> [_nearest(name, known) for name in ("seed", "partcipants", "alpha", "gpu")]
    [['random-seed'], ['participant-label'], [], []]
    """
    words = set(name.split("-"))
    having = [one for one in known if words <= set(one.split("-"))]
    # Many write the first word only, as --participant.
    likeness = {
        one: max(difflib.SequenceMatcher(None, name, part).ratio()
                 for part in (one, one.partition("-")[0]))
        for one in known
    }
    alike = [one for one in sorted(known, key=lambda one: -likeness[one])
             if likeness[one] >= _ALIKE]
    if alike and likeness[alike[0]] >= _NEARLY_SAME:
        return alike[:1]
    return having[:_MOST_OFFERED] or alike[:1]


def _is_value(word: str) -> bool:
    return not word.startswith("-") or re.match(r"-[\d.]", word) is not None


def _hyphenated(word: str) -> str:
    if not word.startswith("--"):
        return word
    flag, equals, value = word.partition("=")
    return flag.replace("_", "-") + equals + value


def _with_demo(words: list[str]) -> list[str]:
    """Turn ``--demo OUT`` into the call that it stands for."""
    finder = _Parser(add_help=False, allow_abbrev=False)
    finder.add_argument("--demo", type=read_path, metavar="OUT")
    demo = finder.parse_known_args(words)[0].demo
    if demo is None:
        return words
    if not words[0].startswith("-"):
        raise UsageError(
            f"--demo {demo}", f"makes its own dataset, but {words[0]!r} was given too",
            "give --demo without positional arguments",
        )
    return [str(demo / "data"), str(demo / "derivatives"), "group", "participant", *words]


def _nested(given: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Sort ``{"group.field": value}`` by group; lists become tuples, ``group.*`` is spread out."""
    groups: dict[str, dict[str, Any]] = {}
    for dest, value in given.items():
        if dest in ("config_file", "notrack"):
            continue
        group, _, name = dest.rpartition(".")
        fields = groups.setdefault(group, {})
        if name == "*":
            fields.update(value)
        elif dest == "execution.derivatives":
            fields[name] = dict(value)
        elif dest == "execution.analysis_level":
            fields[name] = tuple(value)
        else:
            fields[name] = tuple(dict.fromkeys(value)) if isinstance(value, list) else value
    return groups


def _named_twice(given: dict[str, Any]) -> list[Finding]:
    """Find names of derivatives that stand for two folders."""
    named: dict[str, Path] = {}
    return [
        Finding(
            "-d/--derivatives", f"the name {name!r} stands for {named[name]} and for {path}",
            "give each dataset a name of its own: -d NAME=PATH", ExitCode.USAGE,
        )
        for name, path in given.get("execution.derivatives", ())
        if named.setdefault(name, path) != path
    ]


def _resolve_rivals(groups: dict[str, dict[str, Any]]) -> list[Finding]:
    """Find rivals given together; one rival given alone resets the other one of the file."""
    given = {(group, name) for group, fields in groups.items() for name in fields}
    problems = []
    for group, first, second in RIVALS:
        both = {(group, first), (group, second)}
        if both <= given:
            flags = " and ".join("--" + name.replace("_", "-") for name in (first, second))
            problems.append(Finding(
                flags, "exclude each other", "give only one of them", ExitCode.USAGE,
            ))
        elif both & given:
            (_, reset), = both - given
            groups[group][reset] = default_of(f"{group}.{reset}")
    return problems


def _foreign_stages(execution: Execution, *, given: bool) -> list[Finding]:
    """Find stages that no level has; those of a file count only if none would be left."""
    known = {s for level in execution.analysis_level for s in stages_of_level(level)}
    foreign = [stage for stage in execution.stage if stage not in known]
    if foreign and (given or len(foreign) == len(execution.stage)):
        home = next(level for level in LEVELS if foreign[0] in stages_of_level(level))
        return [Finding(
            f"--stage {foreign[0]}",
            f"is no stage of the level {' '.join(execution.analysis_level)}",
            f"give the level {home}", ExitCode.USAGE,
        )]
    return []
