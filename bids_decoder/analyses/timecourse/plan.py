"""Plan of decoding over time: which times, which trials have them, one job per participant."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from bids_decoder.analyses.jobs import Job, Notes
from bids_decoder.analyses.study import Study, job_name
from bids_decoder.analyses.timecourse.options import Timecourse
from bids_decoder.analyses.timecourse.windows import (
    LEAST_TIMES,
    MOST_TIMES,
    Window,
    find_window,
    short_folds,
)
from bids_decoder.errors import ExitCode, Finding, name_some
from bids_decoder.markers import StageKey
from bids_decoder.trials import Decision
from bids_decoder.workflows.work import PersonWork

N_REFITS = 100
"""Permutations under cross-validation, where --n-permutations does not say how many."""

MANY_LOST = 0.2
"""Larger shares of trials that are left out are warned of."""


@dataclass(frozen=True, eq=False)
class TimeSpec:
    """Decoding over time of one participant.

    Parameters
    ----------
    person : PersonWork
    window : tuple of float
        First and last time in seconds.
    folds : tuple of int
        Folds of cross-validation; empty for a fixed split.
    n_permutations : int
    test_share : float
        Largest share of the trials that are held out at once.
    """

    person: PersonWork
    window: tuple[float, float]
    folds: tuple[int, ...]
    n_permutations: int
    test_share: float


def check(study: Study, notes: Notes) -> None:
    """Note windows and data that allow no decoding over time."""
    window = study.settings.section(Timecourse).window
    findings = _check_settings(study, window)
    notes.findings += findings
    if findings:
        return
    found = [
        find_window(one, study.tables[one.label], study.settings, (window[0], window[1]))
        for one in study.roles.chosen
    ]
    windows = [one for one in found if one is not None]
    for one in windows:
        notes.findings += _check_person(study, one)
    notes.findings += _note_lost([one for one in windows if one.n_lost])
    notes.findings += _note_constant([one for one in windows if one.interval is not None])
    if windows:
        notes.decisions.append(_decide(windows, _count_permutations(study, windows[0].label)))


def jobs(study: Study, notes: Notes, made: Mapping[str, Job]) -> list[Job]:
    """Return one job per participant."""
    del made
    notes.findings += study.region_findings
    first, last = study.settings.section(Timecourse).window
    found = []
    for person in study.chosen_people:
        folds = study.folds(person.label)
        n_permutations = _count_permutations(study, person.label)
        spec = TimeSpec(
            person, (first, last), folds, n_permutations, _test_share(study.tables[person.label])
        )
        stage = study.stage(_key(study, spec))
        found.append(Job(job_name("timecourse", person), "timecourse", (stage,), spec))
    return found


def _count_permutations(study: Study, label: str) -> int:
    evaluation = study.settings.evaluation
    return evaluation.count_refits(N_REFITS) if study.folds(label) else evaluation.n_permutations


def _test_share(table: pd.DataFrame) -> float:
    held_out = [*table["fold"].value_counts(), (table["split"] == "test").sum()]
    return float(max(held_out)) / max(1, len(table))


def _key(study: Study, spec: TimeSpec) -> StageKey:
    settings, person = study.settings, spec.person
    return StageKey("timecourse", f"sub-{person.label}", {
        "window": list(spec.window), "n_permutations": spec.n_permutations,
        "normalise": settings.glm.normalise, "seed": settings.random_seed,
        "targets": study.target_key, "betas": person.responses_key,
        "region": study.region_key(person),
    })


def _check_settings(study: Study, window: tuple[float, ...]) -> list[Finding]:
    """Check the window itself, the targets and the kind of input."""
    what = f"--fir-window {' '.join(f'{second:g}' for second in window)}"
    if not window:
        return [Finding(
            "--stage timecourse", "no window of times is given", "give one: --fir-window -2 16",
            ExitCode.USAGE,
        )]
    if len(window) != 2 or not window[0] < window[1]:
        return [Finding(
            what, "is no first and last time in seconds", "give two numbers, the smaller one "
            "first, as --fir-window -2 16", ExitCode.USAGE,
        )]
    findings = []
    if study.targets.kind != "category":
        findings.append(Finding(
            what, f"labels are decoded over time, and this call decodes {study.targets.kind}",
            "decode labels (--target category), or leave the option out", ExitCode.USAGE,
        ))
    if study.dataset.source == "betas":
        findings.append(Finding(
            what, "the input is a beta series, which has one response per trial and no times",
            "give the BOLD runs: raw data, or -d fmriprep=PATH", ExitCode.USAGE,
        ))
    return findings


def _check_person(study: Study, window: Window) -> list[Finding]:
    what, label = f"sub-{window.label}: --fir-window", window.label
    if len(window.t_rs) > 1:
        shown = ", ".join(f"{t_r:g}" for t_r in window.t_rs)
        return [Finding(
            what, f"repetition times differ between runs ({shown} s), and with them the times "
            "after the onset", "choose runs of one repetition time with --task-id or --run-id",
            participant=label,
        )]
    if not LEAST_TIMES <= len(window.steps) <= MOST_TIMES:
        return [Finding(
            what, f"holds {len(window.steps)} volumes of {window.t_rs[0]:g} s",
            f"give a window of {LEAST_TIMES} to {MOST_TIMES} volumes", ExitCode.USAGE,
            participant=label,
        )]
    lacks = list(short_folds(window, study.folds(label)))
    if not lacks:
        return list(window.short)
    return [*window.short, Finding(
        what, f"{window.n_lost} of {window.n_trials} trials have not all of these times within "
        f"their run, and {name_some(lacks, 3)}", _advise(window), participant=label,
    )]


def _advise(window: Window) -> str:
    first, last = (np.trunc(seconds * 10) / 10 for seconds in window.reach)
    return f"give a shorter window: all trials of sub-{window.label} have the times from " \
           f"{first:g} to {last:g} s"


def _note_lost(windows: list[Window]) -> list[Finding]:
    """Warn once of participants with many trials whose window reaches beyond their run."""
    many = [one for one in windows if one.n_lost > MANY_LOST * one.n_trials]
    if not many:
        return []
    shown = [f"sub-{one.label} {one.n_lost} of {one.n_trials}" for one in many]
    return [Finding(
        f"--fir-window in {len(many)} participant(s)", "trials near the start or the end of a run "
        f"lack some of the times and are left out of decoding over time: {name_some(shown)}; the "
        "plan has their numbers", _advise(many[0]), severity="warning",
    )]


def _note_constant(windows: list[Window]) -> list[Finding]:
    """Warn once of participants whose neighbouring trials cannot be told apart."""
    if not windows:
        return []
    shown = [f"sub-{one.label} {one.interval:g} s" for one in windows]
    return [Finding(
        f"--fir-window in {len(windows)} participant(s)", "nearly all trials follow each other "
        f"after the same time, and within the window, so that responses to neighbours cannot be "
        f"told apart: {name_some(shown)}", _advise_shorter(windows[0]), severity="warning",
    )]


def _advise_shorter(window: Window) -> str:
    longest = window.interval - window.t_rs[0]
    if longest < (LEAST_TIMES - 1) * window.t_rs[0]:
        return "no window can tell them apart: take each score as that of a trial and its " \
               "neighbours together, or leave the option out"
    return f"give a window shorter than that: at most {longest:g} s from its first to its last time"


def _decide(windows: list[Window], n_permutations: int) -> Decision:
    first = windows[0]
    lost = sum(one.n_lost for one in windows)
    shown = [f"sub-{one.label} {one.n_lost}" for one in windows if one.n_lost]
    left = f": {', '.join(shown)}" if shown else ""
    times = first.times
    return Decision(
        "times after onset",
        f"{times[0]:g} to {times[-1]:g} s in steps of {first.t_rs[0]:g} s" if len(times) else
        "none",
        f"volumes nearest to onset plus time; {lost} of {sum(one.n_trials for one in windows)} "
        f"trials left out, whose window reaches beyond their run{left}; folds and z-scores of "
        f"the decoder; labels exchanged as for the decoder, {n_permutations} times",
    )
