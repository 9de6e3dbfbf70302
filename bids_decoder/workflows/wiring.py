"""Workflow of a call under construction, with the outputs that jobs share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from nipype.pipeline.engine import Node, Workflow

from bids_decoder.workflows.region import occipital_node
from bids_decoder.workflows.shared import responses_node, targets_node
from bids_decoder.workflows.work import Work


@dataclass(frozen=True, eq=False)
class Output:
    """One output of a node or of a workflow.

    Parameters
    ----------
    source : Node or Workflow
    field : str
        Name of the output; ``node.field`` for a node within a workflow.
    """

    source: Node | Workflow
    field: str


class Wiring:
    """A workflow to which each job of a call adds its nodes.

    Parameters
    ----------
    work : Work
    name : str
        Of the workflow.

    Attributes
    ----------
    work : Work
    workflow : Workflow
    """

    def __init__(self, work: Work, name: str) -> None:
        self.work = work
        self.workflow = Workflow(name, base_dir=str(work.work_dir))
        self._published: dict[str, Output] = {}

    def add(self, child: Workflow | Node, **inputs: Output | None) -> None:
        """Add a node, or a workflow with an ``inputnode``, and connect its inputs.

        Parameters
        ----------
        child : Workflow or Node
        **inputs : Output or None
            By name of the input; None leaves it unconnected.
        """
        self.workflow.add_nodes([child])
        prefix = "inputnode." if isinstance(child, Workflow) else ""
        for name, output in inputs.items():
            if output is not None:
                self.workflow.connect(output.source, output.field, child, prefix + name)

    def add_person(self, child: Workflow, label: str, **inputs: Output | None) -> None:
        """Add a workflow on the targets and the joined responses of one participant.

        Parameters
        ----------
        child : Workflow
            Its ``inputnode`` has ``targets_file`` and ``folder``.
        label : str
        **inputs : Output or None
            Further inputs; see :meth:`add`.
        """
        self.add(child, targets_file=self.targets(), folder=self.responses(label), **inputs)

    def publish(self, name: str, source: Node | Workflow, field: str) -> None:
        """Publish an output for later jobs under a name, such as ``decoder/01/model_file``."""
        self._published[name] = Output(source, field)

    def find(self, name: str) -> Output | None:
        """Return what was published under a name in this call, or None."""
        return self._published.get(name)

    def finished(self, job: str, stage: str) -> Output | None:
        """Return the marker of a stage that a job of this call leaves, or None."""
        child = self.workflow.get_node(job)
        return None if child is None else Output(child, f"mark_{stage}.marker")

    def once(self, name: str, field: str, make: Callable[[], Node]) -> Output:
        """Return an output of a node that several jobs share; make the node on first use."""
        if name not in self._published:
            node = make()
            self.workflow.add_nodes([node])
            self.publish(name, node, field)
        return self._published[name]

    def targets(self) -> Output:
        """Return the table of target vectors."""
        return self.once("targets", "targets_file", lambda: targets_node(self.work))

    def responses(self, label: str) -> Output:
        """Return the folder with the joined responses of a participant."""
        name = f"responses/{label}"
        if self.find(name) is None:
            self._join_responses(label, name)
        return self._published[name]

    def _join_responses(self, label: str, name: str) -> None:
        person = self.work.people[label]
        node = responses_node(self.work, person)
        prepared = self.find(f"prepared/{label}")
        self.add(node, after=prepared)
        if self.work.settings.troi.region == "occipital":
            region = occipital_node(self.work, person)
            self.add(region, after=prepared)
            self.workflow.connect(region, ("out_file", _as_list), node, "mask_files")
        self.publish(name, node, "folder")


def _as_list(item: str) -> list[str]:
    return [item]
