"""Plan of cross-decoding: kinds of trials, what prevents their comparison, one job each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field

import pandas as pd

from bids_decoder.analyses.cross.options import Cross, read_filters
from bids_decoder.analyses.cross.rows import check_tests, rows_between, rows_over
from bids_decoder.analyses.cross.stimuli import near_across
from bids_decoder.analyses.cross.trials import Rows, Trials
from bids_decoder.analyses.fitting import check_decoder
from bids_decoder.analyses.jobs import Job, Notes
from bids_decoder.analyses.refits import count_refits
from bids_decoder.analyses.study import Study, job_name
from bids_decoder.bids.rules import check_rules
from bids_decoder.errors import ExitCode, Finding, has_errors, name_some
from bids_decoder.evaluation.kinds import Row
from bids_decoder.evaluation.overlap import NearDuplicate
from bids_decoder.files import content_key
from bids_decoder.markers import StageKey
from bids_decoder.trials import KINDS, Decision, rule_columns
from bids_decoder.workflows.work import PersonWork


@dataclass(frozen=True, eq=False)
class CrossSpec:
    """The cross-decoding of one participant.

    Parameters
    ----------
    person : PersonWork
    rows : tuple of Row
    n_refits : int
        Permutations under which the fits of cross-validation within a kind are repeated.
    options : dict
        What was asked for, for sidecars.
    """

    person: PersonWork
    rows: tuple[Row, ...]
    n_refits: int
    options: dict[str, object] = field(default_factory=dict)

    @property
    def needs_vectors(self) -> bool:
        """Whether stimuli are decoded, whose vectors are in a file."""
        return any(row.by_stimulus for row in self.rows)


def check(study: Study, notes: Notes) -> None:
    """Note rules and data that allow no cross-decoding."""
    cross = study.settings.section(Cross)
    problems = [*_check_options(study, cross), *_check_rules(study, cross)]
    notes.findings += problems
    if has_errors(problems) or not _is_known(study, cross):
        return
    check_decoder(study, notes)
    rows: list[Row] = []
    near: set[NearDuplicate] = set()
    for participant in study.roles.chosen:
        trials = _trials(study, participant.label)
        found = _rows(cross, trials)
        near |= near_across(trials, found.found, study.trials.overlap.stimuli.near_duplicates)
        notes.findings += found.findings
        notes.findings += check_tests(
            trials, found.found, study.settings.evaluation.n_permutations,
            count_refits(study.settings, "category", False),
        )
        rows += found.found
    notes.findings += _say_near(near, study.settings.trials.near_duplicates)
    notes.decisions.append(_decide(rows, KINDS[study.targets.kind].over_runs))


def jobs(study: Study, notes: Notes, made: Mapping[str, Job]) -> list[Job]:
    """Return one job per participant."""
    del made
    notes.findings += study.region_findings
    found, settings = [], study.settings
    cross = settings.section(Cross)
    for person in study.chosen_people:
        rows = tuple(_rows(cross, _trials(study, person.label)).found)
        crosses_own = any(row.crosses_own for row in rows)
        n_refits = count_refits(settings, "category", False) if crosses_own else 0
        spec = CrossSpec(person, rows, n_refits, _describe(cross))
        found.append(Job(
            job_name("cross", person), "cross", (study.stage(_key(study, spec)),), spec
        ))
    return found


def _say_near(near: set[NearDuplicate], policy: str) -> list[Finding]:
    if not near:
        return []
    pairs = sorted(f"{pair.first} ~ {pair.second} ({pair.cosine})" for pair in near)
    return [Finding(
        "stimuli nearly the same on both sides of cross-decoding",
        f"{len(pairs)} pair(s), with the cosine of their vectors: {name_some(pairs)}",
        "make them one stimulus with --near-duplicates merge, or accept it with "
        "--near-duplicates report; all pairs are under 'overlap' in plan.json",
        severity="error" if policy == "stop" else "warning",
    )]


def _trials(study: Study, label: str) -> Trials:
    return Trials(label, study.usable_trials(label), not KINDS[study.targets.kind].over_runs)


def _rows(cross: Cross, trials: Trials) -> Rows:
    """Return the rows that the options ask for."""
    found = Rows()
    if cross.has_filters:
        (train, test), _ = read_filters(cross)
        part = rows_between(trials, train, test, both_directions=cross.both_directions)
        found.found += part.found
        found.findings += part.findings
    if cross.generalise_over is not None:
        part = rows_over(trials, cross.generalise_over)
        found.found += part.found
        found.findings += part.findings
    return found


def _check_options(study: Study, cross: Cross) -> list[Finding]:
    """Find wrong combinations of options, and rules that no trial can satisfy."""
    findings = []
    lacking = [
        name for name, texts in (("--train-filter", cross.train_filter),
                                 ("--test-filter", cross.test_filter)) if not texts
    ]
    if (cross.has_filters or cross.both_directions) and lacking:
        given = "--both-directions" if len(lacking) == 2 else "one side only"
        findings.append(Finding(
            f"cross-decoding: {given}", f"{' and '.join(lacking)} is not given",
            "describe the trials of both sides: --train-filter task=a --test-filter task=b",
            ExitCode.USAGE,
        ))
    if not cross.has_filters and not cross.both_directions and cross.generalise_over is None:
        findings.append(Finding(
            "--stage cross", "no kinds of trials are given",
            "give --train-filter and --test-filter, or --generalise-over", ExitCode.USAGE,
        ))
    kind = study.targets.kind
    if kind == "value":
        findings.append(Finding(
            "cross-decoding", "compares labels or stimuli, and this call decodes values",
            "decode labels: --target category", ExitCode.USAGE,
        ))
    elif study.split.kind == "stimulus-folds" and cross.generalise_over is not None:
        findings.append(Finding(
            "--generalise-over", "all stimuli are tested, in folds of few, and the matrix needs "
            "one test set that no decoder is trained on", "mark test stimuli with --split-column "
            "or --test-runs, compare two values with --train-filter and --test-filter, or decode "
            "labels: --target category", ExitCode.USAGE,
        ))
    return findings


def _check_rules(study: Study, cross: Cross) -> list[Finding]:
    """Find values that do not occur; columns that do not were found with the events files."""
    views = _views(study)
    known = {name for view in views for name in view}
    (train, test), _ = read_filters(cross)
    rules = [rule for rule in (*train, *test) if rule.column in known]
    return check_rules(rules, views, "the trials")


def _is_known(study: Study, cross: Cross) -> bool:
    """Return whether all texts are rules and all columns exist; if not, it was noted before."""
    (train, test), wrong = read_filters(cross)
    known = {name for view in _views(study) for name in view}
    named = {rule.column for rule in (*train, *test)} | {cross.generalise_over} - {None}
    return not wrong and named <= known


def _views(study: Study) -> list[pd.DataFrame]:
    return [rule_columns(study.tables[p.label]) for p in study.roles.chosen]


def _decide(rows: list[Row], over_runs: bool) -> Decision:
    held_out = (
        "a run with trials of both kinds is tested by decoders fitted without any of its trials. "
        "Between kinds no prediction depends on a tested label, so that labels are exchanged "
        "against fixed predictions; within a kind everything is fitted again"
    ) if over_runs else (
        "stimuli that are tested are held out of training, and searched among each other; "
        "pairings of stimuli and responses are exchanged against fixed predictions"
    )
    cells = list(dict.fromkeys(f"{row.train} to {kind}" for row in rows for kind in row.tests))
    return Decision(
        "cross-decoding", name_some(cells, 6),
        "the decoder and its baselines, fitted to one kind of trials without a pretrained model, "
        f"which may have learned from both kinds; {held_out}",
    )


def _describe(cross: Cross) -> dict[str, object]:
    asked = {
        "TrainFilter": list(cross.train_filter), "TestFilter": list(cross.test_filter),
        "BothDirections": cross.both_directions, "GeneraliseOver": cross.generalise_over,
    }
    return {name: value for name, value in asked.items() if value}


def _key(study: Study, spec: CrossSpec) -> StageKey:
    settings, person = study.settings, spec.person
    return StageKey("cross", f"sub-{person.label}", {
        **study.fit_settings, "troi": asdict(settings.troi),
        "evaluation": asdict(settings.evaluation), "n_refits": spec.n_refits,
        "kinds": spec.options, "rows": content_key([asdict(row) for row in spec.rows]),
        "betas": person.responses_key,
        "region": study.region_key(person),
        "targets": None if KINDS[study.targets.kind].over_runs else study.target_key,
    })
