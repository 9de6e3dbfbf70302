"""Relevance maps of one participant, as a workflow."""

from __future__ import annotations

from nipype.interfaces.utility import IdentityInterface
from nipype.pipeline.engine import Node, Workflow

from bids_decoder.analyses.explain.interfaces import ExplainHeldOut, WriteRelevance
from bids_decoder.analyses.explain.plan import ExplainSpec
from bids_decoder.analyses.fitting import fit_inputs, n_threads, output_of_decoder
from bids_decoder.analyses.jobs import Job
from bids_decoder.markers import StageKey
from bids_decoder.seeds import derive_seed
from bids_decoder.workflows.shared import BASE_GB, gather, mark_node, response_gb
from bids_decoder.workflows.wiring import Wiring
from bids_decoder.workflows.work import Work, person_entities


def build(job: Job, wiring: Wiring) -> None:
    """Add the maps of one participant to the workflow of the call."""
    spec: ExplainSpec = job.spec
    models = {
        f"model_file_{fold}": output_of_decoder(job, wiring, f"{fold}/model_file")
        for fold in spec.folds
    }
    wiring.add_person(
        init_explain_wf(wiring.work, spec, job.key, job.name), spec.person.label, **models,
    )


def init_explain_wf(work: Work, spec: ExplainSpec, key: StageKey, name: str) -> Workflow:
    """Wire the maps of all folds and their mean.

    Parameters
    ----------
    work : Work
    spec : ExplainSpec
    key : StageKey
    name : str

    Returns
    -------
    Workflow
        ``inputnode``: ``targets_file``, ``folder`` (responses), ``model_file_<fold>`` of each
        fold.
    """
    workflow, person = Workflow(name), spec.person
    models = [f"model_file_{fold}" for fold in spec.folds]
    inputnode = Node(IdentityInterface(["targets_file", "folder", *models]), "inputnode")
    write = Node(
        WriteRelevance(
            key=key.key, output_dir=str(work.output_dir), entities=person_entities(person),
            card=dict(spec.card),
        ),
        "write", mem_gb=BASE_GB,
    )
    nodes = []
    for fold in spec.folds:
        # The seed of the fit, since the sampled background trials depend on it.
        seed = derive_seed(work.settings.random_seed, "decode", person.label, fold)
        node = Node(
            ExplainHeldOut(**fit_inputs(work, key, seed), participant=person.label, fold=fold),
            f"explain_{fold}", mem_gb=response_gb(person), n_procs=n_threads(work),
        )
        workflow.connect([(inputnode, node, [
            ("targets_file", "targets_file"), ("folder", "folder"),
            (f"model_file_{fold}", "model_file"),
        ])])
        nodes.append(node)
    gather(workflow, nodes, "relevance_file", write, "relevance_files")
    mark = mark_node(work, key, "mark_explain")
    workflow.connect([
        (inputnode, write, [("folder", "folder")]),
        (write, mark, [("out_files", "out_files")]),
    ])
    return workflow
