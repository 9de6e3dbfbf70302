"""Choose and check the pretrained model of a participant."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bids_decoder.analyses.jobs import Job, Notes
from bids_decoder.analyses.study import Study
from bids_decoder.bids.cifti import is_cifti
from bids_decoder.bids.map_files import read_rows_key
from bids_decoder.bids.pretrained_files import find_pretrained, pretrained_path
from bids_decoder.bids.signatures import match_copies, run_signatures
from bids_decoder.errors import BidsDecoderError, ExitCode, Finding, InputError, name_some
from bids_decoder.interfaces.responses import shared_space
from bids_decoder.models.store import check_digest, load_card
from bids_decoder.stimuli.sketch import say_length
from bids_decoder.training.decoders import DECODERS
from bids_decoder.trials import KINDS, Decision
from bids_decoder.workflows.work import PersonWork

_NEEDED = ("stage_key", "dataset", "participants", "targets")


@dataclass(frozen=True, eq=False)
class ModelFile:
    """A pretrained model, on disk or made by this call.

    Parameters
    ----------
    path : Path
    card : mapping
        Its card, or the part that is known before the model is fitted.
    """

    path: Path
    card: Mapping[str, Any]


def find_model(study: Study, label: str, made: Mapping[str, Job]) -> ModelFile | None:
    """Find the pretrained model: of this call, of ``--pretrained``, or in the output folder.

    Parameters
    ----------
    study : Study
    label : str
    made : mapping of str to Job
        Jobs of this call.

    Returns
    -------
    ModelFile or None
        None to decode from scratch, for targets that are decoded in each participant alone, or when
        there is no model.

    Raises
    ------
    BidsDecoderError
        When the model of ``--pretrained`` cannot be used.
    """
    execution = study.settings.execution
    if execution.from_scratch or not KINDS[study.targets.kind].pretrains:
        return None
    if execution.pretrained is not None:
        given = find_pretrained(execution.pretrained, label)
        return ModelFile(given, _read_card(given))
    own, common = (pretrained_path(study.output_dir, name) for name in (label, None))
    job = made.get(f"model/{(own if study.roles.leaves_one_out else common).name}")
    if job is not None:
        return ModelFile(job.spec.path, job.card)
    found = [path for path in (own, common) if path.is_file()]
    return ModelFile(found[0], _read_card(found[0])) if found else None


def check_model(
    study: Study, person: PersonWork, model: ModelFile, notes: Notes, *, is_due: bool
) -> dict[str, Any]:
    """Check a model, and return the decoded data that it saw in pretraining.

    Parameters
    ----------
    study : Study
    person : PersonWork
    model : ModelFile
    notes : Notes
    is_due : bool
        Whether the model will be read; its file is checked only then.
    """
    _check_fits(study, person.label, model, notes)
    _check_space(study, person, model, notes)
    seen = _seen(study, person, model, notes)
    if is_due and "sha256" in model.card:
        _check_whole(study, model, notes)
    return seen


def _read_card(path: Path) -> dict[str, Any]:
    """Read the card of a pretrained model, which must list the data that the model saw."""
    card = load_card(path)
    absent = [name for name in _NEEDED if name not in card]
    if absent:
        raise InputError(
            f"card of model {path}", f"does not say: {', '.join(absent)}",
            "give a model that the group level of bids_decoder pretrained",
        )
    return card


def _seen(study: Study, person: PersonWork, model: ModelFile, notes: Notes) -> dict[str, Any]:
    """Return the decoded data that a model saw; refuse the model unless that is allowed."""
    card, label = model.card, person.label
    named = label in card["participants"] and card["dataset"] == study.dataset.name
    copies = {} if named else _copied_runs(person, card)
    stimuli = set() if KINDS[study.targets.kind].over_runs else (
        set(study.split.tested_stimuli) & set(card.get("stimuli_seen", []))
    )
    problems = [f"it was pretrained on sub-{label}"] if named else []
    problems += [_say_copies(copies)] if copies else []
    problems += [f"it saw {len(stimuli)} of the test stimuli"] if stimuli else []
    if problems:
        without = label if named else "LABEL"
        notes.findings.append(Finding(
            f"sub-{label} with model {model.path.name}", " and ".join(problems),
            f"pretrain with 'group --holdout-label {without}' or --leave-one-out, or accept "
            "marked results with --allow-seen", ExitCode.BAD_DATA,
            "warning" if study.settings.execution.allow_seen else "error", label,
        ))
    return {"seen_in_pretraining": named or bool(copies), "test_stimuli_seen": len(stimuli)}


def _copied_runs(person: PersonWork, card: Mapping[str, Any]) -> dict[str, str]:
    """Return runs of which a model saw copies under other names."""
    known = card.get("signatures")
    return match_copies(run_signatures(person.runs), known) if known else {}


def _say_copies(copies: Mapping[str, str]) -> str:
    pairs = [f"{own} is a copy of {name}" for own, name in copies.items()]
    return f"it was pretrained on {len(copies)} of these runs under other names: {name_some(pairs)}"


def _check_whole(study: Study, model: ModelFile, notes: Notes) -> None:
    """Note a damaged file; the card of a model of this call has no checksum yet."""
    try:
        check_digest(model.path, model.card, study.digest(model.path))
    except BidsDecoderError as error:
        notes.findings.append(error.finding)


def _check_fits(study: Study, label: str, model: ModelFile, notes: Notes) -> None:
    """Note a pretrained model of other targets; a model of this call always fits."""
    card, targets = model.card, study.targets
    if "targets" not in card:
        return
    name = study.settings.network.decoder
    there = {"decoder": card.get("decoder"), "target": card["targets"].get("kind")}
    here = {"decoder": name, "target": targets.kind}
    if targets.kind == "image":
        there["image encoder"] = _named(card.get("encoder"))
        here["image encoder"] = _named(targets.encoder.identity)
    if targets.kind == "features":
        told, table = card["targets"], study.feature_table
        there["number of feature dimensions"] = say_length(
            told.get("n_dims"), told.get("sketched", 0)
        )
        here["number of feature dimensions"] = say_length(table.vectors.shape[1], table.sketched)
        there["text encoder"] = card["targets"].get("encoder") or "none"
        here["text encoder"] = study.text_encoder or "none"
    if targets.kind == "category" and not DECODERS[name].transfers:
        there["labels"] = ", ".join(card["targets"].get("labels", []))
        here["labels"] = ", ".join(targets.ids)
    other = [key for key in here if here[key] != there[key]]
    if other:
        notes.findings.append(Finding(
            f"sub-{label} with model {model.path.name}", "; ".join(
                f"its {key} is '{there[key]}', here it is '{here[key]}'" for key in other
            ), "pretrain with the options of this call, or give those of pretraining here (for "
            "instance --image-encoder), or use --from-scratch",
            participant=label,
        ))


def _check_space(study: Study, person: PersonWork, model: ModelFile, notes: Notes) -> None:
    """Note responses in another space than the maps of a pretrained model."""
    common = model.card.get("common") or {}
    there = common.get("space")
    here = shared_space(person.runs[0].entities) or "func"
    if there not in (None, here) and study.settings.network.group_prior:
        notes.findings.append(Finding(
            f"sub-{person.label} with model {model.path.name}",
            f"its maps of voxel functions are in the space {there}, the responses in {here}: "
            "they cannot be used as a prior",
            f"give --output-spaces {there} with the resolution of pretraining, or "
            "pretrain in this space", severity="warning", participant=person.label,
        ))
    elif there is not None and _has_other_rows(person, common) and \
            study.settings.network.group_prior:
        notes.findings.append(Finding(
            f"sub-{person.label} with model {model.path.name}",
            "the rows of its maps are other grayordinates than those of the responses: they "
            "cannot be used as a prior",
            "preprocess all participants with one version and --cifti-output", severity="warning",
            participant=person.label,
        ))
    elif there is not None and "shape" in common and person.source != "raw":
        _say_resampled(person, model, notes)


def _has_other_rows(person: PersonWork, common: Mapping[str, Any]) -> bool:
    file = person.runs[0].image_file
    return is_cifti(file) and read_rows_key(file) != common.get("rows_key")


def _say_resampled(person: PersonWork, model: ModelFile, notes: Notes) -> None:
    """Note that the maps of a model are resampled to the grid of a participant."""
    common, header = model.card["common"], person.participant.runs[0].header
    if list(header.shape[:3]) != common["shape"] and "voxel_sizes_mm" in common:
        sizes = " x ".join(f"{size:g}" for size in common["voxel_sizes_mm"])
        own = " x ".join(f"{size:g}" for size in header.voxel_sizes)
        notes.decisions.append(Decision(
            "prior of the group", f"resampled from voxels of {sizes} mm to {own} mm",
            f"model {model.path.name} has its maps on another grid of {common['space']}",
        ))


def _named(encoder: Mapping[str, str] | None) -> str:
    return ", ".join(f"{key} {value}" for key, value in (encoder or {}).items()) or "not recorded"
