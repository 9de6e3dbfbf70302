"""The part of the plan that is about encoding models."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pandas as pd

from bids_decoder import __version__
from bids_decoder.config import Settings
from bids_decoder.errors import BidsDecoderError, ExitCode, Finding
from bids_decoder.evaluation.splits import Split
from bids_decoder.files import content_key, file_digest
from bids_decoder.markers import StageKey
from bids_decoder.workflows.work import EncodeWork, PersonWork, TargetSpec

MIN_TEST_STIMULI = 3

_RANGES = {
    "image_size": (8, 1024), "channels": (1, 4096), "epochs": (0, 1_000_000),
    "batch_size": (3, 1_000_000), "learning_rate": (1e-12, 10.0), "weight_decay": (0.0, 10.0),
    "output_noise": (0.0, 1e6), "validation_share": (0.01, 0.5), "max_voxels": (1, 10_000_000),
    "n_selected": (1, 10_000_000),
}
"""Settings of ``[encoding]`` and the least and the largest value that makes sense."""


def wants_encoding(settings: Settings) -> bool:
    """Whether this call fits encoding models."""
    execution = settings.execution
    return (
        settings.encoding.encoder is not None and "participant" in execution.analysis_level
        and "encode" in execution.stage
    )


def check_encoding(settings: Settings, targets: TargetSpec) -> list[Finding]:
    """Find what stands in the way of an encoding model.

    Parameters
    ----------
    settings : Settings
    targets : TargetSpec

    Returns
    -------
    list of Finding
    """
    findings = []
    if settings.encoding.encoder is None and settings.execution.stage == ("encode",):
        findings.append(Finding(
            "--stage encode", "no encoder is chosen", "give one with --encoder", ExitCode.USAGE,
        ))
    if not wants_encoding(settings):
        return findings
    findings += _check_ranges(settings)
    option = f"--encoder {settings.encoding.encoder}"
    if targets.kind == "category":
        findings.append(Finding(
            option, "this dataset is planned for labels, which describe no single stimulus",
            "give pictures (--target image, --stimuli-dir) or vectors of stimuli (--features)",
        ))
        return findings
    absent = [name for name in targets.ids if name not in targets.images]
    if absent and needs_pictures(encoders_of(settings)):
        findings.append(Finding(
            option, f"{len(absent)} of {len(targets.ids)} stimuli have no picture, for instance "
            f"{absent[0]}", "put them into stimuli/, name their folder with --stimuli-dir, or "
            "use --encoder ridge", ExitCode.MISSING_INPUT,
        ))
    return findings


def _check_ranges(settings: Settings) -> list[Finding]:
    return [
        Finding(f"[encoding] {name}", f"is {getattr(settings.encoding, name)}",
                f"give a number from {low} to {high}", ExitCode.USAGE)
        for name, (low, high) in _RANGES.items()
        if not low <= getattr(settings.encoding, name) <= high
    ]


def encoders_of(settings: Settings) -> tuple[str, ...]:
    """Give the chosen encoder and those that are scored beside it."""
    from bids_decoder.training.encoders import load_encoder

    name = settings.encoding.encoder
    return () if name is None else (name, *load_encoder(name).comparators)


def needs_pictures(names: tuple[str, ...]) -> bool:
    """Whether one of these encoders reads pictures."""
    from bids_decoder.training.encoders import load_encoder

    return any(load_encoder(name).needs_pictures for name in names)


def too_few(table: pd.DataFrame) -> str | None:
    """Say why responses of this trial table cannot be predicted and scored, or None."""
    from bids_decoder.training.encoders import check_stimuli

    usable = table[~table["excluded"].astype(bool)]
    held = usable.loc[usable["split"] == "test", "stimulus"].nunique()
    if held < MIN_TEST_STIMULI:
        return f"{held} held-out stimuli, {MIN_TEST_STIMULI} are needed"
    try:
        check_stimuli(usable.loc[usable["split"] == "train", "stimulus"].nunique())
    except BidsDecoderError as error:
        return error.finding.why
    return None


def plan_encoding(
    settings: Settings, person: PersonWork, targets: TargetSpec, split: Split,
    shared: dict[str, Any], is_left: Callable[[StageKey], bool],
) -> EncodeWork | None:
    """Work out the encode stage of one participant.

    Parameters
    ----------
    settings : Settings
    person : PersonWork
    targets : TargetSpec
    split : Split
    shared : dict
        What the key has in common with that of the decode stage.
    is_left : callable
        Says whether a stage is still to do.

    Returns
    -------
    EncodeWork or None
        None when it is done.
    """
    names = encoders_of(settings)
    pictures = needs_pictures(names)
    digests = {name: file_digest(path) for name, path in sorted(targets.images.items())}
    key = StageKey("encode", f"sub-{person.label}", {
        **shared, "encoding": settings.to_dict()["encoding"],
        "evaluation": settings.to_dict()["evaluation"], "betas": person.betas_key,
        "pictures": content_key(digests) if pictures else None,
    })
    if not is_left(key):
        return None
    return EncodeWork(key, names, pictures, {
        "participant": person.label, "version": __version__, "seed": settings.random_seed,
        "split": split.kind, "target_kind": targets.kind,
        "features": settings.trials.image_encoder if targets.kind == "image" else "table",
    })
