"""Region in which voxels may be selected: brain, occipital part, or a mask file."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
from nipype.pipeline.engine import Node

from bids_decoder.agreement import check_mask, check_same_grid
from bids_decoder.bids.images import read_header
from bids_decoder.bids.names import derivative_path
from bids_decoder.interfaces.preprocessing import OccipitalRegion
from bids_decoder.preprocessing.region import check_grid, in_mni_space, occipital_mask
from bids_decoder.preprocessing.templates import FUNC, PACKAGED, OutputSpace, load_template
from bids_decoder.workflows.spaces import response_grid
from bids_decoder.workflows.work import PersonWork, Work, betas_paths, run_path


def occipital_node(work: Work, person: PersonWork) -> Node:
    """Make the node of the occipital mask on the grid of a participant's beta series.

    Parameters
    ----------
    work : Work
    person : PersonWork

    Returns
    -------
    Node
        Reads files of the stage ``prepare``; output ``out_file``.
    """
    node = Node(OccipitalRegion(), f"region_{person.node_label}", mem_gb=2.0)
    node.inputs.key = person.betas.key
    node.inputs.grid_file = str(betas_paths(work.output_dir, person)[0][0])
    node.inputs.space = _space(person)
    node.inputs.trait_set(**_pictures(work.output_dir, person))
    return node


def check_region(output_dir: Path, person: PersonWork, region: str) -> None:
    """Check, before anything is computed, that voxels can be selected in a region.

    Parameters
    ----------
    output_dir : Path
        Top of the derivatives.
    person : PersonWork
    region : str
        ``brain``, ``occipital`` or the path of a mask.

    Raises
    ------
    InputError
        When the mask is not on the grid of the responses or empty, or when the images do not
        suffice to find the occipital part.
    """
    if region == "brain":
        return
    grid = response_grid(person.participant, person.space)
    if region != "occipital":
        path = Path(region)
        header = read_header(path)
        check_same_grid(path, (header.shape, header.affine), (grid.shape, grid.affine))
        check_mask(path, np.asarray(nib.load(path).dataobj) > 0)
        return
    pictures = _pictures(output_dir, person)
    check_grid(
        grid.shape, _space(person), has_boldref="in_file" in pictures,
        has_t1w="to_file" in pictures,
    )
    if in_mni_space(_space(person)):
        occipital_mask(grid, load_template(OutputSpace(PACKAGED)))


def _space(person: PersonWork) -> str:
    return person.runs[0].entities.get("space", "")


def given_pictures(person: PersonWork, region: str) -> dict[str, Path]:
    """Return the images of derivatives that are registered to find a region.

    Responses do not depend on them, so that their content must be in the keys of all results
    within the region.

    Parameters
    ----------
    person : PersonWork
    region : str
        See :func:`check_region`.

    Returns
    -------
    dict of str to Path
        By input of :class:`~bids_decoder.interfaces.preprocessing.OccipitalRegion`. Empty for raw
        data, in MNI space, where nothing is registered, and where there are none.
    """
    if person.source == "raw" or region != "occipital" or in_mni_space(_space(person)):
        return {}
    return _images_of_derivatives(person)


def _pictures(output_dir: Path, person: PersonWork) -> dict[str, str]:
    """Return the images in template space, and the transform to the first of them."""
    if person.source == "raw":
        return _preprocessed_pictures(output_dir, person)
    return {name: str(path) for name, path in _images_of_derivatives(person).items()}


def _images_of_derivatives(person: PersonWork) -> dict[str, Path]:
    run, participant = person.runs[0], person.participant
    t1w, mask = participant.preproc_t1w, participant.anat_mask
    if t1w is not None and mask is not None and _space(person) == "T1w":
        return {"in_file": t1w, "mask_file": mask}
    if run.boldref_file is not None and run.mask_file is not None:
        return {"in_file": run.boldref_file, "mask_file": run.mask_file}
    return {}


def _preprocessed_pictures(output_dir: Path, person: PersonWork) -> dict[str, str]:
    label, run = person.label, person.runs[0]
    if person.space.is_template or not person.participant.t1w_files:
        return {"in_file": str(run_path(output_dir, "boldref", run)),
                "mask_file": str(run_path(output_dir, "bold_mask", run))}
    found = {"in_file": str(derivative_path(output_dir, "preproc_T1w", sub=label)),
             "mask_file": str(derivative_path(output_dir, "anat_mask", sub=label))}
    if person.space == FUNC:
        found["to_file"] = str(
            derivative_path(output_dir, "bold_xfm", sub=label, from_="T1w", to="boldref")
        )
    return found
