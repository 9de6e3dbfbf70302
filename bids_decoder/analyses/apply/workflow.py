"""A decoder applied to one participant, as a workflow."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path

from nipype.interfaces.utility import IdentityInterface
from nipype.pipeline.engine import Node, Workflow

from bids_decoder.analyses.apply.galleries import Pictures
from bids_decoder.analyses.apply.interfaces import ApplyDecoder
from bids_decoder.analyses.apply.options import Apply
from bids_decoder.analyses.apply.plan import ApplySpec
from bids_decoder.analyses.fitting import n_threads
from bids_decoder.analyses.jobs import Job
from bids_decoder.markers import StageKey
from bids_decoder.seeds import derive_seed
from bids_decoder.workflows.shared import (
    image_vectors_node,
    mark_node,
    response_gb,
    targets_node,
)
from bids_decoder.workflows.wiring import Output, Wiring
from bids_decoder.workflows.work import TargetSpec, Work, person_entities, run_path


def build(job: Job, wiring: Wiring) -> None:
    """Add the decoder of one participant to the workflow of the call."""
    spec: ApplySpec = job.spec
    vectors = {
        f"{name}_file": _vectors(wiring, spec, name) for name in _searched(spec.pictures)
    }
    wiring.add(
        init_apply_wf(wiring.work, spec, job.key, job.name),
        folder=wiring.responses(spec.person.label), **vectors,
    )


def _searched(pictures: Pictures) -> list[str]:
    """Return which tables of vectors are needed: of a gallery, of the stimuli."""
    has_stimuli = bool(pictures.stimuli) or pictures.features is not None
    return ["gallery"] * bool(pictures.gallery) + ["stimuli"] * has_stimuli


def _vectors(wiring: Wiring, spec: ApplySpec, name: str) -> Output:
    """Return vectors that are searched, which the jobs of all participants share."""
    if spec.pictures.features is not None:
        features = spec.pictures.features
        chosen = replace(wiring.work, targets=TargetSpec("features", features.ids, features.source))
        return wiring.once("targets", "targets_file", lambda: targets_node(chosen))
    images: Mapping[str, Path] = getattr(spec.pictures, name)
    targets = replace(wiring.work.targets, encoder=spec.pictures.encoder)
    work, node = replace(wiring.work, targets=targets), f"applied{name}"
    return wiring.once(node, "targets_file", lambda: image_vectors_node(
        work, images, node, tuple(images)
    ))


def init_apply_wf(work: Work, spec: ApplySpec, key: StageKey, name: str) -> Workflow:
    """Wire the decoder of one participant and its outputs.

    Parameters
    ----------
    work : Work
    spec : ApplySpec
    key : StageKey
    name : str

    Returns
    -------
    Workflow
        ``inputnode``: ``folder`` (responses), ``gallery_file`` and ``stimuli_file`` (vectors,
        where they are searched).
    """
    workflow, settings, person = Workflow(name), work.settings, spec.person
    files = [f"{name}_file" for name in _searched(spec.pictures)]
    inputnode = Node(IdentityInterface(["folder", *files]), "inputnode")
    decode = Node(
        ApplyDecoder(
            key=key.key, output_dir=str(work.output_dir), entities=person_entities(person),
            card=dict(spec.card), model_file=str(spec.model),
            are_volumes=settings.trials.trial_unit == "volume",
            scaling=settings.section(Apply).scaling, evaluation=asdict(settings.evaluation),
            facts={"participant": person.label, "dataset": spec.card.get("TrainingDataset", ""),
                   "normalise": settings.glm.normalise},
            seed=derive_seed(settings.random_seed, "apply", person.label),
            n_threads=n_threads(work),
        ),
        "decode", mem_gb=response_gb(person), n_procs=n_threads(work),
    )
    if spec.aligns:
        decode.inputs.boldref_file = str(run_path(work.output_dir, "boldref", person.runs[0]))
    decode.inputs.images = {name: str(path) for name, path in spec.pictures.gallery.items()}
    if spec.painting is not None:
        decode.inputs.trait_set(
            painter_file=str(spec.painting.painter), reconstruction=asdict(spec.painting.plan),
            shown={name: str(path) for name, path in spec.painting.shown.items()},
            trained={name: str(path) for name, path in spec.painting.trained.items()},
            device=work.device, use_gpu=work.device != "cpu",
        )
    mark = mark_node(work, key, "mark_apply")
    workflow.connect([
        (inputnode, decode, [(name, name) for name in ("folder", *files)]),
        (decode, mark, [("out_files", "out_files")]),
    ])
    return workflow
