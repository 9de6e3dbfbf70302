"""A decoder applied to one participant, as a workflow."""

from __future__ import annotations

from dataclasses import asdict

from nipype.pipeline.engine import Node

from bids_decoder.analyses.apply.interfaces import ApplyDecoder
from bids_decoder.analyses.apply.options import Apply
from bids_decoder.analyses.apply.plan import ApplySpec
from bids_decoder.analyses.fitting import n_threads
from bids_decoder.analyses.jobs import Job
from bids_decoder.seeds import derive_seed
from bids_decoder.workflows.shared import mark_node, response_gb
from bids_decoder.workflows.wiring import Wiring
from bids_decoder.workflows.work import person_entities, run_path


def build(job: Job, wiring: Wiring) -> None:
    """Add the decoder of one participant to the workflow of the call."""
    spec: ApplySpec = job.spec
    work, person = wiring.work, spec.person
    settings = work.settings
    node = Node(
        ApplyDecoder(
            key=job.key.key, output_dir=str(work.output_dir), entities=person_entities(person),
            card=dict(spec.card), model_file=str(spec.model),
            are_volumes=settings.trials.trial_unit == "volume",
            scaling=settings.section(Apply).scaling, evaluation=asdict(settings.evaluation),
            seed=derive_seed(settings.random_seed, "apply", person.label),
            n_threads=n_threads(work),
        ),
        f"apply_{person.node_label}", mem_gb=response_gb(person), n_procs=n_threads(work),
    )
    if spec.aligns:
        node.inputs.boldref_file = str(run_path(work.output_dir, "boldref", person.runs[0]))
    wiring.add(node, folder=wiring.responses(person.label))
    mark = mark_node(work, job.key, f"mark_apply_{person.node_label}")
    wiring.workflow.connect(node, "out_files", mark, "out_files")
