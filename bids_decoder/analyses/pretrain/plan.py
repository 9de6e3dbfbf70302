"""Plan of pretraining: one model, or one for each participant that is left out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from bids_decoder import __version__
from bids_decoder.analyses.fitting import check_decoder
from bids_decoder.analyses.jobs import Job, Notes
from bids_decoder.analyses.study import Study
from bids_decoder.bids.pretrained_files import pretrained_path
from bids_decoder.bids.row_checks import check_grids_between, check_models_between
from bids_decoder.bids.series import is_volume
from bids_decoder.errors import ExitCode, Finding, name_some
from bids_decoder.evaluation.folds import resolve_fold
from bids_decoder.interfaces.responses import shared_space
from bids_decoder.markers import StageKey
from bids_decoder.training.episodes import MIN_CALIBRATION_TRIALS, can_be_calibrated
from bids_decoder.trials import KINDS


@dataclass(frozen=True, eq=False)
class PretrainSpec:
    """One pretraining.

    Parameters
    ----------
    sources : tuple of str
        Participants to pretrain on.
    path : Path
        Path of the model.
    card : dict
        Added to the model card.
    """

    sources: tuple[str, ...]
    path: Path
    card: dict[str, Any]


def check(study: Study, notes: Notes) -> None:
    """Note a decoder that does not suit the data, and a group without source participants.

    Source participants whose trials are too few to hold some out are noted, too.
    """
    check_decoder(study, notes)
    if not KINDS[study.targets.kind].pretrains:
        notes.findings.append(Finding(
            "group", "values are decoded in each participant alone; no model is pretrained on them",
            "run the level participant only, or --stage population at the group level",
            ExitCode.USAGE,
        ))
    n_sources = len(study.roles.sources)
    if n_sources - study.roles.leaves_one_out < 1:
        notes.findings.append(Finding(
            "group", f"{n_sources} participant(s) are left to pretrain on",
            "hold out fewer participants, or name more with --participant-label",
            ExitCode.NOTHING_SELECTED,
        ))
    if study.settings.network.decoder == "troi":
        notes.findings += _too_few_trials(study)
        if study.settings.network.group_prior:
            notes.findings += check_models_between([
                person.participant for person in study.people.values()
            ])
            notes.findings += _other_grids(study)


def _other_grids(study: Study) -> list[Finding]:
    """Return source participants on other voxels of a standard space than others.

    Raw data are resampled to one grid by this program.
    """
    people = [
        person for person in study.roles.sources
        if study.dataset.source != "raw" and is_volume(person.runs[0].image_file)
    ]
    spaces = {shared_space(person.runs[0].entities) for person in people}
    if len(spaces) != 1 or "" in spaces:
        return []
    return list(check_grids_between(people, *spaces))


def _too_few_trials(study: Study) -> list[Finding]:
    few = []
    for person in study.roles.sources:
        trials = resolve_fold(study.tables[person.label], None)
        runs = trials.loc[trials["split"] == "train", "run_group"].to_numpy(str)
        if not can_be_calibrated(runs):
            few.append(person.label)
    if not few:
        return []
    return [Finding(
        f"pretraining on {len(few)} participant(s): {name_some(few)}",
        f"with a run held out, fewer than {MIN_CALIBRATION_TRIALS} training trials are left",
        "add runs, give a finer --trial-unit, or leave them out with --participant-label",
    )]


def jobs(study: Study, notes: Notes, made: Mapping[str, Job]) -> list[Job]:
    """Return one job per model."""
    del made
    notes.findings += study.region_findings
    labels = [participant.label for participant in study.roles.sources]
    if not study.roles.leaves_one_out:
        return [_job(study, None, labels)]
    return [
        _job(study, left_out, [label for label in labels if label != left_out])
        for left_out in labels
    ]


def _job(study: Study, without: str | None, sources: list[str]) -> Job:
    key = StageKey("pretrain" if without is None else f"pretrain-without-{without}", "group", {
        **study.fit_settings, "targets": study.target_key,
        "people": {label: study.people[label].responses_key for label in sources},
        "region": study.region_key(*(study.people[label] for label in sources)),
    })
    targets = study.targets
    card = {
        "stage_key": key.key, "dataset": study.dataset.name, "version": __version__,
        "seed": study.settings.random_seed, "split": study.split.kind,
        "test_stimuli": list(study.split.tested_stimuli),
        "encoder": targets.encoder.identity if targets.kind == "image" else None,
        "source": study.dataset.source, "glm": asdict(study.settings.glm),
        "trial_unit": study.trials.build.trial_unit,
    }
    path = pretrained_path(study.output_dir, without)
    name = "pretrain_wf" if without is None else f"pretrain_without{_plain(without)}_wf"
    return Job(
        name, "pretrain", (study.stage(key),), PretrainSpec(tuple(sources), path, card),
        gives=f"model/{path.name}", card={**card, "participants": list(sources)},
    )


def _plain(text: str) -> str:
    return "".join(c if c.isalnum() else "_" for c in text)
