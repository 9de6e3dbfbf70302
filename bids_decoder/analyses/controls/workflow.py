"""Decoding from confounds of one participant, as a workflow."""

from __future__ import annotations

from dataclasses import asdict

from nipype.pipeline.engine import Node

from bids_decoder.analyses.controls.interfaces import DecodeConfounds, WriteControls
from bids_decoder.analyses.controls.plan import ControlSpec
from bids_decoder.analyses.jobs import Job
from bids_decoder.seeds import derive_seed
from bids_decoder.workflows.shared import BASE_GB, mark_node
from bids_decoder.workflows.wiring import Wiring
from bids_decoder.workflows.work import person_entities


def build(job: Job, wiring: Wiring) -> None:
    """Add the nodes of one participant to the workflow of the call."""
    spec: ControlSpec = job.spec
    work, person = wiring.work, spec.person
    settings, label = work.settings, person.label
    decode = Node(
        DecodeConfounds(
            key=job.key.key, participant=label, folds=list(spec.folds), names=list(spec.names),
            normalise=settings.glm.normalise, evaluation=asdict(settings.evaluation),
            seed=derive_seed(settings.random_seed, "score", label),
            n_refits=spec.n_refits, together=spec.together,
            permutation_seed=derive_seed(settings.random_seed, "permute", label),
        ),
        f"controls_{person.node_label}", mem_gb=BASE_GB,
    )
    wiring.add(decode, targets_file=wiring.targets(), folder=wiring.responses(label))
    write = Node(
        WriteControls(
            key=job.key.key, output_dir=str(work.output_dir), entities=person_entities(person),
            card={"Removed": list(person.removed)},
        ),
        f"write_controls_{person.node_label}", mem_gb=BASE_GB,
    )
    mark = mark_node(work, job.key, f"mark_controls_{person.node_label}")
    wiring.workflow.connect([
        (decode, write, [("metrics_file", "metrics_file")]),
        (write, mark, [("out_files", "out_files")]),
    ])
