"""Command line: options named as in fMRIPrep, read into :class:`~bids_decoder.config.Settings`.

Each option carries the name of the setting it changes (``dest="group.field"``) and leaves no
trace when it is not given. So what is on the command line wins over ``--config-file``, and a
default never overrides the file.
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bids_decoder.analyses.registry import analyses, section_kinds, stages_of_level
from bids_decoder.cli import groups
from bids_decoder.cli.collecting_parser import CollectingParser, as_error
from bids_decoder.cli.trial_options import add_trials
from bids_decoder.config import LEVELS, Execution, Settings, default_settings
from bids_decoder.config_files import load_settings
from bids_decoder.errors import BidsDecoderError, ExitCode, Finding, UsageError
from bids_decoder.options import default_of, read_path
from bids_decoder.protocols import follow

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
    settings, actions, problems = read_command_line(argv)
    if problems:
        raise as_error(problems)
    return settings, actions


def read_command_line(
    argv: Sequence[str] | None = None,
) -> tuple[Settings, Actions, list[Finding]]:
    """Read a command line as far as it is right.

    Parameters
    ----------
    argv : sequence of str or None
        See :func:`parse_args`.

    Returns
    -------
    settings : Settings
        Options that are wrong are left out.
    actions : Actions
    problems : list of Finding

    Raises
    ------
    UsageError, FindingsError
        Where no settings are left: positional arguments are missing, or the settings file is
        wrong.
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
    except BidsDecoderError as error:
        raise as_error([*problems, error.finding]) from error
    problems += against
    foreign = _foreign_stages(settings.execution, given="stage" in tables["execution"])
    if foreign:
        problems += foreign
        settings = settings.replaced(execution={"stage": default_of("execution.stage")})
    return settings, actions, problems


def _base(file: Path | None) -> Settings:
    kinds = section_kinds()
    return default_settings(kinds) if file is None else load_settings(file, kinds)


def build_parser() -> argparse.ArgumentParser:
    """Build the parser; its ``--help`` is the reference of all options.

    Returns
    -------
    argparse.ArgumentParser
        Its ``error`` raises :class:`~bids_decoder.errors.UsageError` instead of exiting. Options
        that are not given leave no attribute.
    """
    parser = CollectingParser(
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


def _with_demo(words: list[str]) -> list[str]:
    """Turn ``--demo OUT`` into the call that it stands for."""
    finder = CollectingParser(add_help=False, allow_abbrev=False)
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
            del groups[group][first], groups[group][second]
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
