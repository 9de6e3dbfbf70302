"""Structural images: what is registered, and how often."""

from nipype.interfaces.utility import IdentityInterface
from nipype.pipeline.engine import Node, Workflow

from bids_decoder.preprocessing.templates import OutputSpace
from bids_decoder.workflows.anat import _registrations


def test_resolutions_of_one_template_share_a_registration():
    workflow = Workflow("anat_wf")
    mask = Node(IdentityInterface(["brain_file", "mask_file"]), "brain_mask")
    output = Node(IdentityInterface(["t1w_to_template", "template_to_t1w"]), "outputnode")
    spaces = (OutputSpace("A", 2), OutputSpace("B", 1), OutputSpace("A", 1), OutputSpace("A", 3))
    found = _registrations(workflow, mask, output, spaces, seed=0)
    assert [(space, node.name) for space, node in found] == list(
        zip(spaces, ["to_A2", "to_B1", "to_A2", "to_A2"], strict=True)
    )
    made = [name for name in workflow.list_node_names() if name.startswith("to_")]
    assert sorted(made) == ["to_A2", "to_B1"]
    for name in ("t1w_to_template", "template_to_t1w"):
        merge = workflow.get_node(f"gather_{name}")
        edges = [
            (start.name, pair[1]) for start, end, data in workflow._graph.edges(data=True)
            if end is merge for pair in data["connect"]
        ]
        assert sorted(edges, key=lambda edge: edge[1]) == [
            ("to_A2", "in1"), ("to_B1", "in2"), ("to_A2", "in3"), ("to_A2", "in4"),
        ]
