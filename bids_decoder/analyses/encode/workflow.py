"""Workflow of the encoding models of one participant: stimuli to voxel responses."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from nipype.interfaces.utility import IdentityInterface
from nipype.pipeline.engine import Node, Workflow

from bids_decoder.analyses.encode.interfaces import (
    FitEncoder,
    GreyPictures,
    MakeEncodingTask,
    ScoreEncoders,
    WriteEncoding,
)
from bids_decoder.analyses.encode.plan import EncodeSpec
from bids_decoder.analyses.fitting import n_threads
from bids_decoder.analyses.jobs import Job
from bids_decoder.markers import StageKey
from bids_decoder.seeds import derive_seed
from bids_decoder.training.encoding_settings import Encoding
from bids_decoder.workflows.shared import BASE_GB, gather, mark_node, response_gb
from bids_decoder.workflows.wiring import Wiring
from bids_decoder.workflows.work import PersonWork, Work, person_entities

_BYTES_PER_WEIGHT = 20
"""Weight, gradient, two moments of Adam, and the copy that is saved."""


def build(job: Job, wiring: Wiring) -> None:
    """Add the encoding models of one participant; pictures are read once per call."""
    spec: EncodeSpec = job.spec
    inputs = {"targets_file": wiring.targets(), "folder": wiring.responses(spec.person.label)}
    if spec.needs_pictures:
        inputs["pictures_file"] = wiring.once(
            "pictures", "pictures_file", lambda: pictures_node(wiring.work)
        )
    wiring.add(init_encode_wf(wiring.work, spec, job.key, job.name), **inputs)


def pictures_node(work: Work) -> Node:
    """Make the node that reads the pictures of all stimuli."""
    images = {key: str(path) for key, path in work.targets.images.items()}
    size = work.settings.section(Encoding).image_size
    node = Node(GreyPictures(size=size), "pictures", mem_gb=BASE_GB)
    node.inputs.images = images
    return node


def init_encode_wf(work: Work, encode: EncodeSpec, key: StageKey, name: str) -> Workflow:
    """Wire the fits of all encoders, their scores and their outputs.

    Parameters
    ----------
    work : Work
    encode : EncodeSpec
    key : StageKey
    name : str

    Returns
    -------
    Workflow
        ``inputnode``: ``targets_file``, ``folder`` (responses), ``pictures_file`` (left
        unconnected where no encoder reads pictures).
    """
    person, settings = encode.person, work.settings
    encoding = settings.section(Encoding)
    workflow = Workflow(name)
    fields = ["targets_file", "folder"] + ["pictures_file"] * encode.needs_pictures
    inputnode = Node(IdentityInterface(fields), "inputnode")
    shared = {"key": key.key, "encoding": asdict(encoding)}
    seed = derive_seed(settings.random_seed, "encode", person.label)
    task = Node(
        MakeEncodingTask(**shared, participant=person.label, normalise=settings.glm.normalise,
                         seed=seed, fold=encode.fold),
        "task", mem_gb=response_gb(person),
    )
    fits = [_fit_node(work, person, name, {**shared, "seed": seed}) for name in encode.names]
    score = Node(
        ScoreEncoders(
            key=key.key, names=list(encode.names),
            n_selected=encoding.n_selected, evaluation=asdict(settings.evaluation),
            seed=derive_seed(settings.random_seed, "score encoders", person.label),
        ),
        "score", mem_gb=response_gb(person),
    )
    write = Node(
        WriteEncoding(
            key=key.key, output_dir=str(work.output_dir), names=list(encode.names),
            entities=person_entities(person), card=encode.card,
        ),
        "write", mem_gb=BASE_GB,
    )
    mark = mark_node(work, key, "mark_encode")
    gather(workflow, fits, "encoded_file", score, "encoded_files")
    gather(workflow, fits, "model_file", write, "model_files")
    workflow.connect([
        *((task, fit, [("task_file", "task_file")]) for fit in fits),
        (inputnode, task, [(field, field) for field in fields]),
        (task, score, [("measured_file", "measured_file")]),
        (inputnode, write, [("folder", "folder")]),
        (task, write, [("measured_file", "measured_file")]),
        (score, write, [(f"{table}_file", f"{table}_file")
                        for table in ("metrics", "comparisons", "predictions", "nulls", "maps")]),
        (write, mark, [("out_files", "out_files")]),
    ])
    return workflow


def _fit_node(work: Work, person: PersonWork, encoder: str, shared: dict[str, Any]) -> Node:
    node = FitEncoder(
        **shared, encoder=encoder, device=work.device, use_gpu=work.device != "cpu",
        n_threads=n_threads(work),
    )
    return Node(
        node, f"fit_{encoder.replace('-', '_')}", mem_gb=_fit_gb(work, person),
        n_procs=n_threads(work),
    )


def _fit_gb(work: Work, person: PersonWork) -> float:
    """Estimate the memory of a fit, in GB: the larger of responses and read-out."""
    from bids_decoder.models.encoding import n_features

    settings = work.settings.section(Encoding)
    n_weights = n_features(settings.image_size, settings.channels) * settings.max_voxels
    return max(response_gb(person), BASE_GB + _BYTES_PER_WEIGHT * n_weights / 1e9)
