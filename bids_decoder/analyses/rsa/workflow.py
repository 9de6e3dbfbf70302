"""Representational similarity analysis of one participant, as a workflow."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from nipype.pipeline.engine import Node, Workflow

from bids_decoder.analyses.jobs import Job
from bids_decoder.analyses.rsa.interfaces import (
    CompareModels,
    CompareRegions,
    WriteRsa,
    WriteRsaRegions,
)
from bids_decoder.analyses.rsa.plan import RsaSpec
from bids_decoder.analyses.rsa.search import MapModels, SearchModels, WriteRsaSearch
from bids_decoder.markers import StageKey
from bids_decoder.seeds import derive_seed
from bids_decoder.workflows.shared import (
    BASE_GB,
    mark_node,
    person_inputs,
    regions_node,
    response_gb,
)
from bids_decoder.workflows.wiring import Wiring
from bids_decoder.workflows.work import Work, person_entities


def build(job: Job, wiring: Wiring) -> None:
    """Add the analysis of one participant to the workflow of the call."""
    spec: RsaSpec = job.spec
    init = init_rsa_regions_wf if spec.placed else init_rsa_wf
    if spec.searchlight is not None:
        init = init_rsa_search_wf
    wiring.add_person(init(wiring.work, spec, job.key, job.name), spec.person.label)


def init_rsa_wf(work: Work, spec: RsaSpec, key: StageKey, name: str) -> Workflow:
    """Wire distances, models and outputs.

    Parameters
    ----------
    work : Work
    spec : RsaSpec
    key : StageKey
    name : str

    Returns
    -------
    Workflow
        ``inputnode``: ``targets_file``, ``folder`` (responses).
    """
    workflow = Workflow(name)
    compare = Node(
        CompareModels(**_inputs(work, spec, key)), "compare", mem_gb=response_gb(spec.person)
    )
    write = Node(WriteRsa(**_outputs(work, spec, key)), "write", mem_gb=BASE_GB)
    _connect(workflow, compare, write, mark_node(work, key, "mark_rsa"))
    return workflow


def init_rsa_regions_wf(work: Work, spec: RsaSpec, key: StageKey, name: str) -> Workflow:
    """Wire the voxels of regions, their distances, models and outputs.

    Parameters
    ----------
    work : Work
    spec : RsaSpec
    key : StageKey
    name : str

    Returns
    -------
    Workflow
        ``inputnode``: ``targets_file``, ``folder`` (responses).
    """
    workflow = Workflow(name)
    find = regions_node(key, spec.placed)
    compare = Node(
        CompareRegions(**_inputs(work, spec, key)), "compare", mem_gb=response_gb(spec.person)
    )
    write = Node(WriteRsaRegions(**_outputs(work, spec, key)), "write", mem_gb=BASE_GB)
    _connect(workflow, compare, write, mark_node(work, key, "mark_rsaregions"))
    workflow.connect([
        (workflow.get_node("inputnode"), find, [("folder", "folder")]),
        (find, compare, [("regions_file", "regions_file")]),
        (find, write, [("regions_file", "regions_file"), ("left_out", "left_out")]),
    ])
    return workflow


def init_rsa_search_wf(work: Work, spec: RsaSpec, key: StageKey, name: str) -> Workflow:
    """Wire the distances in spheres, maps of models and outputs.

    Parameters
    ----------
    work : Work
    spec : RsaSpec
    key : StageKey
    name : str

    Returns
    -------
    Workflow
        ``inputnode``: ``targets_file``, ``folder`` (responses).
    """
    workflow, searchlight = Workflow(name), {"searchlight": asdict(spec.searchlight)}
    search = Node(
        SearchModels(**_inputs(work, spec, key), **searchlight), "search",
        mem_gb=response_gb(spec.person),
    )
    maps = Node(MapModels(key=key.key), "maps", mem_gb=BASE_GB)
    write = Node(WriteRsaSearch(**_outputs(work, spec, key), **searchlight), "write",
                 mem_gb=BASE_GB)
    inputnode = person_inputs()
    workflow.connect([
        (inputnode, search, [("targets_file", "targets_file"), ("folder", "folder")]),
        (inputnode, maps, [("folder", "folder")]),
        (inputnode, write, [("folder", "folder")]),
        (search, maps, [("values_file", "values_file")]),
        (search, write, [("facts_file", "facts_file")]),
        (maps, write, [("maps_files", "maps_files")]),
        (write, mark_node(work, key, "mark_rsasearch"), [("out_files", "out_files")]),
    ])
    return workflow


def _inputs(work: Work, spec: RsaSpec, key: StageKey) -> dict[str, Any]:
    """Return the inputs of a node that compares models."""
    settings = work.settings
    return {
        "key": key.key, "normalise": settings.glm.normalise, "kind": spec.kind,
        "models": spec.models, "n_permutations": spec.n_permutations,
        "seed": derive_seed(settings.random_seed, "rsa", spec.person.label),
    }


def _outputs(work: Work, spec: RsaSpec, key: StageKey) -> dict[str, Any]:
    """Return the inputs of a node that writes."""
    return {
        "key": key.key, "output_dir": str(work.output_dir),
        "entities": person_entities(spec.person), "card": {"Seed": work.settings.random_seed},
    }


def _connect(workflow: Workflow, compare: Node, write: Node, mark: Node) -> None:
    inputnode = person_inputs()
    workflow.connect([
        (inputnode, compare, [("targets_file", "targets_file"), ("folder", "folder")]),
        (compare, write, [("arrays_file", "arrays_file"), ("facts_file", "facts_file")]),
        (write, mark, [("out_files", "out_files")]),
    ])
