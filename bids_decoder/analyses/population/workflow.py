"""Statistics over participants, as a workflow."""

from __future__ import annotations

from dataclasses import asdict

from nipype.interfaces.utility import Merge
from nipype.pipeline.engine import Node

from bids_decoder.analyses.jobs import Job
from bids_decoder.analyses.population.interfaces import SummarisePeople
from bids_decoder.analyses.population.plan import PopulationSpec
from bids_decoder.workflows.shared import BASE_GB, mark_node
from bids_decoder.workflows.wiring import Wiring


def build(job: Job, wiring: Wiring) -> None:
    """Add the statistics to the workflow of the call, after all results that it makes."""
    spec: PopulationSpec = job.spec
    work, workflow = wiring.work, wiring.workflow
    node = Node(
        SummarisePeople(
            key=job.key.key, output_dir=str(work.output_dir), people=list(spec.people),
            columns=[asdict(column) for column in spec.columns],
            seed=work.settings.random_seed,
        ),
        "population", mem_gb=BASE_GB,
    )
    wiring.add(node)
    markers = [wiring.finished(name, stage) for name, stage in spec.waits_for]
    waited = [marker for marker in markers if marker is not None]
    if waited:
        merge = Node(Merge(len(waited)), "population_results", run_without_submitting=True)
        wiring.add(merge, **{f"in{k}": marker for k, marker in enumerate(waited, start=1)})
        workflow.connect(merge, "out", node, "after")
    mark = mark_node(work, job.key, "mark_population")
    workflow.connect(node, "out_files", mark, "out_files")
