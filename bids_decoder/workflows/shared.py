"""Nodes that several analyses read from, and the node that ends each stage."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from nipype.interfaces.utility import IdentityInterface, Merge
from nipype.pipeline.engine import Node, Workflow

from bids_decoder.bids.cifti import is_cifti
from bids_decoder.bids.dataset import Participant
from bids_decoder.bids.images import read_header
from bids_decoder.config import REGIONS
from bids_decoder.interfaces.markers import MarkDone
from bids_decoder.interfaces.regions import FindRegions, PlacedLabels
from bids_decoder.interfaces.responses import CollectResponses
from bids_decoder.interfaces.targets import MakeTargets
from bids_decoder.markers import StageKey
from bids_decoder.workflows.spaces import n_grid_voxels
from bids_decoder.workflows.work import PersonWork, Work, betas_paths, run_path

BASE_GB = 1.5
COPIES = 4
BRAIN_SHARE = 0.35


def mark_node(work: Work, key: StageKey, name: str) -> Node:
    """Make the node that marks a stage as done."""
    return Node(
        MarkDone(
            output_dir=str(work.output_dir), stage=key.stage, unit=key.unit,
            components=key.components,
        ),
        name, run_without_submitting=True,
    )


def person_inputs() -> Node:
    """Make the input node of a workflow on one participant: targets and folder of responses."""
    return Node(IdentityInterface(["targets_file", "folder"]), "inputnode")


def regions_node(key: StageKey, placed: Sequence[PlacedLabels]) -> Node:
    """Make the node that finds the voxels of regions in the joined responses."""
    return Node(
        FindRegions(key=key.key, placed=[one.record() for one in placed]), "find", mem_gb=2.0
    )


def targets_node(work: Work) -> Node:
    """Make the node that turns labels, values, features or images into target vectors."""
    spec = work.targets
    if spec.kind == "image":
        return image_vectors_node(work, spec.images, "targets", spec.ids)
    node = Node(
        MakeTargets(kind=spec.kind, ids=list(spec.ids), columns=list(spec.columns)),
        "targets", mem_gb=BASE_GB,
    )
    if spec.features is not None:
        node.inputs.features = str(spec.features)
    return node


def image_vectors_node(
    work: Work, images: Mapping[str, Path], name: str, ids: Sequence[str]
) -> Node:
    """Make the node that encodes images.

    Parameters
    ----------
    work : Work
    images : mapping of str to Path
    name : str
        Name of the node.
    ids : sequence of str
        Rows of the table.
    """
    choice = work.targets.encoder
    needs_network = choice.weights is not None
    threads = max(1, work.settings.resources.omp_nthreads) if needs_network else 1
    node = Node(
        MakeTargets(
            kind="image", ids=list(ids), encoder=choice.name,
            images={key: str(path) for key, path in images.items()},
            cache_dir=str(work.work_dir / "embeddings"), n_threads=threads,
        ),
        name, mem_gb=BASE_GB, n_procs=threads,
    )
    if choice.weights is not None:
        node.inputs.trait_set(
            weights=str(choice.weights.path), weights_sha256=choice.weights.sha256,
            device=work.device, use_gpu=work.device != "cpu",
        )
    return node


def responses_node(work: Work, person: PersonWork) -> Node:
    """Make the node that joins the beta series of a participant."""
    betas, tables = betas_paths(work.output_dir, person)
    node = Node(CollectResponses(), f"responses_{person.node_label}", mem_gb=response_gb(person))
    node.inputs.key = person.betas.key
    node.inputs.betas_files = [str(path) for path in betas]
    node.inputs.trials_files = [str(path) for path in tables]
    if work.settings.troi.region not in REGIONS:
        node.inputs.mask_files = [work.settings.troi.region]
    node.inputs.removed = list(person.removed)
    node.inputs.mesh_files = [str(path) for path in person.participant.meshes]
    series = person.participant.runs[0].bold_file
    if series is not None and is_cifti(series):
        node.inputs.series_file = str(series)
    if person.confounds is not None:
        node.inputs.events_confounds = str(person.confounds)
    if person.source != "betas":
        node.inputs.trait_set(**_motion_inputs(work, person))
    return node


def has_motion(participant: Participant) -> bool:
    """Return whether motion is estimated here, or the dataset has tables of it."""
    return any(run.source == "raw" or run.confounds_file is not None for run in participant.runs)


def _motion_inputs(work: Work, person: PersonWork) -> dict[str, list[Any]]:
    runs = person.participant.runs
    if person.source == "raw":
        files = [str(run_path(work.output_dir, "confounds", run)) for run in runs]
    else:
        files = ["" if run.confounds_file is None else str(run.confounds_file) for run in runs]
    return {"motion_files": files, "t_r": [run.t_r(read_header(run.bold_file)) for run in runs]}


def response_gb(person: PersonWork) -> float:
    """Estimate the memory that the joined responses of a participant need, in GB."""
    n_voxels = n_grid_voxels(person.participant, person.space)
    tables = [path.read_text(encoding="utf-8") for path in person.trials.values()]
    n_trials = sum(len(table.splitlines()) - 1 for table in tables)
    return BASE_GB + COPIES * BRAIN_SHARE * 4e-9 * n_voxels * n_trials


def gather(
    workflow: Workflow, nodes: list[Node], field: str, target: Node, target_field: str,
    *others: Node,
) -> None:
    """Connect one field of several nodes to a list input of *target*, and of *others*."""
    merge = Node(Merge(len(nodes)), f"gather_{target_field}", run_without_submitting=True)
    for number, node in enumerate(nodes, start=1):
        workflow.connect(node, field, merge, f"in{number}")
    for node in (target, *others):
        workflow.connect(merge, "out", node, target_field)


def join_metadata(found: dict[str, object], known: dict[str, object]) -> dict[str, object]:
    """Join two sidecars, as a function that Nipype can put on a connection."""
    return {**known, **found}
