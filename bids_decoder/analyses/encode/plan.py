"""Plan of encoding models."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import pandas as pd

from bids_decoder import __version__
from bids_decoder.analyses.jobs import Job, Notes
from bids_decoder.analyses.study import Study, job_name
from bids_decoder.errors import BidsDecoderError, ExitCode, Finding
from bids_decoder.evaluation.folds import resolve_fold
from bids_decoder.files import content_key, file_digest
from bids_decoder.markers import StageKey
from bids_decoder.training.encoders import check_encoder, check_stimuli, load_encoder
from bids_decoder.training.encoding_settings import Encoding
from bids_decoder.trials import KINDS
from bids_decoder.workflows.work import PersonWork, TargetSpec

MIN_TEST_STIMULI = 3

_RANGES = {
    "image_size": (8, 1024), "channels": (1, 4096), "epochs": (0, 1_000_000),
    "batch_size": (3, 1_000_000), "learning_rate": (1e-12, 10.0), "weight_decay": (0.0, 10.0),
    "output_noise": (0.0, 1e6), "validation_share": (0.01, 0.5), "max_voxels": (1, 10_000_000),
    "n_selected": (1, 10_000_000),
}
"""Settings of ``[encoding]`` with their smallest and largest value."""


@dataclass(frozen=True, eq=False)
class EncodeSpec:
    """The encoding models of one participant.

    Parameters
    ----------
    person : PersonWork
    names : tuple of str
        Encoders to fit; the chosen one first, then those to compare it with.
    needs_pictures : bool
        Whether one of them reads pictures.
    card : dict
        Added to the model card.
    fold : int
        Fold of stimuli that is the test set; 0 for a fixed split.
    """

    person: PersonWork
    names: tuple[str, ...]
    needs_pictures: bool
    card: dict[str, Any]
    fold: int = 0


def check(study: Study, notes: Notes) -> None:
    """Note settings and data that do not allow an encoding model."""
    encoding = study.settings.section(Encoding)
    if encoding.encoder is None:
        notes.findings.append(Finding(
            "--stage encode", "no encoder is chosen", "give one with --encoder", ExitCode.USAGE,
        ))
        return
    try:
        check_encoder(encoding.encoder)
    except BidsDecoderError as error:
        notes.findings.append(error.finding)
        return
    notes.findings += _check_ranges(encoding)
    notes.findings += _check_targets(encoding, study.targets)


def jobs(study: Study, notes: Notes, made: Mapping[str, Job]) -> list[Job]:
    """Return one job per participant with enough held-out stimuli."""
    del made
    notes.findings += study.region_findings
    names = encoders_of(study.settings.section(Encoding))
    pictures = needs_pictures(names)
    content = _pictures_key(study.targets) if pictures else None
    study.say_first_fold("encode", notes)
    found = []
    for person in study.chosen_people:
        fold = study.first_fold(person.label)
        why = too_few(resolve_fold(study.tables[person.label], fold or None))
        if why is not None:
            notes.skip(f"sub-{person.label}", "encode", why)
            continue
        spec = EncodeSpec(person, names, pictures, _card(study, person), fold)
        stage = study.stage(_key(study, person, content))
        found.append(Job(job_name("encode", person), "encode", (stage,), spec))
    return found


def _key(study: Study, person: PersonWork, pictures: str | None) -> StageKey:
    settings = study.settings
    return StageKey("encode", f"sub-{person.label}", {
        "normalise": settings.glm.normalise, "seed": settings.random_seed,
        "device": study.device_kind, "targets": study.target_key,
        "region": study.region_key(person),
        "encoding": asdict(settings.section(Encoding)),
        "evaluation": asdict(settings.evaluation), "betas": person.responses_key,
        "pictures": pictures,
    })


def _card(study: Study, person: PersonWork) -> dict[str, Any]:
    settings, kind = study.settings, study.targets.kind
    return {
        "participant": person.label, "version": __version__, "seed": settings.random_seed,
        "split": study.split.kind, "target_kind": kind,
        "features": study.targets.encoder.name if kind == "image" else "table",
    }


def _pictures_key(targets: TargetSpec) -> str:
    return content_key({name: file_digest(path) for name, path in sorted(targets.images.items())})


def _check_targets(encoding: Encoding, targets: TargetSpec) -> list[Finding]:
    option = f"--encoder {encoding.encoder}"
    if targets.kind in ("category", "value"):
        return [Finding(
            option, f"this call decodes {KINDS[targets.kind].column}s, which describe no single "
            "stimulus",
            "give pictures (--target image, --stimuli-dir) or vectors of stimuli (--features)",
        )]
    absent = [name for name in targets.ids if name not in targets.images]
    if absent and needs_pictures(encoders_of(encoding)):
        return [Finding(
            option, f"{len(absent)} of {len(targets.ids)} stimuli have no picture, for instance "
            f"{absent[0]}", "put them into stimuli/, name their folder with --stimuli-dir, or "
            "use --encoder ridge", ExitCode.MISSING_INPUT,
        )]
    return []


def _check_ranges(encoding: Encoding) -> list[Finding]:
    return [
        Finding(f"[encoding] {name}", f"is {getattr(encoding, name)}",
                f"give a number from {low} to {high}", ExitCode.USAGE)
        for name, (low, high) in _RANGES.items()
        if not low <= getattr(encoding, name) <= high
    ]


def encoders_of(encoding: Encoding) -> tuple[str, ...]:
    """Return the chosen encoder and those that it is compared with."""
    name = encoding.encoder
    return () if name is None else (name, *load_encoder(name).comparators)


def needs_pictures(names: tuple[str, ...]) -> bool:
    """Return whether one of these encoders reads pictures."""
    return any(load_encoder(name).needs_pictures for name in names)


def too_few(table: pd.DataFrame) -> str | None:
    """Return why responses of this trial table cannot be predicted and scored, or None."""
    usable = table[~table["excluded"].astype(bool)]
    held = usable.loc[usable["split"] == "test", "stimulus"].nunique()
    if held < MIN_TEST_STIMULI:
        return f"{held} held-out stimuli, {MIN_TEST_STIMULI} are needed"
    try:
        check_stimuli(usable.loc[usable["split"] == "train", "stimulus"].nunique())
    except BidsDecoderError as error:
        return error.finding.why
    return None
