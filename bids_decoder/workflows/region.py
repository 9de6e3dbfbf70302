"""Where voxels may be selected: the whole brain, the back of it, or a mask file."""

from __future__ import annotations

from pathlib import Path

from nipype.pipeline.engine import Node

from bids_decoder.bids.names import derivative_path
from bids_decoder.interfaces.preprocessing import OccipitalRegion
from bids_decoder.preprocessing.templates import FUNC
from bids_decoder.workflows.work import PersonWork, Work, betas_paths, run_path


def occipital_node(work: Work, person: PersonWork) -> Node:
    """Make the node that marks the back of the brain on the grid of a person's beta series.

    Parameters
    ----------
    work : Work
    person : PersonWork

    Returns
    -------
    Node
        Reads files that preparing the person leaves; output ``out_file``.
    """
    node = Node(OccipitalRegion(), f"region_{person.node_label}", mem_gb=2.0)
    node.inputs.key = person.betas.key
    node.inputs.grid_file = str(betas_paths(work.output_dir, person)[0][0])
    run = person.runs[0]
    node.inputs.space = run.entities.get("space", "")
    if person.source == "raw":
        _from_preprocessing(node, work.output_dir, person)
    elif person.participant.preproc_t1w is not None and node.inputs.space == "T1w":
        node.inputs.in_file = str(person.participant.preproc_t1w)
        node.inputs.mask_file = str(person.participant.anat_mask)
    elif run.boldref_file is not None and run.mask_file is not None:
        node.inputs.in_file = str(run.boldref_file)
        node.inputs.mask_file = str(run.mask_file)
    return node


def _from_preprocessing(node: Node, output_dir: Path, person: PersonWork) -> None:
    label, run = person.label, person.runs[0]
    if person.space.is_template or not person.participant.t1w_files:
        node.inputs.in_file = str(run_path(output_dir, "boldref", run))
        node.inputs.mask_file = str(run_path(output_dir, "bold_mask", run))
        return
    node.inputs.in_file = str(derivative_path(output_dir, "preproc_T1w", sub=label))
    node.inputs.mask_file = str(derivative_path(output_dir, "anat_mask", sub=label))
    if person.space == FUNC:
        node.inputs.to_file = str(
            derivative_path(output_dir, "bold_xfm", sub=label, from_="T1w", to="boldref")
        )
