"""Representational similarity analysis of one participant, as a workflow."""

from __future__ import annotations

from nipype.pipeline.engine import Node

from bids_decoder.analyses.jobs import Job
from bids_decoder.analyses.rsa.interfaces import CompareModels, WriteRsa
from bids_decoder.analyses.rsa.plan import RsaSpec
from bids_decoder.seeds import derive_seed
from bids_decoder.workflows.shared import BASE_GB, mark_node, response_gb
from bids_decoder.workflows.wiring import Wiring
from bids_decoder.workflows.work import person_entities


def build(job: Job, wiring: Wiring) -> None:
    """Add the nodes of one participant to the workflow of the call."""
    spec: RsaSpec = job.spec
    work, person = wiring.work, spec.person
    settings, label = work.settings, person.label
    compare = Node(
        CompareModels(
            key=job.key.key, normalise=settings.glm.normalise, kind=spec.kind,
            models=spec.models, n_permutations=spec.n_permutations,
            seed=derive_seed(settings.random_seed, "rsa", label),
        ),
        f"rsa_{person.node_label}", mem_gb=response_gb(person),
    )
    wiring.add(compare, targets_file=wiring.targets(), folder=wiring.responses(label))
    write = Node(
        WriteRsa(
            key=job.key.key, output_dir=str(work.output_dir), entities=person_entities(person),
            card={"Seed": settings.random_seed},
        ),
        f"write_rsa_{person.node_label}", mem_gb=BASE_GB,
    )
    mark = mark_node(work, job.key, f"mark_rsa_{person.node_label}")
    wiring.workflow.connect([
        (compare, write, [("arrays_file", "arrays_file"), ("facts_file", "facts_file")]),
        (write, mark, [("out_files", "out_files")]),
    ])
