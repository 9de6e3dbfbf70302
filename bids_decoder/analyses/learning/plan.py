"""Plan of learning curves: which runs are left out, one job per participant."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from bids_decoder.analyses.fitting import decoded
from bids_decoder.analyses.jobs import Job, Notes
from bids_decoder.analyses.learning.amounts import Amounts, measure_amounts
from bids_decoder.analyses.learning.options import LearningCurve
from bids_decoder.analyses.study import Study, job_name
from bids_decoder.errors import ExitCode, Finding, name_some
from bids_decoder.evaluation.subsets import LEAST_PER_LABEL, LEAST_SIZES, Subsets, draw_subsets
from bids_decoder.markers import StageKey
from bids_decoder.seeds import derive_seed
from bids_decoder.trials import Decision
from bids_decoder.workflows.work import PersonWork


@dataclass(frozen=True, eq=False)
class CurveSpec:
    """The learning curve of one participant.

    Parameters
    ----------
    person : PersonWork
    subsets : Subsets
    amounts : Amounts
    pretrained : Path or None
        Model that the decoder starts from; it may be fitted by the same call.
    card : mapping
        What this model saw of what is decoded.
    """

    person: PersonWork
    subsets: Subsets
    amounts: Amounts
    pretrained: Path | None = None
    card: Mapping[str, Any] = field(default_factory=dict)


def check(study: Study, notes: Notes) -> None:
    """Note values, folds of stimuli, and a target that only a file of settings can hold."""
    if study.targets.kind == "value":
        notes.findings.append(Finding(
            "--learning-curve", "curves are fitted to scores of labels, images or features, and "
            "this call decodes values", "leave the option out", ExitCode.USAGE,
        ))
    if study.split.kind == "stimulus-folds":
        notes.findings.append(Finding(
            "--learning-curve", "stimuli are cross-validated, so that training and test share runs",
            "prescribe a test set (--test-runs, --split-column), or leave the option out",
            ExitCode.USAGE,
        ))
    target = study.settings.section(LearningCurve).target
    if target is not None and not 0 < target < 1:
        notes.findings.append(Finding(
            "[learning] target", f"is {target}", "give a number between 0 and 1",
            ExitCode.USAGE,
        ))


def jobs(study: Study, notes: Notes, made: Mapping[str, Job]) -> list[Job]:
    """Return one job per participant with enough training runs."""
    found, without = [], []
    for person, decode in decoded(study, made):
        job = _job(study, person, decode)
        if job is None:
            without.append(person.label)
        else:
            found.append(job)
    _note_without(study, without, notes, is_empty=not found)
    if found:
        notes.decisions.append(_decide(found))
    return found


def _job(study: Study, person: PersonWork, decode: Job) -> Job | None:
    settings, trials = study.settings, study.usable_trials(person.label)
    subsets = draw_subsets(
        trials, by_label=study.targets.kind == "category",
        seed=derive_seed(settings.random_seed, "learning", person.label),
    )
    if subsets is None:
        return None
    amounts = measure_amounts(person, trials)
    key = StageKey("learning", f"sub-{person.label}", {
        "decode": decode.key.key, "learning": asdict(settings.section(LearningCurve)),
        "sizes": list(subsets.sizes), "amounts": asdict(amounts),
    })
    spec = CurveSpec(person, subsets, amounts, decode.spec.pretrained, decode.card)
    return Job(
        job_name("learning", person), "learning", (study.stage(key),), spec
    )


def _note_without(study: Study, labels: list[str], notes: Notes, *, is_empty: bool) -> None:
    """Note participants with too few training runs; an error where nobody has enough."""
    if not labels:
        return
    what = f"--learning-curve of {len(labels)} participant(s): {name_some(labels)}"
    labelled = study.targets.kind == "category"
    with_labels = f" with {LEAST_PER_LABEL} trials of each label" if labelled else ""
    notes.findings.append(Finding(
        what, f"a curve needs {LEAST_SIZES} different numbers of training runs{with_labels}, and "
        "there are too few runs for it",
        "leave the option out, or add runs", ExitCode.USAGE,
        severity="error" if is_empty else "warning",
    ))
    for label in labels:
        notes.skip(f"sub-{label}", "learning", "too few training runs")


def _decide(jobs: list[Job]) -> Decision:
    subsets = jobs[0].spec.subsets
    sizes = ", ".join(map(str, subsets.sizes))
    n_folds = int(np.max([len(job.spec.subsets.orders) for job in jobs]))
    return Decision(
        "learning curve", f"{sizes} training runs (sub-{jobs[0].spec.person.label})",
        f"nested subsets of training runs, {subsets.n_draws} orders in each of {n_folds} fold(s); "
        "the test trials are the same for all",
    )
