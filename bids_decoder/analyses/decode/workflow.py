"""Decoding of one participant, as a workflow."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from nipype.interfaces.utility import IdentityInterface
from nipype.pipeline.engine import Node, Workflow

from bids_decoder.analyses.decode.interfaces import (
    AdaptDecoder,
    PredictHeldOut,
    ScoreDecoding,
    SelectVoxels,
    WriteDecoding,
)
from bids_decoder.analyses.decode.plan import DecodeSpec
from bids_decoder.analyses.decode.refit import RefitPermuted, RefitStimuli
from bids_decoder.analyses.fitting import fit_inputs, n_threads
from bids_decoder.analyses.jobs import Job
from bids_decoder.analyses.refits import is_batched, parts_of
from bids_decoder.bids.images import read_header
from bids_decoder.bids.signatures import run_signatures
from bids_decoder.markers import StageKey
from bids_decoder.seeds import derive_seed
from bids_decoder.workflows.shared import BASE_GB, gather, mark_node, response_gb
from bids_decoder.workflows.wiring import Wiring
from bids_decoder.workflows.work import Work, person_entities, run_path


def build(job: Job, wiring: Wiring) -> None:
    """Add the decoding of one participant; publish the selection and model of each fold."""
    decode: DecodeSpec = job.spec
    workflow = init_decode_wf(wiring.work, decode, job.key, job.name)
    pretrained = None
    if decode.pretrained is not None:
        pretrained = wiring.find(f"model/{decode.pretrained.name}")
        if pretrained is None:
            workflow.inputs.inputnode.pretrained_file = str(decode.pretrained)
    wiring.add_person(workflow, decode.person.label, pretrained_file=pretrained)
    wiring.publish(f"{job.gives}/predictions_file", workflow, "score.predictions_file")
    wiring.publish(f"{job.gives}/heldout_files", workflow, "gather_heldout_files.out")
    for fold in (0, *decode.folds):
        name = _suffix(fold)
        wiring.publish(f"{job.gives}/{fold}/selection_file", workflow,
                       f"select_{name}.selection_file")
        wiring.publish(f"{job.gives}/{fold}/model_file", workflow, f"adapt_{name}.model_file")


def init_decode_wf(work: Work, decode: DecodeSpec, key: StageKey, name: str) -> Workflow:
    """Wire voxel selection, fine-tuning, prediction and scoring of one participant.

    Parameters
    ----------
    work : Work
    decode : DecodeSpec
    key : StageKey
    name : str

    Returns
    -------
    Workflow
        ``inputnode``: ``targets_file``, ``folder`` (responses), ``pretrained_file`` (where
        there is pretraining). ``outputnode``: ``marker``.
    """
    person, workflow = decode.person, Workflow(name)
    fields = ["targets_file", "folder"] + ["pretrained_file"] * (decode.pretrained is not None)
    inputnode = Node(IdentityInterface(fields), "inputnode")
    outputnode = Node(IdentityInterface(["marker"]), "outputnode")
    builder = _FoldBuilder(workflow, work, decode, key, inputnode)
    final = builder.add(0, predicts=not decode.folds)
    folds = [builder.add(fold, predicts=True) for fold in decode.folds]
    seed = derive_seed(work.settings.random_seed, "score", person.label)
    score = Node(ScoreDecoding(evaluation=asdict(work.settings.evaluation), seed=seed),
                 "score", mem_gb=BASE_GB)
    write = Node(
        WriteDecoding(
            key=key.key, output_dir=str(work.output_dir),
            entities=person_entities(person), card=decode.card,
            units=dict(work.targets.units), **_data_inputs(work, decode),
        ),
        "write", mem_gb=BASE_GB,
    )
    mark = mark_node(work, key, "mark_decode")
    gather(workflow, [nodes["predict"] for nodes in folds or [final]], "heldout_file",
           score, "heldout_files", write)
    _gather_folds(workflow, decode, folds, score, write)
    refits = [node for fold in decode.folds for node in builder.add_refits(fold)]
    if refits:
        gather(workflow, refits, "nulls_file", score, "nulls_files")
    workflow.connect([
        (inputnode, score, [("targets_file", "targets_file")]),
        (inputnode, write, [("folder", "folder"), ("targets_file", "targets_file")]),
        (final["select"], write, [("selection_file", "selection_file")]),
        (final["adapt"], write, [("model_file", "model_file"), ("maps_file", "maps_file")]),
        (score, write, [("metrics_file", "metrics_file"),
                        ("predictions_file", "predictions_file"),
                        ("nulls_file", "nulls_file"),
                        ("comparisons_file", "comparisons_file")]),
        (write, mark, [("out_files", "out_files")]),
        (mark, outputnode, [("marker", "marker")]),
    ])
    return workflow


def _gather_folds(
    workflow: Workflow, decode: DecodeSpec, folds: list[dict[str, Node]], score: Node, write: Node
) -> None:
    """Connect what each fold leaves to the nodes that score and write all of them."""
    if decode.crosses_stimuli:
        gather(workflow, [nodes["predict"] for nodes in folds], "matches_file",
               score, "matches_files")
    if folds:
        gather(workflow, [nodes["select"] for nodes in folds], "selection_file",
               write, "fold_selections")
        gather(workflow, [nodes["adapt"] for nodes in folds], "model_file",
               write, "fold_models")


def _data_inputs(work: Work, decode: DecodeSpec) -> dict[str, Any]:
    """Return what the file of the decoder says of its data, for its use on other data."""
    person, settings = decode.person, work.settings
    run = person.runs[0]
    found: dict[str, Any] = {"normalise": settings.glm.normalise}
    facts = {
        "participant": person.label, "dataset": decode.card["dataset"], "source": person.source,
        "glm": asdict(settings.glm), "t_r": None, "trial_unit": decode.card["trial_unit"],
        "encoder": dict(work.targets.encoder.identity) if work.targets.kind == "image" else {},
        "signatures": run_signatures(person.runs),
    }
    if person.source != "betas":
        facts["t_r"] = run.t_r(read_header(run.bold_file))
        boldref = run.boldref_file
        if person.source == "raw":
            boldref = run_path(work.output_dir, "boldref", run)
        found |= {"boldref_file": str(boldref)} if boldref is not None else {}
    return {**found, "facts": facts}


def _suffix(fold: int) -> str:
    return f"fold{fold}" if fold else "final"


@dataclass(frozen=True, eq=False)
class _FoldBuilder:
    """Builder of the fold nodes in the workflow of one participant."""

    workflow: Workflow
    work: Work
    decode: DecodeSpec
    key: StageKey
    inputnode: Node

    def add(self, fold: int, *, predicts: bool) -> dict[str, Node]:
        """Add the nodes of one fold; fold 0 is the fit on all training trials."""
        work, workflow = self.work, self.workflow
        inputs, resources, suffix = self._inputs(fold), self._resources(), _suffix(fold)
        nodes = {
            "select": Node(SelectVoxels(**inputs), f"select_{suffix}", **resources),
            "adapt": Node(
                AdaptDecoder(**inputs, explains=fold == 0), f"adapt_{suffix}", **resources
            ),
        }
        if predicts:
            ablations = work.settings.evaluation.ablations
            nodes["predict"] = Node(
                PredictHeldOut(**inputs, ablations=ablations), f"predict_{suffix}", **resources
            )
            workflow.connect(nodes["adapt"], "model_file", nodes["predict"], "model_file")
            workflow.connect(
                nodes["select"], "selection_file", nodes["predict"], "selection_file"
            )
        workflow.connect(nodes["select"], "selection_file", nodes["adapt"], "selection_file")
        for node in nodes.values():
            self._connect(node)
        return nodes

    def add_refits(self, fold: int) -> list[Node]:
        """Add the nodes that refit one fold on permuted labels, one for each part of them."""
        settings, decode, nodes = self.work.settings, self.decode, []
        seed = derive_seed(settings.random_seed, "permute", decode.person.label)
        kind, is_pretrained = self.work.targets.kind, decode.pretrained is not None
        refit, given = RefitPermuted, self._inputs(fold)
        if decode.crosses_stimuli:
            refit, given = RefitStimuli, {**given, "together": decode.together}
        for first, count in parts_of(decode.n_refits, is_batched(settings, kind, is_pretrained)):
            interface = refit(
                **given, n_permutations=decode.n_refits, permutation_seed=seed, first=first,
                count=count,
            )
            name = f"refit_{_suffix(fold)}_from{first}"
            nodes.append(Node(interface, name, **self._resources()))
            self._connect(nodes[-1])
        return nodes

    def _inputs(self, fold: int) -> dict[str, Any]:
        label = self.decode.person.label
        seed = derive_seed(self.work.settings.random_seed, "decode", label, fold)
        return {**fit_inputs(self.work, self.key, seed), "participant": label, "fold": fold}

    def _resources(self) -> dict[str, Any]:
        return {"mem_gb": response_gb(self.decode.person), "n_procs": n_threads(self.work)}

    def _connect(self, node: Node) -> None:
        fields = ["targets_file", "folder"]
        fields += ["pretrained_file"] * (self.decode.pretrained is not None)
        self.workflow.connect([(self.inputnode, node, [(field, field) for field in fields])])
