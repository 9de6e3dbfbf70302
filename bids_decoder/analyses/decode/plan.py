"""Plan of decoding: which pretrained model is used, and whether it may be."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from bids_decoder import __version__
from bids_decoder.analyses.base import Job, Notes, Stage
from bids_decoder.analyses.decode.models import ModelFile, check_model, find_model
from bids_decoder.analyses.fitting import check_decoder
from bids_decoder.analyses.study import Study, job_name
from bids_decoder.errors import ExitCode, Finding
from bids_decoder.markers import StageKey
from bids_decoder.trials import Decision
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
        Model to start from; it may be made by this very call.
    card : dict
        Added to the model card.
    """

    person: PersonWork
    folds: tuple[int, ...]
    pretrained: Path | None
    card: dict[str, Any]


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


def jobs(study: Study, notes: Notes, made: Mapping[str, Job]) -> list[Job]:
    """Return one job per participant for whom there is a model, or who needs none."""
    found = [_job(study, person, notes, made) for person in study.chosen_people]
    return [job for job in found if job is not None]


def _job(
    study: Study, person: PersonWork, notes: Notes, made: Mapping[str, Job]
) -> Job | None:
    unit = f"sub-{person.label}"
    model = find_model(study, person.label, made)
    if model is None and not study.settings.execution.from_scratch:
        notes.decisions.append(Decision(
            f"decoding of {unit}", "not done",
            "no pretrained model is in the output folder or given with --pretrained; "
            "run the group level first, or use --from-scratch",
        ))
        notes.skip(unit, "decode", "waits for a pretrained model, or --from-scratch")
        return None
    stage = study.stage(_key(study, person, model))
    seen = {} if model is None else check_model(study, person, model, notes, is_due=stage.is_due)
    return _described(study, person, model, stage, seen)


def _described(
    study: Study, person: PersonWork, model: ModelFile | None, stage: Stage, seen: dict[str, Any]
) -> Job:
    folds = study.folds(person.label)
    card = {
        "dataset": study.dataset.name, "version": __version__,
        "seed": study.settings.random_seed, "split": study.split.kind, "n_folds": len(folds),
        "pretrained_key": None if model is None else model.card.get("stage_key"), **seen,
    }
    spec = DecodeSpec(person, folds, None if model is None else model.path, card)
    return Job(
        job_name("decode", person), "decode", (stage,), spec,
        gives=f"decoder/{person.label}", card=seen,
    )


def _key(study: Study, person: PersonWork, model: ModelFile | None) -> StageKey:
    settings = study.settings
    return StageKey("decode", f"sub-{person.label}", {
        **study.fit_settings, "troi": asdict(settings.troi),
        "evaluation": asdict(settings.evaluation), "targets": study.target_key,
        "betas": person.betas.key,
        "pretrained": None if model is None else model.card.get("stage_key"),
        "region": study.region_key,
    })
