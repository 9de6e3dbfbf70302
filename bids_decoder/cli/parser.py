"""The command line: options in fMRIPrep's words that become :class:`~bids_decoder.config.Settings`.

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
import typing
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, Never, TypeVar

from bids_decoder import __version__
from bids_decoder.config import (
    LEVELS,
    STAGES,
    Execution,
    Glm,
    Network,
    Reconstruction,
    Settings,
    TrialRules,
    load_settings,
)
from bids_decoder.errors import BidsDecoderError, ExitCode, Finding, FindingsError, UsageError

STAGES_OF_LEVEL = {"participant": ("prepare", "decode", "encode"), "group": ("prepare", "pretrain")}

_FIX = "\nfix: "
_EXAMPLE = "call it as: bids_decoder BIDS_DIR OUTPUT_DIR participant [options]"
_LABEL = re.compile(r"[0-9A-Za-z+]+")
_MEMORY = re.compile(r"(\d+\.?\d*|\.\d+)\s*(?:([KMGT])(I?)B?)?")
_BUDGET = re.compile(r"(\d+\.?\d*|\.\d+)\s*(vox|mm3)")
_DEVICE = re.compile(r"auto|cpu|cuda(:\d+)?")

_CHOICE = re.compile(r"invalid choice: '(.*)' \(choose from (.*)\)")

_RIVALS = (
    ("execution", "pretrained", "from_scratch"),
    ("execution", "holdout_label", "leave_one_out"),
    ("trials", "split_column", "test_runs"),
    ("trials", "split_column", "test_sessions"),
)
"""Settings of one group that exclude each other."""

_Number = TypeVar("_Number", int, float)


@dataclass(frozen=True)
class Actions:
    """What a call shall do beside or instead of computing; no setting of the analysis.

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
    demo : Path or None
        Folder of the demo: the dataset goes to ``demo/data``, results to
        ``demo/derivatives``.
    """

    dry_run: bool = False
    reports_only: bool = False
    boilerplate_only: bool = False
    verbosity: int = 0
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
        are absolute; whether they exist is for the preflight to say.
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
    groups = _nested(given)
    actions = Actions(**groups.pop("actions", {}))
    top = groups.pop("", {})
    problems += _resolve_rivals(groups)
    try:
        base = load_settings(given["config_file"]) if "config_file" in given else Settings()
        settings = dataclasses.replace(base.replaced(**groups), **top)
        problems += _foreign_stages(settings.execution, given="stage" in groups["execution"])
    except BidsDecoderError as error:
        problems.append(error.finding)
    _raise(problems)
    return settings, actions


def _raise(problems: Sequence[Finding]) -> None:
    """Raise what is wrong with the options, all at once."""
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
        description="Decode what people saw or did from task fMRI.",
        epilog="Options may be written with - or with _ inside. Settings without an option are "
        "set with --config-file. Exit codes: 0 done, 1 failure, 16-18 dataset, level or selection, "
        "64 usage, 65 bad data, 66 missing input, 73-75 output and temporary problems.",
        argument_default=argparse.SUPPRESS,
        allow_abbrev=False,
    )
    for add in (
        _add_positionals, _add_queries, _add_trials, _add_performance, _add_subset,
        _add_workflow, _add_glm, _add_decoding, _add_reconstruction, _add_encoding,
        _add_pretraining, _add_subjects, _add_other,
    ):
        add(parser)
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
                # A list that took the positional arguments has been told of.
                if shorter != words or most_removed < 3:
                    problems.append(error.finding)
                if shorter == words:
                    # Without its positional arguments a command line is read no further.
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
        most = {None: 1, "+": len(following)}.get(nargs, 0)
        return len(list(itertools.takewhile(_is_value, following[:most])))

    def _is_unknown(self, word: str) -> bool:
        flag = _hyphenated(word).partition("=")[0]
        return flag.startswith("--") and flag not in self._option_string_actions

    def _unknown(self, rest: Sequence[str]) -> list[Finding]:
        """Tell each option that does not exist, with what follows it."""
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
        why, _, fix = message.partition(_FIX)
        what = "command line"
        if why.startswith("argument "):
            what, _, why = why.removeprefix("argument ").partition(": ")
        choice = _CHOICE.fullmatch(why)
        if choice:
            known = re.findall(r"[^\s',]+", choice[2])
            why, fix = f"'{choice[1]}' is none of its values", _one_of(choice[1], known)
        raise UsageError(what, why, fix or f"{_EXAMPLE}; bids_decoder --help lists all options")

    def _suggestion(self, unknown: str) -> str:
        flag = re.match(r"[^\s=]*", unknown)[0]
        close = difflib.get_close_matches(flag, self._option_string_actions, n=1)
        if close:
            return f"did you mean {close[0]}?"
        return f"{_EXAMPLE}; bids_decoder --help lists all options"


def _is_value(word: str) -> bool:
    return not word.startswith("-") or re.match(r"-[\d.]", word) is not None


def _one_of(given: str, known: Sequence[str]) -> str:
    """Return the advice to give one of the known names, the nearest first."""
    close = difflib.get_close_matches(given.lower(), known, n=1, cutoff=0.7)
    return f"{f'did you mean {close[0]}? ' if close else ''}give one of: {', '.join(known)}"


def _hyphenated(word: str) -> str:
    if not word.startswith("--"):
        return word
    flag, equals, value = word.partition("=")
    return flag.replace("_", "-") + equals + value


def _with_demo(words: list[str]) -> list[str]:
    """Turn ``--demo OUT`` into the call that it stands for."""
    finder = _Parser(add_help=False, allow_abbrev=False)
    finder.add_argument("--demo", type=_path)
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
    for group, first, second in _RIVALS:
        both = {(group, first), (group, second)}
        if both <= given:
            flags = " and ".join("--" + name.replace("_", "-") for name in (first, second))
            problems.append(Finding(
                flags, "exclude each other", "give only one of them", ExitCode.USAGE,
            ))
        elif both & given:
            (_, reset), = both - given
            groups[group][reset] = _default(f"{group}.{reset}")
    return problems


def _foreign_stages(execution: Execution, *, given: bool) -> list[Finding]:
    """Find stages that no level has; those of a file count only if none would be left."""
    known = {stage for level in execution.analysis_level for stage in STAGES_OF_LEVEL[level]}
    foreign = [stage for stage in execution.stage if stage not in known]
    if foreign and (given or len(foreign) == len(execution.stage)):
        home = next(level for level in LEVELS if foreign[0] in STAGES_OF_LEVEL[level])
        return [Finding(
            f"--stage {foreign[0]}",
            f"is no stage of the level {' '.join(execution.analysis_level)}",
            f"give the level {home}", ExitCode.USAGE,
        )]
    return []


def _default(setting: str) -> Any:
    value: Any = Settings()
    for name in setting.split("."):
        value = getattr(value, name)
    return value


def _choices(kind: type, field: str) -> tuple[str, ...]:
    """Give the words that the settings allow for *field*."""
    return typing.get_args(typing.get_type_hints(kind)[field])


# ---------------------------------------------------------------------------- values of options


def _bad(why: str, fix: str) -> argparse.ArgumentTypeError:
    return argparse.ArgumentTypeError(why + _FIX + fix)


def _level(text: str) -> str:
    if text not in LEVELS:
        raise UsageError(
            f"analysis level {text!r}", "is unknown", f"give {' or '.join(LEVELS)}, or both",
            ExitCode.UNKNOWN_LEVEL,
        )
    return text


def _path(text: str) -> Path:
    if not text:
        raise _bad("the path is empty", "give a path, or leave the option out")
    return Path(text).expanduser().absolute()


def _pretrained(text: str) -> dict[str, Any]:
    """Read a path, or the word ``required``."""
    if text == "required":
        return {"pretrained": None, "require_pretrained": True}
    return {"pretrained": _path(text), "require_pretrained": False}


def _label(entity: str) -> Callable[[str], str]:
    """Read labels of one entity, with or without its prefix."""

    def read(text: str) -> str:
        label = text.removeprefix(f"{entity}-")
        if not _LABEL.fullmatch(label):
            raise _bad(
                f"{text!r} is no label: only letters, digits and + may be in one",
                f"give labels as 01 or {entity}-01, separated by spaces, after the positional "
                "arguments",
            )
        return label

    return read


def _dataset(text: str) -> tuple[str, Path]:
    """Read ``NAME=PATH``, or ``PATH``, which is named after its last folder."""
    name, equals, location = text.partition("=")
    if equals and name and "/" not in name:
        return name, _path(location)
    path = _path(text)
    return path.name, path


def _number(kind: type[_Number], minimum: _Number) -> Callable[[str], _Number]:
    """Read finite numbers of at least *minimum*."""

    def read(text: str) -> _Number:
        wanted = f"a {'whole ' if kind is int else ''}number of at least {minimum}"
        try:
            value = kind(text)
        except ValueError:
            value = None
        if value is None or not minimum <= value < float("inf"):
            raise _bad(f"{text!r} is not {wanted}", f"give {wanted}")
        return value

    return read


def _memory(text: str) -> float:
    """Read an amount of memory in GB (10**9 bytes).

    Examples
    --------
    >>> [_memory(text) for text in ("16G", "1.5g", "8000", "512MB", "1 GiB")]
    [16.0, 1.5, 8.0, 0.512, 1.073741824]
    """
    match = _MEMORY.fullmatch(text.strip().upper())
    if not match or float(match[1]) <= 0:
        raise _bad(
            f"{text!r} is no amount of memory",
            "give a number and a unit, as 16G or 1.5T or 800M; a bare number is in MB",
        )
    power = " KMGT".index(match[2] or "M")
    unit = 1024 if match[3] else 1000
    return float(match[1]) * unit**power / 1e9


def _permutations(text: str) -> dict[str, Any]:
    """Read a number of permutations, for fixed predictions and for refits.

    Examples
    --------
    >>> _permutations("20")
    {'n_permutations': 20, 'n_refits': 20}
    """
    if not text.strip().isdigit():
        raise _bad(f"{text!r} is no number of permutations", "give a whole number, as 100")
    return {"n_permutations": int(text), "n_refits": int(text)}


def _budget(text: str) -> dict[str, Any]:
    """Read the size of the voxel selection.

    Examples
    --------
    >>> _budget("17500mm3")
    {'budget_voxels': None, 'budget_mm3': 17500.0}
    """
    match = _BUDGET.fullmatch(text.strip().lower())
    value = float(match[1]) if match else 0.0
    whole = value.is_integer() or (match and match[2] == "mm3")
    if not match or value <= 0 or not whole:
        raise _bad(f"{text!r} is no size of a region", "give it as 3000vox or 17500mm3")
    if match[2] == "mm3":
        return {"budget_voxels": None, "budget_mm3": value}
    return {"budget_voxels": int(value), "budget_mm3": None}


def _device(text: str) -> str:
    if not _DEVICE.fullmatch(text):
        raise _bad(f"{text!r} is no device", "give auto, cpu, cuda, or cuda:0 for one of several")
    return text


def _registered(registry: str) -> Callable[[str], str]:
    """Read names of a registry, given as ``module:TABLE``; it is imported only for a name."""

    def read(text: str) -> str:
        module, _, table = registry.partition(":")
        known = getattr(import_module(f"bids_decoder.{module}"), table)
        if text not in known:
            raise _bad(f"{text!r} is not known", _one_of(text, list(known)))
        return text

    return read


def _encoder(text: str) -> str:
    from bids_decoder.stimuli.encoders import parse_encoder

    try:
        parse_encoder(text)
    except BidsDecoderError as error:
        raise _bad(f"{text!r} {error.finding.why}", error.finding.fix) from error
    return text


def _hrf(text: str) -> str:
    from bids_decoder.glm.hrf import get_hrf

    try:
        return get_hrf(text).name
    except BidsDecoderError as error:
        raise _bad(f"{text!r} {error.finding.why}", error.finding.fix) from error


# ------------------------------------------------------------------------------- groups of options


def _option(
    group: Any, *flags: str, dest: str, help: str, default: str | None = None, **kwargs: Any
) -> None:
    """Add an option for the setting *dest*, with the default in its help text."""
    plain = not kwargs.get("action") and not dest.endswith("*")
    if plain and "nargs" not in kwargs and "choices" not in kwargs:
        kwargs.setdefault("metavar", flags[-1].lstrip("-").replace("-", "_").upper())
    if default is None and "." in dest and plain:
        value = _default(dest)
        default = " ".join(value) if isinstance(value, tuple) else value
    shown = f" (default: {default})" if default not in (None, "", {}) else ""
    group.add_argument(
        *flags, dest=dest, help=(help + shown).replace("%", "%%"), default=argparse.SUPPRESS,
        **kwargs,
    )


def _several(
    group: Any, *flags: str, dest: str, help: str, metavar: str, **kwargs: Any
) -> None:
    """Add an option that takes one or more values and may be given again to add more."""
    _option(
        group, *flags, dest=dest, help=help, metavar=metavar, nargs="+", action="extend", **kwargs
    )


def _add_positionals(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "execution.bids_dir", metavar="bids_dir", type=_path,
        help="top folder of a BIDS dataset (with dataset_description.json); never written to",
    )
    parser.add_argument(
        "execution.output_dir", metavar="output_dir", type=_path,
        help="folder for the results (BIDS derivatives)",
    )
    parser.add_argument(
        "execution.analysis_level", metavar="{participant,group}", type=_level, nargs="+",
        help="what to run, in this order; participant: prepare the single-trial responses of each "
        "participant and decode them, from the pretrained model where there is one; group: prepare "
        "the source participants and pretrain on them",
    )


def _add_queries(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("Options for filtering BIDS queries")
    _several(
        group, "--participant-label", dest="execution.participant_label", type=_label("sub"),
        metavar="LABEL", help="participants, with or without sub- (default: all): at the level "
        "participant those to prepare and decode, at the level group those to pretrain on; at "
        "both, with --holdout-label those to pretrain on and decode, without it those to decode",
    )
    _several(
        group, "--session-id", "--session-label", dest="execution.session_id",
        type=_label("ses"), metavar="LABEL", help="sessions to use (default: all)",
    )
    _several(
        group, "-t", "--task-id", dest="execution.task_id", type=_label("task"), metavar="LABEL",
        help="tasks to use (default: all tasks with events)",
    )
    _several(
        group, "--run-id", dest="execution.run_id", type=_label("run"), metavar="LABEL",
        help="runs to use (default: all)",
    )
    _several(
        group, "--participant-filter", dest="execution.participant_filter", metavar="RULE",
        help="use only participants whose row of participants.tsv satisfies every rule, as "
        "'age>=18' 'group=control'; rules are those of --trial-filter",
    )
    _several(
        group, "--session-filter", dest="execution.session_filter", metavar="RULE",
        help="use only sessions whose row of sub-<label>_sessions.tsv satisfies every rule",
    )
    _option(
        group, "--bids-filter-file", dest="execution.bids_filter_file", type=_path,
        metavar="FILE", help="JSON file with PyBIDS filters for each kind of input",
    )
    _several(
        group, "-d", "--derivatives", dest="execution.derivatives", type=_dataset,
        metavar="[NAME=]PATH",
        help="datasets to take results from: fmriprep=PATH skips preprocessing, betas=PATH takes "
        "existing single-trial responses; without NAME the last folder of PATH is the name",
    )
    _option(
        group, "--bids-database-dir", dest="execution.bids_database_dir", type=_path,
        metavar="FOLDER", help="PyBIDS index to reuse, or to make if it is absent",
    )
    _option(
        group, "--skip-bids-validation", dest="execution.skip_bids_validation",
        action="store_true", help="do not check the dataset against the BIDS rules",
    )


def _add_trials(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("Specific options for trials, stimuli and the split")
    _option(
        group, "--target", dest="trials.target", choices=_choices(TrialRules, "target"),
        help="what is decoded",
    )
    _option(
        group, "--stimulus-column", dest="trials.stimulus_column", metavar="NAME",
        help="column of the events files that identifies the stimulus (default: the first of "
        "stim_id, stim_file, stimulus_name, file_path, ImgName, trial_type that is there)",
    )
    _option(
        group, "--label-column", dest="trials.label_column", metavar="NAME",
        help="column with the category that is decoded (default: trial_type if it has two or more "
        "levels, else the stimulus)",
    )
    _several(
        group, "--trial-filter", dest="trials.trial_filter", metavar="RULE",
        help="keep only rows that satisfy every rule: column=a|b, column!=a, or with numbers "
        "column>0.5, column<=2 and the like; n/a stands for a missing cell; put rules in quotes",
    )
    _several(
        group, "--relabel", dest="trials.relabel", metavar="OLD=NEW",
        help="rename labels or stimuli: Face=face; 'shoe|boot=footwear' joins several, rest= "
        "leaves the rows out",
    )
    _option(
        group, "--trial-unit", dest="trials.trial_unit",
        choices=_choices(TrialRules, "trial_unit"),
        help="a trial is one event, or one block of consecutive events of one condition",
    )
    _option(
        group, "--features", dest="trials.features", type=_path, metavar="FILE",
        help="TSV, npz or safetensors with one vector per stimulus, to decode instead of images",
    )
    _option(
        group, "--stimuli-dir", dest="trials.stimuli_dir", type=_path, metavar="FOLDER",
        help="where the stimulus images are (default: stimuli/ of the dataset)",
    )
    _option(
        group, "--image-encoder", dest="trials.image_encoder", metavar="NAME", type=_encoder,
        help="what turns images into vectors: gabor, clip, transformers, torchvision, timm, "
        "open_clip (all but gabor need --encoder-weights; clip:tokens and transformers:tokens give "
        "all tokens; the last three want an architecture, as timm:resnet50)",
    )
    _option(
        group, "--encoder-weights", dest="trials.encoder_weights", type=_path, metavar="PATH",
        help="folder or file with the weights of the image encoder, safetensors only; nothing is "
        "fetched at run time",
    )
    _option(
        group, "--gallery", dest="trials.gallery", type=_path, metavar="FOLDER",
        help="more images among which what was seen is sought, besides the test stimuli",
    )
    _option(
        group, "--near-duplicates", dest="trials.near_duplicates",
        choices=_choices(TrialRules, "near_duplicates"),
        help="what stimuli that are nearly the same lead to, as rescaled or re-encoded copies of a "
        "picture: they are reported, made one stimulus, or stop the program when one is trained "
        "on and the other one tested; equal ones are one stimulus always",
    )
    _several(
        group, "--test-runs", dest="trials.test_runs", type=_label("run"), metavar="LABEL",
        help="runs held out for testing, with --test-sessions only those in them (default: decided "
        "from the dataset, see plan.json)",
    )
    _several(
        group, "--test-sessions", dest="trials.test_sessions", type=_label("ses"),
        metavar="LABEL", help="sessions held out for testing",
    )
    _option(
        group, "--split-column", dest="trials.split_column", metavar="NAME",
        help="column of the events files that says train or test",
    )


def _add_performance(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("Options to handle performance")
    _option(
        group, "--nprocs", "--nthreads", "--n-cpus", dest="resources.nprocs",
        type=_number(int, 1), metavar="N", default="what the process may use",
        help="threads over all processes",
    )
    _option(
        group, "--omp-nthreads", dest="resources.omp_nthreads", type=_number(int, 1), metavar="N",
        default="1", help="threads of one process",
    )
    _option(
        group, "--mem", "--mem-mb", dest="resources.mem_gb", type=_memory, metavar="SIZE",
        default="what the process may use",
        help="upper bound of memory, with unit K, M, G or T; a bare number is in MB",
    )
    _option(
        group, "--low-mem", dest="resources.low_mem", action="store_true",
        help="need less memory, at the price of time and of space in the work folder",
    )
    _option(
        group, "--device", dest="resources.device", type=_device, metavar="auto|cpu|cuda[:N]",
        help="where networks are trained; cuda without a usable GPU is an error",
    )
    _option(
        group, "--use-plugin", "--nipype-plugin-file", dest="resources.plugin_file", type=_path,
        metavar="FILE", help="YAML file with Nipype plugin settings (SLURM, SGE, PBS, LSF, ...)",
    )


def _add_subset(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("Options for performing only a subset of the workflow")
    only = group.add_mutually_exclusive_group()
    _option(
        only, "--dry-run", dest="actions.dry_run", action="store_true",
        help="check everything, print the plan, compute nothing",
    )
    _option(
        only, "--reports-only", dest="actions.reports_only", action="store_true",
        help="write the reports again from existing results",
    )
    _option(
        only, "--boilerplate-only", dest="actions.boilerplate_only", action="store_true",
        help="write the methods text and stop",
    )
    _several(
        group, "--stage", dest="execution.stage", choices=STAGES, metavar="STAGE",
        help=f"run only these stages: {', '.join(STAGES)} (default: all that the level has)",
    )


def _add_workflow(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("Workflow configuration")
    _several(
        group, "--output-spaces", dest="preprocessing.output_spaces", metavar="SPACE",
        help="spaces of preprocessed BOLD (default: func); responses are estimated and decoded in "
        "the first, those of derivatives in the first that all their runs have",
    )
    _several(
        group, "--ignore", dest="preprocessing.ignore", choices=("slicetiming", "fieldmaps"),
        metavar="STEP", help="what to disregard: slicetiming leaves this correction out, fieldmaps "
        "silences the warning that they are not used",
    )
    _option(
        group, "--dummy-scans", dest="preprocessing.dummy_scans", type=_number(int, 0),
        metavar="N", help="non-steady-state volumes at the start of each run (default: detected)",
    )
    _option(
        group, "--discarded-volumes", dest="preprocessing.discarded_volumes",
        type=_number(int, 0), metavar="N", default="what the sidecars say",
        help="volumes that preprocessed runs lack at their start, compared with the raw runs; "
        "onsets are shifted by as much",
    )
    _option(
        group, "--random-seed", dest="random_seed", type=_number(int, 0), metavar="SEED",
        default=str(Settings().random_seed), help="seed of everything that is drawn at random",
    )


def _add_glm(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("Specific options for the single-trial GLM")
    _option(
        group, "--betas", dest="glm.estimator", metavar="NAME",
        type=_registered("glm.estimators:ESTIMATORS"),
        help="estimator of the response to each trial: ridge, lss, lsa, glmsingle, volume",
    )
    _option(
        group, "--hrf", dest="glm.hrf", type=_hrf, metavar="MODEL",
        help="haemodynamic response: spm, glover, or library01 to library20",
    )
    _option(
        group, "--high-pass", dest="glm.high_pass", type=_number(float, 0.0), metavar="HZ",
        help="cut-off of the drift model in Hz; 0 for no drift model",
    )
    _option(
        group, "--confounds", dest="glm.confounds", choices=_choices(Glm, "confounds"),
        help="nuisance regressors",
    )
    _several(
        group, "--contrasts", dest="glm.contrasts", metavar="EXPRESSION",
        help="contrasts of conditions to map, as 'face - house'",
    )


def _add_decoding(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("Specific options for decoding")
    _option(
        group, "--decoder", dest="network.decoder", metavar="NAME",
        type=_registered("training.decoders:DECODERS"), help="the decoder: troi, deeplight, cnn3d",
    )
    _option(
        group, "--trunk", dest="network.trunk", choices=_choices(Network, "trunk"),
        help="part of the network that all participants share",
    )
    _option(
        group, "--hidden", dest="network.hidden", type=_number(int, 1), metavar="N",
        default="decided from the data", help="width of the shared part of the network",
    )
    _option(
        group, "--n-seeds", dest="network.n_seeds", type=_number(int, 1), metavar="N",
        help="fit the decoder under so many seeds and average the predictions; voxels are those "
        "that most seeds choose",
    )
    _option(
        group, "--precision", dest="network.precision", choices=_choices(Network, "precision"),
        help="numbers that the network is trained with: bf16-mixed is faster on recent GPUs",
    )
    _option(
        group, "--troi", dest="troi.selector", metavar="NAME",
        type=_registered("training.selectors:SELECTORS"),
        help="how voxels are selected: graded, troi-budget, encoding, soft, random, all, paper, "
        "paper-guarded, group-lasso, hard-concrete, univariate, ridge-norm",
    )
    _option(
        group, "--budget", dest="troi.*", type=_budget, metavar="SIZE",
        default="chosen on the training trials",
        help="size of the selection, as 3000vox or 17500mm3",
    )
    _option(
        group, "--region", dest="troi.region", metavar="REGION",
        help="where voxels may be selected: brain, occipital, or a mask image",
    )
    _option(
        group, "--n-permutations", dest="evaluation.*", type=_permutations, metavar="N",
        default="1000 on one test set, 100 where cross-validation is fitted again each time",
        help="permutations of the labels behind each p value; 0 leaves p values under "
        "cross-validation out",
    )
    _option(
        group, "--ablations", dest="evaluation.ablations", action="store_true",
        help="also decode without each part: pretraining, prior of the group, selection, low-pass "
        "filter, second stage; takes several times as long",
    )


def _add_encoding(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("Specific options for encoding models")
    _option(
        group, "--encoder", dest="encoding.encoder", metavar="NAME",
        type=_registered("training.encoders:ENCODERS"),
        help="also predict the responses of the region's voxels from the stimuli with this "
        "encoder: etecrm, ridge, etecrm-plain, twostep-selective, twostep-plain (default: none)",
    )


def _add_reconstruction(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("Specific options for reconstructing what was seen")
    _option(
        group, "--reconstruction", dest="reconstruction.method",
        choices=_choices(Reconstruction, "method"),
        help="how images are made: ridge paints a coarse image from the voxels and needs no "
        "weights; unclip generates one from the decoded vector; auto: ridge where images are "
        "decoded (default: auto)",
    )
    _option(
        group, "--reconstruction-weights", dest="reconstruction.weights", type=_path,
        metavar="FOLDER", help="unCLIP pipeline of diffusers, safetensors only, for unclip",
    )
    _option(
        group, "--metric-weights", dest="reconstruction.metric_weights", type=_path,
        metavar="FOLDER", help="networks by which reconstructions are scored besides pixels: "
        "alexnet, inception_v3, efficientnet_b1, swav_resnet50 (.safetensors), clip (folder)",
    )
    _option(
        group, "--prior", dest="network.prior", choices=_choices(Network, "prior"),
        help="what turns the decoded vector into that of an image, to generate from: regression "
        "shrinks it, diffusion draws one (default: none; regression with unclip)",
    )


def _add_pretraining(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("Specific options for cross-subject pretraining")
    _several(
        group, "--holdout-label", dest="execution.holdout_label", type=_label("sub"),
        metavar="LABEL", help="participants that pretraining must not see",
    )
    _option(
        group, "--leave-one-out", dest="execution.leave_one_out", action="store_true",
        help="pretrain one model per participant, on all the others",
    )
    _option(
        group, "--pretrained", dest="execution.*", type=_pretrained, metavar="PATH|required",
        help="pretrained model to start from, or the folder of results that holds it (default: the "
        "one in output_dir if there is one); required: stop where there is none",
    )
    _option(
        group, "--from-scratch", dest="execution.from_scratch", action="store_true",
        help="decode without a pretrained model even where there is one",
    )
    _option(
        group, "--allow-seen", dest="execution.allow_seen", action="store_true",
        help="decode participants or test stimuli that the pretrained model saw; every output "
        "then says so",
    )


def _add_subjects(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("Options for one volume per person (--decoder cnn3d)")
    _option(
        group, "--subject-label", dest="subjects.label_column", metavar="COLUMN",
        help="column of participants.tsv with the label of each person; turns this analysis on",
    )
    _option(
        group, "--subject-image", dest="subjects.image", metavar="SUFFIX",
        help="suffix of the images (default: the first of pet, statmap, T1w that is there)",
    )
    _several(
        group, "--external-label", dest="subjects.external", metavar="LABEL",
        type=str, help="labels that are in no fit and no fold, and only scored",
    )
    _option(
        group, "--site-column", dest="subjects.site_column", metavar="COLUMN",
        help="column of participants.tsv with the site, to warn when it tells the label",
    )
    _several(
        group, "--backbone", dest="subjects.backbones", metavar="FOLDER", type=str,
        help="vision models to compare with, frozen, from local folders; random-resnet50 stands "
        "in for one without weights",
    )


def _add_other(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("Other options")
    _option(
        group, "-w", "--work-dir", dest="execution.work_dir", type=_path, metavar="FOLDER",
        help="folder for intermediate files",
    )
    _option(
        group, "--clean-workdir", dest="execution.clean_workdir", action="store_true",
        help="empty the work folder first",
    )
    _option(
        group, "--config-file", dest="config_file", type=_path, metavar="FILE",
        help="settings of an earlier run (settings.toml below logs/); options given here win",
    )
    _option(
        group, "--stop-on-first-crash", dest="execution.stop_on_first_crash",
        action="store_true", help="stop everything when one participant fails",
    )
    _option(
        group, "--write-graph", dest="execution.write_graph", action="store_true",
        help="draw the workflow (needs Graphviz)",
    )
    _option(
        group, "--demo", dest="actions.demo", type=_path, metavar="OUT",
        default="", help="make a small dataset in OUT/data, run group and participant on it, write "
        "OUT/derivatives; takes no positional arguments",
    )
    _option(
        group, "--notrack", dest="notrack", action="store_true",
        help="accepted so that fMRIPrep command lines run; nothing is ever tracked",
    )
    _option(
        group, "-v", "--verbose", dest="actions.verbosity", action="count",
        help="say more; twice for debugging",
    )
    group.add_argument("--version", action="version", version=f"%(prog)s {__version__}")
