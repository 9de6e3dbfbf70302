"""Cross-decoding of one participant, as a workflow: fits, refits and scores of each row."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from nipype.interfaces.utility import IdentityInterface, Merge
from nipype.pipeline.engine import Node, Workflow

from bids_decoder.analyses.cross.interfaces import CrossDecode, RefitWithin, ScoreCross, WriteCross
from bids_decoder.analyses.cross.plan import CrossSpec
from bids_decoder.analyses.fitting import fit_inputs, n_threads
from bids_decoder.analyses.jobs import Job
from bids_decoder.analyses.refits import is_batched, parts_of
from bids_decoder.evaluation.kinds import Row
from bids_decoder.markers import StageKey
from bids_decoder.seeds import derive_seed
from bids_decoder.workflows.shared import BASE_GB, gather, mark_node, response_gb
from bids_decoder.workflows.wiring import Wiring
from bids_decoder.workflows.work import Work, person_entities


def build(job: Job, wiring: Wiring) -> None:
    """Add the cross-decoding of one participant to the workflow of the call."""
    spec: CrossSpec = job.spec
    given = {"folder": wiring.responses(spec.person.label)}
    if spec.needs_vectors:
        given["targets_file"] = wiring.targets()
    wiring.add(init_cross_wf(wiring.work, spec, job.key, job.name), **given)


def init_cross_wf(work: Work, spec: CrossSpec, key: StageKey, name: str) -> Workflow:
    """Wire the rows of the matrix and their outputs.

    Parameters
    ----------
    work : Work
    spec : CrossSpec
    key : StageKey
    name : str

    Returns
    -------
    Workflow
        ``inputnode``: ``folder`` (responses), ``targets_file`` (where stimuli are decoded).
    """
    workflow = Workflow(name)
    fields = ["folder"] + ["targets_file"] * spec.needs_vectors
    inputnode = Node(IdentityInterface(fields), "inputnode")
    builder = _RowBuilder(workflow, work, spec, key, inputnode)
    scores = [builder.add(number, row) for number, row in enumerate(spec.rows, start=1)]
    write = Node(
        WriteCross(
            key=key.key, output_dir=str(work.output_dir), entities=person_entities(spec.person),
            card={**spec.options, "Seed": work.settings.random_seed,
                  "ConfoundsRemoved": list(spec.person.removed)},
        ),
        "write", mem_gb=BASE_GB,
    )
    for field in ("metrics_file", "predictions_file", "nulls_file"):
        gather(workflow, scores, field, write, f"{field}s")
    mark = mark_node(work, key, "mark_cross")
    workflow.connect(write, "out_files", mark, "out_files")
    return workflow


@dataclass(frozen=True, eq=False)
class _RowBuilder:
    """Builder of the nodes of one row of the matrix."""

    workflow: Workflow
    work: Work
    spec: CrossSpec
    key: StageKey
    inputnode: Node

    def add(self, number: int, row: Row) -> Node:
        """Add the nodes of one row and return the one that scores it."""
        settings, label = self.work.settings, self.spec.person.label
        fit = self._node(CrossDecode(**self._inputs(row)), f"fit_{number}")
        score = Node(
            ScoreCross(
                row=asdict(row), evaluation=asdict(settings.evaluation),
                seed=derive_seed(settings.random_seed, "score", label),
            ),
            f"score_{number}", mem_gb=BASE_GB,
        )
        self.workflow.connect(fit, "heldout_file", score, "heldout_file")
        if self.spec.needs_vectors:
            for node in (fit, score):
                self.workflow.connect(self.inputnode, "targets_file", node, "targets_file")
        refits = self._refits(number, row) if row.crosses_own else []
        if refits:
            self._gather(refits, score, number)
        return score

    def _refits(self, number: int, row: Row) -> list[Node]:
        """Return the nodes that refit within the training kind, one for each part."""
        settings, spec = self.work.settings, self.spec
        seed = derive_seed(settings.random_seed, "permute", spec.person.label)
        return [
            self._node(
                RefitWithin(
                    **self._inputs(row), n_permutations=spec.n_refits, permutation_seed=seed,
                    first=first, count=count,
                ),
                f"refit_{number}_from{first}",
            )
            for first, count in parts_of(spec.n_refits, is_batched(settings, "category", False))
        ]

    def _gather(self, refits: list[Node], score: Node, number: int) -> None:
        merge = Node(Merge(len(refits)), f"gather_refits_{number}", run_without_submitting=True)
        for place, node in enumerate(refits, start=1):
            self.workflow.connect(node, "nulls_files", merge, f"in{place}")
        self.workflow.connect(merge, "out", score, "nulls_files")

    def _inputs(self, row: Row) -> dict[str, Any]:
        label = self.spec.person.label
        seed = derive_seed(self.work.settings.random_seed, "cross", label, row.train)
        return {**fit_inputs(self.work, self.key, seed), "participant": label, "row": asdict(row)}

    def _node(self, interface: Any, name: str) -> Node:
        node = Node(
            interface, name, mem_gb=response_gb(self.spec.person), n_procs=n_threads(self.work)
        )
        self.workflow.connect(self.inputnode, "folder", node, "folder")
        return node
