"""Planning and wiring that all analyses with a decoder share."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from bids_decoder.analyses.jobs import Notes
from bids_decoder.analyses.study import Study
from bids_decoder.bids.images import read_header
from bids_decoder.errors import ExitCode, Finding
from bids_decoder.markers import StageKey
from bids_decoder.training.decoders import DECODERS
from bids_decoder.workflows.work import Work


def check_decoder(study: Study, notes: Notes) -> None:
    """Note data that the decoder cannot read and targets that it cannot predict."""
    name = study.settings.network.decoder
    entry = DECODERS[name]
    if study.targets.kind not in entry.kinds:
        notes.findings.append(Finding(
            f"--decoder {name}", f"cannot decode {study.targets.kind}",
            f"decode something else: --target {' or '.join(entry.kinds)}", ExitCode.USAGE,
        ))
    if entry.needs != "volumes":
        return
    for participant in study.involved:
        shape = read_header(participant.runs[0].image_file).shape[:3]
        if sum(size > 1 for size in shape) < 2:
            notes.findings.append(Finding(
                f"sub-{participant.label}: image grid {shape}",
                f"its voxels have no positions in a volume, which --decoder {name} reads",
                "use --decoder troi", participant=participant.label,
            ))


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
