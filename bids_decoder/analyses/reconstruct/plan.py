"""Plan of reconstruction: the method and its weights."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from bids_decoder.analyses.fitting import decoded, job_of_decoder
from bids_decoder.analyses.jobs import Job, Notes
from bids_decoder.analyses.study import Study
from bids_decoder.errors import BidsDecoderError, ExitCode, Finding
from bids_decoder.evaluation.held_out import Split
from bids_decoder.evaluation.reconstruction import LEAST_PICTURES
from bids_decoder.interfaces.pictures import ReconstructionPlan
from bids_decoder.training.reconstruction_settings import Reconstruction
from bids_decoder.workflows.reconstruction import plan_reconstruction
from bids_decoder.workflows.work import PersonWork, TargetSpec


@dataclass(frozen=True, eq=False)
class ReconstructSpec:
    """The reconstructions of one participant.

    Parameters
    ----------
    person : PersonWork
    plan : ReconstructionPlan
    card : mapping
        Card entries of the decoder, for sidecars.
    folds : tuple of int
        Folds of stimuli; (0,) for a fixed split.
    decoder_key : str
        Key of the stage that fits the decoder.
    """

    person: PersonWork
    plan: ReconstructionPlan
    card: Mapping[str, Any]
    folds: tuple[int, ...]
    decoder_key: str


def check(study: Study, notes: Notes) -> None:
    """Note why requested reconstructions are not possible."""
    method = study.settings.section(Reconstruction).method
    why = _why_no_pictures(study.targets, study.split)
    if why and method != "auto":
        notes.findings.append(Finding(
            f"--reconstruction {method}", why, "leave the option out, or decode images",
            ExitCode.USAGE,
        ))
    elif not why:
        try:
            _plan_of(study)
        except BidsDecoderError as error:
            notes.findings.append(error.finding)


def jobs(study: Study, notes: Notes, made: Mapping[str, Job]) -> list[Job]:
    """Return one job per decoded participant with enough held-out pictures."""
    del notes
    if _why_no_pictures(study.targets, study.split):
        return []
    plan = _plan_of(study)
    return [
        job_of_decoder(
            study, "reconstruct", person, decode,
            ReconstructSpec(
                person, plan, decode.card, study.folds(person.label) or (0,), decode.key.key
            ),
            reconstruction=plan.content, evaluation=asdict(study.settings.evaluation),
        )
        for person, decode in decoded(study, made)
        if _n_tested(study, person.label) >= LEAST_PICTURES
    ]


def _n_tested(study: Study, label: str) -> int:
    trials = study.usable_trials(label)
    return trials.loc[trials["split"].isin(["test", "cv"]), "stimulus"].nunique()


def _why_no_pictures(targets: TargetSpec, split: Split) -> str:
    if targets.kind != "image":
        return f"the target is {targets.kind}, not image"
    if len(split.tested_stimuli) < LEAST_PICTURES:
        return f"{len(split.tested_stimuli)} stimuli are held out; three are needed"
    return ""


def _plan_of(study: Study) -> ReconstructionPlan:
    settings = study.settings.section(Reconstruction)
    return plan_reconstruction(settings, study.targets.encoder, study.digest)
