"""Pretraining across people and decoding of one person, as workflows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from nipype.interfaces.utility import IdentityInterface, Merge
from nipype.pipeline.engine import Node, Workflow

from bids_decoder.config import REGIONS
from bids_decoder.interfaces.decoding import (
    AdaptDecoder,
    CollectResponses,
    MakeTargets,
    PredictHeldOut,
    Pretrain,
    ScoreDecoding,
    SelectVoxels,
    WriteDecoding,
)
from bids_decoder.interfaces.markers import MarkDone
from bids_decoder.interfaces.outputs import ModelSink
from bids_decoder.interfaces.reconstruction import ReconstructImages
from bids_decoder.interfaces.refit import RefitPermuted
from bids_decoder.markers import StageKey
from bids_decoder.seeds import derive_seed
from bids_decoder.workflows.spaces import n_grid_voxels
from bids_decoder.workflows.work import (
    PersonWork,
    PretrainWork,
    Work,
    betas_paths,
    person_entities,
)

BASE_GB = 1.5
COPIES = 4
BRAIN_SHARE = 0.35


def mark_node(work: Work, key: StageKey, name: str) -> Node:
    """Make the node that marks a stage as done."""
    return Node(
        MarkDone(
            output_dir=str(work.output_dir), stage=key.stage, unit=key.unit,
            components=key.components,
        ),
        name, run_without_submitting=True,
    )


def targets_node(work: Work) -> Node:
    """Make the node that turns labels, features or images into target vectors."""
    spec = work.targets
    if spec.kind == "image":
        return _image_vectors_node(work, spec.images, "targets", spec.ids)
    node = Node(MakeTargets(kind=spec.kind, ids=list(spec.ids)), "targets", mem_gb=BASE_GB)
    if spec.features is not None:
        node.inputs.features = str(spec.features)
    return node


def gallery_node(work: Work) -> Node:
    """Make the node that encodes the images of the gallery."""
    return _image_vectors_node(work, work.targets.gallery, "gallery", tuple(work.targets.gallery))


def _image_vectors_node(
    work: Work, images: Mapping[str, Path], name: str, ids: Sequence[str]
) -> Node:
    choice = work.targets.encoder
    needs_network = choice.weights is not None
    threads = max(1, work.settings.resources.omp_nthreads) if needs_network else 1
    node = Node(
        MakeTargets(
            kind="image", ids=list(ids), encoder=choice.name,
            images={key: str(path) for key, path in images.items()},
            cache_dir=str(work.work_dir / "embeddings"), n_threads=threads,
        ),
        name, mem_gb=BASE_GB, n_procs=threads,
    )
    if choice.weights is not None:
        node.inputs.trait_set(
            weights=str(choice.weights.path), weights_sha256=choice.weights.sha256,
            device=work.device, use_gpu=work.device != "cpu",
        )
    return node


def responses_node(work: Work, person: PersonWork) -> Node:
    """Make the node that joins the beta series of a person, in or from the derivatives."""
    betas, tables = betas_paths(work.output_dir, person)
    node = Node(CollectResponses(), f"responses_{person.node_label}", mem_gb=response_gb(person))
    node.inputs.key = person.betas_key
    node.inputs.betas_files = [str(path) for path in betas]
    node.inputs.trials_files = [str(path) for path in tables]
    if work.settings.troi.region not in REGIONS:
        node.inputs.mask_files = [work.settings.troi.region]
    return node


def response_gb(person: PersonWork) -> float:
    """Estimate the memory that the joined responses of a person need, in GB."""
    n_voxels = n_grid_voxels(person.participant, person.space)
    tables = [path.read_text(encoding="utf-8") for path in person.trials.values()]
    n_trials = sum(len(table.splitlines()) - 1 for table in tables)
    return BASE_GB + COPIES * BRAIN_SHARE * 4e-9 * n_voxels * n_trials


def _fit_inputs(work: Work, key: StageKey, seed: int) -> dict[str, Any]:
    settings = work.settings
    return {
        "key": key.key, "decoder": settings.network.decoder, "network": asdict(settings.network),
        "troi": asdict(settings.troi), "volumes": asdict(settings.volumes),
        "normalise": settings.glm.normalise, "seed": seed,
        "device": work.device, "use_gpu": work.device != "cpu",
        "n_threads": max(1, settings.resources.omp_nthreads),
    }


def init_pretrain_wf(work: Work, pretrain: PretrainWork, name: str) -> Workflow:
    """Wire the pretraining of one model.

    Parameters
    ----------
    work : Work
    pretrain : PretrainWork
    name : str

    Returns
    -------
    Workflow
        ``inputnode``: ``targets_file``, ``folders`` (responses in the order of the sources).
        ``outputnode``: ``model_file`` in the derivatives, ``marker``.
    """
    workflow = Workflow(name)
    inputnode = Node(IdentityInterface(["targets_file", "folders"]), "inputnode")
    outputnode = Node(IdentityInterface(["model_file", "marker"]), "outputnode")
    seed = derive_seed(work.settings.random_seed, "pretrain", *pretrain.sources)
    people = {person.label: person for person in work.people}
    fit = Node(
        Pretrain(
            **_fit_inputs(work, pretrain.key, seed), participants=list(pretrain.sources),
            card=pretrain.card, checkpoint_dir=str(work.work_dir / "checkpoints"),
        ),
        "pretrain", n_procs=max(1, work.settings.resources.omp_nthreads),
        mem_gb=max(response_gb(people[label]) for label in pretrain.sources),
    )
    sink = Node(ModelSink(out_file=str(pretrain.path)), "sink_model", run_without_submitting=True)
    mark = mark_node(work, pretrain.key, "mark_pretrain")
    workflow.connect([
        (inputnode, fit, [("targets_file", "targets_file"), ("folders", "folders")]),
        (fit, sink, [("model_file", "in_file")]),
        (sink, mark, [("out_files", "out_files")]),
        (sink, outputnode, [("model_file", "model_file")]),
        (mark, outputnode, [("marker", "marker")]),
    ])
    return workflow


def init_decode_wf(work: Work, person: PersonWork, name: str) -> Workflow:
    """Wire voxel selection, fine-tuning, prediction and scoring of one person.

    Parameters
    ----------
    work : Work
    person : PersonWork
        With ``decode``.
    name : str

    Returns
    -------
    Workflow
        ``inputnode``: ``targets_file``, ``folder`` (responses), ``pretrained_file`` (where
        there is pretraining), ``gallery_file`` (where there is a gallery). ``outputnode``:
        ``marker``.
    """
    decode = person.decode
    workflow = Workflow(name)
    fields = ["targets_file", "folder"] + ["pretrained_file"] * (decode.pretrained is not None)
    fields += ["gallery_file"] * bool(work.targets.gallery)
    inputnode = Node(IdentityInterface(fields), "inputnode")
    outputnode = Node(IdentityInterface(["marker"]), "outputnode")
    final = _fold_nodes(workflow, work, person, inputnode, fold=0, predicts=not decode.folds)
    folds = [
        _fold_nodes(workflow, work, person, inputnode, fold=fold, predicts=True)
        for fold in decode.folds
    ]
    seed = derive_seed(work.settings.random_seed, "score", person.label)
    score = Node(ScoreDecoding(evaluation=asdict(work.settings.evaluation), seed=seed),
                 "score", mem_gb=BASE_GB)
    write = Node(
        WriteDecoding(
            key=decode.key.key, output_dir=str(work.output_dir),
            entities=person_entities(person), decoder=work.settings.network.decoder,
            card=decode.card,
        ),
        "write", mem_gb=BASE_GB,
    )
    mark = mark_node(work, decode.key, "mark_decode")
    _add_pictures(workflow, work, person, inputnode, final, score, write)
    _gather(workflow, [nodes["predict"] for nodes in folds or [final]], "heldout_file",
            score, "heldout_files")
    _gather(workflow, [nodes["predict"] for nodes in folds or [final]], "relevance_file",
            write, "relevance_files")
    if folds and work.settings.evaluation.n_refits:
        _gather(workflow, [nodes["refit"] for nodes in folds], "nulls_file", score, "nulls_files")
    if folds:
        _gather(workflow, [nodes["select"] for nodes in folds], "selection_file",
                write, "fold_selections")
        _gather(workflow, [nodes["adapt"] for nodes in folds], "model_file",
                write, "fold_models")
    workflow.connect([
        (inputnode, score, [("targets_file", "targets_file")]),
        (inputnode, write, [("folder", "folder")]),
        (final["select"], write, [("selection_file", "selection_file")]),
        (final["adapt"], write, [("model_file", "model_file")]),
        (score, write, [("metrics_file", "metrics_file"),
                        ("predictions_file", "predictions_file"),
                        ("nulls_file", "nulls_file"),
                        ("comparisons_file", "comparisons_file")]),
        (write, mark, [("out_files", "out_files")]),
        (mark, outputnode, [("marker", "marker")]),
    ])
    return workflow


def _add_pictures(
    workflow: Workflow, work: Work, person: PersonWork, inputnode: Node, final: dict[str, Node],
    score: Node, write: Node,
) -> None:
    """Add what needs the pictures themselves: lists among a gallery, reconstruction."""
    decode, targets = person.decode, work.targets
    if targets.gallery:
        shown = {**targets.images, **targets.gallery}
        write.inputs.images = {name: str(path) for name, path in shown.items()}
        workflow.connect(inputnode, "gallery_file", final["predict"], "gallery_file")
        workflow.connect(score, "gallery_file", write, "gallery_file")
    if decode.reconstruction is None:
        return
    seed = derive_seed(work.settings.random_seed, "reconstruct", person.label)
    reconstruct = Node(
        ReconstructImages(
            **_fit_inputs(work, decode.key, seed), participant=person.label, fold=0,
            plan=decode.reconstruction, evaluation=asdict(work.settings.evaluation),
            images={name: str(path) for name, path in targets.images.items()},
        ),
        "reconstruct", mem_gb=response_gb(person),
        n_procs=max(1, work.settings.resources.omp_nthreads),
    )
    workflow.connect([
        (inputnode, reconstruct, [("targets_file", "targets_file"), ("folder", "folder")]),
        (final["select"], reconstruct, [("selection_file", "selection_file")]),
        (final["adapt"], reconstruct, [("model_file", "model_file")]),
        (reconstruct, write, [("reconstruction_dir", "reconstruction_dir")]),
    ])


def _fold_nodes(
    workflow: Workflow, work: Work, person: PersonWork, inputnode: Node, *, fold: int,
    predicts: bool,
) -> dict[str, Node]:
    """Add the nodes of one fold; fold 0 fits on all training trials."""
    seed = derive_seed(work.settings.random_seed, "decode", person.label, fold)
    inputs = {
        **_fit_inputs(work, person.decode.key, seed), "participant": person.label, "fold": fold,
    }
    resources = {
        "mem_gb": response_gb(person), "n_procs": max(1, work.settings.resources.omp_nthreads),
    }
    suffix = f"fold{fold}" if fold else "final"
    nodes = {
        "select": Node(SelectVoxels(**inputs), f"select_{suffix}", **resources),
        "adapt": Node(AdaptDecoder(**inputs), f"adapt_{suffix}", **resources),
    }
    if predicts:
        ablations = work.settings.evaluation.ablations
        nodes["predict"] = Node(
            PredictHeldOut(**inputs, ablations=ablations), f"predict_{suffix}", **resources
        )
        workflow.connect(nodes["adapt"], "model_file", nodes["predict"], "model_file")
        workflow.connect(nodes["select"], "selection_file", nodes["predict"], "selection_file")
    if fold and work.settings.evaluation.n_refits:
        nodes["refit"] = Node(
            RefitPermuted(
                **inputs, n_permutations=work.settings.evaluation.n_refits,
                permutation_seed=derive_seed(
                    work.settings.random_seed, "permute", person.label
                ),
            ),
            f"refit_{suffix}", **resources,
        )
    workflow.connect(nodes["select"], "selection_file", nodes["adapt"], "selection_file")
    for node in nodes.values():
        workflow.connect(inputnode, "targets_file", node, "targets_file")
        workflow.connect(inputnode, "folder", node, "folder")
        if person.decode.pretrained is not None:
            workflow.connect(inputnode, "pretrained_file", node, "pretrained_file")
    return nodes


def _gather(
    workflow: Workflow, nodes: list[Node], field: str, target: Node, target_field: str
) -> None:
    merge = Node(Merge(len(nodes)), f"gather_{target_field}", run_without_submitting=True)
    for number, node in enumerate(nodes, start=1):
        workflow.connect(node, field, merge, f"in{number}")
    workflow.connect(merge, "out", target, target_field)
