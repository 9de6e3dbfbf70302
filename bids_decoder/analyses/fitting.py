"""Planning and wiring that all analyses with a decoder share."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict
from typing import Any

from bids_decoder.analyses.jobs import Job, Notes
from bids_decoder.analyses.study import Study, job_name
from bids_decoder.bids.dataset import Participant
from bids_decoder.errors import BidsDecoderError, ExitCode, Finding, name_some
from bids_decoder.markers import StageKey
from bids_decoder.training.decoders import DECODERS
from bids_decoder.workflows.wiring import Output, Wiring
from bids_decoder.workflows.work import PersonWork, Work


def check_decoder(study: Study, notes: Notes) -> None:
    """Note data that the decoder cannot read and targets that it cannot predict."""
    name = study.settings.network.decoder
    entry = DECODERS[name]
    if study.targets.kind not in entry.kinds:
        notes.findings.append(Finding(
            f"--decoder {name}", f"cannot decode {study.targets.kind}",
            f"decode something else: --target {' or '.join(entry.kinds)}", ExitCode.USAGE,
        ))
    _check_budget(study, notes)
    if entry.needs != "volumes":
        return
    for participant in study.involved:
        shape = _flat_grid(participant)
        if shape is not None:
            notes.findings.append(Finding(
                f"sub-{participant.label}: image grid {shape}",
                f"its voxels have no positions in a volume, which --decoder {name} reads",
                "use --decoder troi", participant=participant.label,
            ))


def _flat_grid(participant: Participant) -> tuple[int, ...] | None:
    """Return the grid of a participant if it is no volume; None if it is, or is not known."""
    try:
        shape = participant.runs[0].header.shape[:3]
    except BidsDecoderError:
        # Reported by check_run, with all files that cannot be read.
        return None
    return shape if sum(size > 1 for size in shape) < 2 else None


def _check_budget(study: Study, notes: Notes) -> None:
    """Note a volume of the region where voxels, or vertices, have none."""
    volume = study.settings.troi.budget_mm3
    flat = [
        f"sub-{participant.label}" for participant in study.involved
        if _flat_grid(participant) is not None
    ]
    if volume is not None and flat:
        notes.findings.append(Finding(
            f"--budget {volume:g}mm3", "vertices of surfaces, and voxels without positions, have "
            f"no volume ({len(flat)} participant(s): {name_some(flat)})",
            "give the number of vertices or voxels, as 3000vox, or leave the option out: the "
            "number is then estimated", ExitCode.USAGE,
        ))


def decoded(study: Study, made: Mapping[str, Job]) -> Iterator[tuple[PersonWork, Job]]:
    """Yield the participants that are decoded, each with the job of its decoder."""
    for person in study.chosen_people:
        if (decode := made.get(f"decoder/{person.label}")) is not None:
            yield person, decode


def job_of_decoder(
    study: Study, analysis: str, person: PersonWork, decode: Job, spec: Any, **components: Any
) -> Job:
    """Return a job of one stage that reads what the decoder of a participant fitted.

    Parameters
    ----------
    study : Study
    analysis : str
        Also the name of the stage.
    person : PersonWork
    decode : Job
        As :func:`decoded` yields it.
    spec : object
        What the builder needs to know.
    **components
        What the results depend on besides the decoder, for the key.
    """
    key = StageKey(analysis, f"sub-{person.label}", {"decode": decode.key.key, **components})
    return Job(
        job_name(analysis, person), analysis, (study.stage(key),), spec, uses=(decode.gives,)
    )


def output_of_decoder(job: Job, wiring: Wiring, name: str) -> Output | None:
    """Return an output of the decoder that a job of :func:`job_of_decoder` uses."""
    (decoder,) = job.uses
    return wiring.find(f"{decoder}/{name}")


def fit_inputs(work: Work, key: StageKey, seed: int) -> dict[str, Any]:
    """Return the inputs of all nodes that fit or apply a decoder."""
    settings = work.settings
    return {
        "key": key.key, "decoder": settings.network.decoder, "network": asdict(settings.network),
        "troi": asdict(settings.troi), "volumes": asdict(settings.volumes),
        "normalise": settings.glm.normalise, "seed": seed,
        "device": work.device, "use_gpu": work.device != "cpu",
        "n_threads": n_threads(work),
    }


def n_threads(work: Work) -> int:
    """Return the threads of one node."""
    return max(1, work.settings.resources.omp_nthreads)
