"""Plan of decoding: choose and check the pretrained model of each participant."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from bids_decoder import __version__
from bids_decoder.analyses.decode.models import ModelFile, check_model, find_model
from bids_decoder.analyses.decode.smallest_p import check_smallest_p, decide_test, n_tested
from bids_decoder.analyses.fitting import check_decoder
from bids_decoder.analyses.jobs import Job, Notes, Stage
from bids_decoder.analyses.refits import count_refits, is_batched
from bids_decoder.analyses.study import Study, job_name
from bids_decoder.config import Settings
from bids_decoder.errors import BidsDecoderError, ExitCode, Finding, name_some
from bids_decoder.evaluation.multiple import headline_of
from bids_decoder.markers import StageKey
from bids_decoder.processes import map_items
from bids_decoder.training.labellings import asks_for_training
from bids_decoder.trials import KINDS, Decision
from bids_decoder.workflows.work import PersonWork


@dataclass(frozen=True, eq=False)
class DecodeSpec:
    """The decoding of one participant.

    Parameters
    ----------
    person : PersonWork
    folds : tuple of int
        Folds of cross-validation; empty for a fixed split.
    pretrained : Path or None
        Model to start from; it may be fitted by the same call.
    card : dict
        Added to the model card.
    n_refits : int
        Permutations under which all folds are fitted again.
    crosses_stimuli : bool
        Whether folds hold out stimuli, not runs of labels.
    together : list of list of str
        Stimuli that folds do not separate.
    """

    person: PersonWork
    folds: tuple[int, ...]
    pretrained: Path | None
    card: dict[str, Any]
    n_refits: int
    crosses_stimuli: bool = False
    together: list[list[str]] = field(default_factory=list)


def check(study: Study, notes: Notes) -> None:
    """Note a decoder that does not suit the data or the options."""
    check_decoder(study, notes)
    settings = study.settings
    if settings.evaluation.ablations and settings.network.decoder != "troi":
        notes.findings.append(Finding(
            "--ablations",
            f"the parts left out are those of --decoder troi, not of {settings.network.decoder}",
            "leave the option out, or use --decoder troi", ExitCode.USAGE,
        ))
    if not KINDS[study.targets.kind].pretrains:
        notes.findings += _check_alone(settings)
    notes.decisions.append(Decision(
        "headline score", ", ".join(_headline(study).values()),
        "fixed before anything is fitted; p-values of all other scores are corrected for their "
        "number (p_holm)",
    ))


def _check_alone(settings: Settings) -> list[Finding]:
    """Find options on pretraining and training that the closed form for values does not have."""
    given = asks_for_training(settings.network, settings.troi)
    if settings.execution.pretrained is not None:
        given.insert(0, f"--pretrained {settings.execution.pretrained}")
    return [
        Finding(
            option, "values are decoded in closed form, from the trials of each participant alone: "
            "nothing is pretrained or trained by gradients", "leave it out, or decode labels",
            ExitCode.USAGE,
        )
        for option in given
    ]


def record(study: Study) -> dict[str, Any]:
    """Return the score that the result is judged by."""
    return {"headline_score": _headline(study)}


def _headline(study: Study) -> dict[str, str]:
    return headline_of(study.targets.kind, in_folds=study.split.kind == "stimulus-folds")


def jobs(study: Study, notes: Notes, made: Mapping[str, Job]) -> list[Job]:
    """Return one job per participant."""
    notes.findings += study.region_findings
    found = []
    for person in study.chosen_people:
        try:
            model = find_model(study, person.label, made)
        except BidsDecoderError as error:
            own = person.label if f"sub-{person.label}" in error.finding.what else None
            notes.findings.append(replace(error.finding, participant=own))
            continue
        found.append(_job(study, person, model, notes))
    _note_tests(study, found, notes)
    if not study.settings.execution.from_scratch and KINDS[study.targets.kind].pretrains:
        _say_without_model([job for job in found if job.spec.pretrained is None], notes)
    return found


def _note_tests(study: Study, jobs: Sequence[Job], notes: Notes) -> None:
    """Note how p-values are computed, and participants for whom none can be small."""
    settings = study.settings
    tests = []
    for job in jobs:
        label = job.spec.person.label
        table = study.tables[label]
        tests.append((label, table, n_tested(table, settings.evaluation, job.spec.n_refits)))
    check = partial(
        check_smallest_p, target_kind=study.targets.kind,
        together=study.split.options.get("together", ()),
    )
    for found in map_items(check, tests, settings.resources.nprocs):
        notes.findings += found
    if jobs:
        spec = jobs[0].spec
        notes.decisions.append(decide_test(
            study.tables[spec.person.label], settings.evaluation, spec.n_refits,
            study.targets.kind, together=spec.together,
            is_batched=is_batched(settings, study.targets.kind, spec.pretrained is not None),
        ))


def _job(study: Study, person: PersonWork, model: ModelFile | None, notes: Notes) -> Job:
    stage = study.stage(_key(study, person, model))
    if model is None:
        seen = {"from_scratch": _why_no_model(study, person.label, notes)}
    else:
        seen = check_model(study, person, model, notes, is_due=stage.is_due)
    return _described(study, person, model, stage, seen)


def _why_no_model(study: Study, label: str, notes: Notes) -> str:
    """Return why no pretrained model is used; note an error if one is required."""
    execution = study.settings.execution
    if execution.from_scratch:
        return "--from-scratch"
    if not KINDS[study.targets.kind].pretrains:
        return "values are decoded in each participant alone"
    why = "no pretrained model is in the output folder or given with --pretrained"
    if execution.require_pretrained:
        notes.findings.append(Finding(
            f"sub-{label} with --pretrained required", why,
            "run the group level first, or give --pretrained PATH",
            ExitCode.MISSING_INPUT, participant=label,
        ))
    return why


def _say_without_model(jobs: Sequence[Job], notes: Notes) -> None:
    """Note participants without a pretrained model, unless --from-scratch asks for this."""
    if jobs:
        names = name_some([job.spec.person.label for job in jobs])
        notes.decisions.append(Decision(
            "decoding", f"from scratch: {names}",
            "no pretrained model is in the output folder or given with --pretrained; when one "
            "is there, decoding is due again (--pretrained required stops here instead)",
        ))


def _described(
    study: Study, person: PersonWork, model: ModelFile | None, stage: Stage, seen: dict[str, Any]
) -> Job:
    folds = study.folds(person.label)
    card = {
        "stage_key": stage.key.key, "dataset": study.dataset.name, "version": __version__,
        "seed": study.settings.random_seed, "split": study.split.kind, "n_folds": len(folds),
        "pretrained_key": None if model is None else model.card.get("stage_key"), **seen,
        "confounds_removed": list(person.removed), "trial_unit": study.trials.build.trial_unit,
        **_protocol(study.settings),
    }
    n_refits = (
        count_refits(study.settings, study.targets.kind, model is not None) if folds else 0
    )
    spec = DecodeSpec(
        person, folds, None if model is None else model.path, card, n_refits,
        study.split.kind == "stimulus-folds", study.split.options.get("together", []),
    )
    return Job(
        job_name("decode", person), "decode", (stage,), spec,
        gives=f"decoder/{person.label}", card=seen,
    )


def _key(study: Study, person: PersonWork, model: ModelFile | None) -> StageKey:
    settings = study.settings
    return StageKey("decode", f"sub-{person.label}", {
        **study.fit_settings, "troi": asdict(settings.troi),
        "evaluation": asdict(settings.evaluation), "targets": study.target_key,
        "betas": person.responses_key,
        "pretrained": None if model is None else model.card.get("stage_key"),
        "region": study.region_key(person), **_protocol(study.settings),
    })


def _protocol(settings: Settings) -> dict[str, str]:
    """Return the protocol that is followed, for the card and the key; empty without one."""
    name = settings.trials.protocol
    return {} if name is None else {"protocol": name}
