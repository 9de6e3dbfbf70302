"""Echoes of multi-echo runs, joined into one run each."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from importlib.util import find_spec
from itertools import pairwise

from bids_decoder.bids.dataset import BoldRun, Echo, Participant, Source
from bids_decoder.bids.echo_settings import MultiEcho
from bids_decoder.bids.image_checks import check_run
from bids_decoder.bids.images import grids_agree, read_header
from bids_decoder.bids.layouts import bare_label, natural_key
from bids_decoder.bids.notes import DatasetNotes
from bids_decoder.bids.run_names import identity
from bids_decoder.errors import BidsDecoderError, ExitCode, Finding, name_some

MIN_ECHOES = 3
"""Echoes that a fit of T2* needs."""

MAX_ECHO_TIME = 1.0
"""Seconds above which an echo time is taken to be in milliseconds."""


def join_echoes(
    runs: Sequence[BoldRun], rules: MultiEcho, source: Source, notes: DatasetNotes
) -> list[BoldRun]:
    """Join the echoes of each run, or choose one of them.

    Parameters
    ----------
    runs : sequence of BoldRun
        One for each image.
    rules : MultiEcho
    source : {"raw", "fmriprep", "betas"}
        Only echoes of raw data are combined.
    notes : DatasetNotes
        Gets what was decided, and findings on echoes that cannot be combined.

    Returns
    -------
    list of BoldRun
        One for each run. Where an image of all echoes exists, it is used instead of them.
    """
    groups: dict[str, list[BoldRun]] = defaultdict(list)
    for run in runs:
        groups[identity(_without_echo(run))].append(run)
    expected = _expected(groups.values())
    several = {
        name: members for name, members in groups.items()
        if len(members) > 1 or len(expected[_protocol(members[0])]) > 1
    }
    several = {
        name: members for name, members in several.items()
        if any("echo" in run.entities for run in members)
    }
    if rules.echo is not None:
        chosen = _choose(several, str(rules.echo), notes)
    elif source != "raw":
        chosen = _combined_elsewhere(several, notes)
    else:
        chosen = _join(several, expected, notes)
    return [
        run for name, members in groups.items() for run in chosen.get(name, members)
    ]


def without_combined_echoes(runs: Sequence[BoldRun]) -> list[BoldRun]:
    """Leave out the single echoes of runs that have an image of all echoes, in any space.

    Parameters
    ----------
    runs : sequence of BoldRun
        One for each image of derivatives.
    """
    combined = {identity(run) for run in runs if "echo" not in run.entities}
    return [
        run for run in runs
        if "echo" not in run.entities or identity(_without_echo(run)) not in combined
    ]


def _without_echo(run: BoldRun) -> BoldRun:
    entities = {key: value for key, value in run.entities.items() if key != "echo"}
    return replace(run, entities=entities)


def _number(run: BoldRun) -> str:
    return bare_label(run.entities.get("echo", ""))


def _protocol(run: BoldRun) -> tuple[str | None, ...]:
    """Return what tells the runs that should have the same echoes."""
    return run.subject, run.session, run.task, run.entities.get("acq")


def _expected(groups: Iterable[list[BoldRun]]) -> dict[tuple[str | None, ...], set[str]]:
    found: dict[tuple[str | None, ...], set[str]] = defaultdict(set)
    for members in groups:
        found[_protocol(members[0])] |= {_number(run) for run in members if "echo" in run.entities}
    return found


def _choose(
    several: dict[str, list[BoldRun]], wanted: str, notes: DatasetNotes
) -> dict[str, list[BoldRun]]:
    """Keep the echo that ``--echo`` names."""
    chosen = {
        name: [run for run in members if _number(run) == bare_label(wanted)]
        for name, members in several.items()
    }
    without = sorted((name for name, own in chosen.items() if not own), key=natural_key)
    there = sorted({_number(run) for own in several.values() for run in own}, key=natural_key)
    if without or not several:
        why = f"{name_some(without)} have no such echo; found: {' '.join(there)}"
        notes.findings.append(Finding(
            f"--echo {wanted}", why if several else "no run has several echoes",
            "choose an echo that all multi-echo runs have" if several else "leave the option out",
            ExitCode.USAGE,
        ))
    else:
        notes.decide("echoes", f"echo {wanted} of {len(chosen)} run(s)", f"--echo {wanted}")
    return chosen


def _combined_elsewhere(
    several: dict[str, list[BoldRun]], notes: DatasetNotes
) -> dict[str, list[BoldRun]]:
    """Use the images in which another program combined the echoes, and report runs without."""
    chosen, without = _prefer_whole(several, notes)
    if without:
        name, members = next(iter(without.items()))
        echoes = " ".join(sorted(map(_number, members)))
        notes.findings.append(Finding(
            f"{len(without)} preprocessed multi-echo run(s), for instance {name}",
            f"echoes {echoes} without their combination; only raw echoes are combined",
            "choose one with --echo N, or let fMRIPrep combine them",
        ))
    return chosen | {name: members[:1] for name, members in without.items()}


def _prefer_whole(
    several: dict[str, list[BoldRun]], notes: DatasetNotes
) -> tuple[dict[str, list[BoldRun]], dict[str, list[BoldRun]]]:
    """Return the runs with an image of all echoes, and those without one."""
    whole = {
        name: [run for run in members if "echo" not in run.entities]
        for name, members in several.items()
    }
    found = {name: own for name, own in whole.items() if own}
    if found:
        notes.decide(
            "echoes", f"the combined image of {len(found)} run(s)",
            "it is there beside the single echoes",
        )
    return found, {name: own for name, own in several.items() if name not in found}


def _join(
    several: dict[str, list[BoldRun]], expected: dict[tuple[str | None, ...], set[str]],
    notes: DatasetNotes,
) -> dict[str, list[BoldRun]]:
    chosen, separate = _prefer_whole(several, notes)
    kinds: Counter[str] = Counter()
    for name, members in separate.items():
        ordered = sorted(members, key=lambda run: natural_key(run.entities["echo"]))
        faults = list(_faults(name, ordered, expected[_protocol(ordered[0])]))
        notes.findings += faults
        run = _joined(ordered, [_echo_time(own) or 0.0 for own in ordered])
        kinds[", ".join(f"{1000 * echo.time:g}" for echo in run.echoes)] += not faults
        chosen[name] = [run]
    for times, count in sorted(kinds.items()):
        if count:
            notes.decide(
                "echoes", f"{count} run(s) with echo times of {times} ms",
                "optimal combination weighted by T2*; head motion is estimated from the first echo",
            )
    return chosen


def _joined(members: list[BoldRun], times: list[float]) -> BoldRun:
    first = _without_echo(members[0])
    metadata = {key: value for key, value in first.metadata.items() if key != "EchoTime"}
    echoes = tuple(
        Echo(own.image_file, time) for own, time in zip(members, times, strict=True)
    )
    return replace(first, metadata=metadata, echoes=echoes)


def _echo_time(run: BoldRun) -> float | None:
    """Return the echo time in seconds; None where absent or implausible."""
    value = run.metadata.get("EchoTime")
    usable = isinstance(value, int | float) and not isinstance(value, bool)
    return float(value) if usable and 0 < value <= MAX_ECHO_TIME else None


def _faults(name: str, members: list[BoldRun], expected: set[str]) -> Iterator[Finding]:
    """Find what prevents the combination of the echoes of one run."""
    def fault(why: str, fix: str, code: ExitCode = ExitCode.BAD_DATA) -> Finding:
        return Finding(
            f"echoes of {name}", why, fix, code, participant=members[0].subject, place=name
        )

    absent = sorted(expected - {_number(run) for run in members}, key=natural_key)
    if absent:
        yield fault(
            f"echo {' '.join(absent)} is absent, which other runs of this task have",
            "add the image, leave the run out with --bids-filter-file, or use one echo with "
            "--echo N", ExitCode.MISSING_INPUT,
        )
    elif len(members) < MIN_ECHOES:
        yield fault(
            f"{len(members)} echoes; a fit of T2* needs at least {MIN_ECHOES}",
            "use one echo with --echo N",
        )
    times = [_echo_time(run) for run in members]
    stated = [run.metadata.get("EchoTime") for run in members]
    if None in times:
        yield fault(
            f"EchoTime is absent or not in seconds: {', '.join(map(str, stated))}",
            "write EchoTime in seconds into the sidecar of each echo",
        )
    elif any(late <= early for early, late in pairwise(times)):
        yield fault(
            f"EchoTime does not rise with the number of the echo: {', '.join(map(str, stated))}",
            "correct EchoTime in the sidecars, or the numbers in the names",
        )


def check_echoes(run: BoldRun, full_read: bool) -> Iterator[Finding]:
    """Look for faults of the images of all echoes but the first.

    Parameters
    ----------
    run : BoldRun
    full_read : bool
        See :func:`~bids_decoder.bids.image_checks.check_run`.

    Yields
    ------
    Finding
        Also where their grid or number of volumes is not that of the first echo.
    """
    for echo in run.echoes[1:]:
        yield from check_run(replace(run, bold_file=echo.file, echoes=()), None, full_read)
        try:
            first, header = read_header(run.image_file), read_header(echo.file)
        except BidsDecoderError:
            # Reported by check_run.
            continue
        if header.shape != first.shape or not grids_agree([first, header]):
            yield Finding(
                str(echo.file), f"shape {header.shape} or position differ from those of the "
                f"first echo, {first.shape}", "convert the echoes of this run again",
                participant=run.subject, place=str(echo.file),
            )


def check_library(participants: Iterable[Participant], rules: MultiEcho) -> list[Finding]:
    """Find out whether ``tedana`` is needed and not installed, or asked for without echoes."""
    n_runs = sum(bool(run.echoes) for person in participants for run in person.runs)
    if not n_runs:
        return [Finding(
            "--tedana", "no run has echoes that are combined here",
            "leave the option out; it needs raw multi-echo runs, without --echo", ExitCode.USAGE,
        )] if rules.tedana else []
    # Its reports are imported with its workflow, and need a package that it does not name.
    needed = ("tedana", "six") if rules.tedana else ("tedana",)
    absent = [name for name in needed if find_spec(name) is None]
    return [Finding(
        f"{n_runs} multi-echo run(s)", f"the package {' and '.join(absent)}, which "
        f"{'--tedana needs' if rules.tedana else 'combines echoes'}, is absent",
        "pip install 'bids_decoder[multiecho]', or use one echo with --echo N",
        ExitCode.MISSING_INPUT,
    )] if absent else []
