"""Decoding in regions of one participant, as a workflow: one node per fold, then scores."""

from __future__ import annotations

from dataclasses import asdict

from nipype.pipeline.engine import Node, Workflow

from bids_decoder.analyses.jobs import Job
from bids_decoder.analyses.regions.interfaces import DecodeRegions, WriteRegions
from bids_decoder.analyses.regions.plan import RegionSpec
from bids_decoder.markers import StageKey
from bids_decoder.seeds import derive_seed
from bids_decoder.training.region_settings import Regions
from bids_decoder.workflows.shared import (
    gather,
    mark_node,
    person_inputs,
    regions_node,
    response_gb,
)
from bids_decoder.workflows.wiring import Wiring
from bids_decoder.workflows.work import Work, person_entities


def build(job: Job, wiring: Wiring) -> None:
    """Add the regions of one participant to the workflow of the call."""
    spec: RegionSpec = job.spec
    wiring.add_person(init_regions_wf(wiring.work, spec, job.key, job.name), spec.person.label)


def init_regions_wf(work: Work, spec: RegionSpec, key: StageKey, name: str) -> Workflow:
    """Wire the voxels of regions, the folds, and the outputs.

    Parameters
    ----------
    work : Work
    spec : RegionSpec
    key : StageKey
    name : str

    Returns
    -------
    Workflow
        ``inputnode``: ``targets_file``, ``folder`` (responses).
    """
    workflow, person, settings = Workflow(name), spec.person, work.settings
    inputnode = person_inputs()
    find = regions_node(key, spec.placed)
    write = Node(
        WriteRegions(
            key=key.key, output_dir=str(work.output_dir), entities=person_entities(person),
            participant=person.label, normalise=settings.glm.normalise,
            card={"Estimator": settings.section(Regions).estimator, "Seed": settings.random_seed},
        ),
        "write", mem_gb=response_gb(person),
    )
    folds = [_fold_node(work, spec, key, fold) for fold in spec.folds or (0,)]
    for node in (*folds, write):
        workflow.connect([
            (inputnode, node, [
                ("targets_file", "targets_file"), ("folder", "folder"),
            ]),
            (find, node, [("regions_file", "regions_file")]),
        ])
    for field in ("scores_file", "facts_file"):
        gather(workflow, folds, field, write, f"{field}s")
    mark = mark_node(work, key, "mark_regions")
    workflow.connect([
        (inputnode, find, [("folder", "folder")]),
        (find, write, [("left_out", "left_out")]),
        (write, mark, [("out_files", "out_files")]),
    ])
    return workflow


def _fold_node(work: Work, spec: RegionSpec, key: StageKey, fold: int) -> Node:
    settings, person = work.settings, spec.person
    node = DecodeRegions(
        key=key.key, participant=person.label, fold=fold, normalise=settings.glm.normalise,
        estimator=settings.section(Regions).estimator, n_permutations=spec.n_permutations,
        # The permutations and the pools of the decoder.
        permutation_seed=derive_seed(settings.random_seed, "permute", person.label),
        evaluation=asdict(settings.evaluation),
        score_seed=derive_seed(settings.random_seed, "score", person.label),
    )
    return Node(node, f"regions_{fold}", mem_gb=response_gb(person))
