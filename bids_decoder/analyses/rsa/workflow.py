"""Representational similarity analysis of one participant, as a workflow."""

from __future__ import annotations

from nipype.interfaces.utility import IdentityInterface
from nipype.pipeline.engine import Node, Workflow

from bids_decoder.analyses.jobs import Job
from bids_decoder.analyses.rsa.interfaces import CompareModels, WriteRsa
from bids_decoder.analyses.rsa.plan import RsaSpec
from bids_decoder.markers import StageKey
from bids_decoder.seeds import derive_seed
from bids_decoder.workflows.shared import BASE_GB, mark_node, response_gb
from bids_decoder.workflows.wiring import Wiring
from bids_decoder.workflows.work import Work, person_entities


def build(job: Job, wiring: Wiring) -> None:
    """Add the analysis of one participant to the workflow of the call."""
    spec: RsaSpec = job.spec
    wiring.add(
        init_rsa_wf(wiring.work, spec, job.key, job.name),
        targets_file=wiring.targets(), folder=wiring.responses(spec.person.label),
    )


def init_rsa_wf(work: Work, spec: RsaSpec, key: StageKey, name: str) -> Workflow:
    """Wire distances, models and outputs.

    Parameters
    ----------
    work : Work
    spec : RsaSpec
    key : StageKey
    name : str

    Returns
    -------
    Workflow
        ``inputnode``: ``targets_file``, ``folder`` (responses).
    """
    workflow, person, settings = Workflow(name), spec.person, work.settings
    inputnode = Node(IdentityInterface(["targets_file", "folder"]), "inputnode")
    compare = Node(
        CompareModels(
            key=key.key, normalise=settings.glm.normalise, kind=spec.kind, models=spec.models,
            n_permutations=spec.n_permutations,
            seed=derive_seed(settings.random_seed, "rsa", person.label),
        ),
        "compare", mem_gb=response_gb(person),
    )
    write = Node(
        WriteRsa(
            key=key.key, output_dir=str(work.output_dir), entities=person_entities(person),
            card={"Seed": settings.random_seed},
        ),
        "write", mem_gb=BASE_GB,
    )
    workflow.connect([
        (inputnode, compare, [("targets_file", "targets_file"), ("folder", "folder")]),
        (compare, write, [("arrays_file", "arrays_file"), ("facts_file", "facts_file")]),
        (write, mark_node(work, key, "mark_rsa"), [("out_files", "out_files")]),
    ])
    return workflow
