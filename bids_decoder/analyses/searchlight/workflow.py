"""Searchlight of one participant, as a workflow: one node per fold, then maps."""

from __future__ import annotations

from dataclasses import asdict

from nipype.pipeline.engine import Node, Workflow

from bids_decoder.analyses.jobs import Job
from bids_decoder.analyses.searchlight.interfaces import MapSpheres, SearchFold, WriteSearch
from bids_decoder.analyses.searchlight.plan import SearchSpec
from bids_decoder.markers import StageKey
from bids_decoder.seeds import derive_seed
from bids_decoder.training.searchlight_settings import Searchlight
from bids_decoder.workflows.shared import BASE_GB, gather, mark_node, person_inputs, response_gb
from bids_decoder.workflows.wiring import Wiring
from bids_decoder.workflows.work import Work, person_entities


def build(job: Job, wiring: Wiring) -> None:
    """Add the searchlight of one participant to the workflow of the call."""
    spec: SearchSpec = job.spec
    wiring.add_person(init_searchlight_wf(wiring.work, spec, job.key, job.name), spec.person.label)


def init_searchlight_wf(work: Work, spec: SearchSpec, key: StageKey, name: str) -> Workflow:
    """Wire the folds, the maps and their outputs.

    Parameters
    ----------
    work : Work
    spec : SearchSpec
    key : StageKey
    name : str

    Returns
    -------
    Workflow
        ``inputnode``: ``targets_file``, ``folder`` (responses).
    """
    workflow, person, settings = Workflow(name), spec.person, work.settings
    inputnode = person_inputs()
    searchlight = asdict(settings.section(Searchlight))
    maps = Node(MapSpheres(key=key.key, searchlight=searchlight), "maps", mem_gb=BASE_GB)
    write = Node(
        WriteSearch(
            key=key.key, output_dir=str(work.output_dir), entities=person_entities(person),
            searchlight=searchlight, card={"Seed": settings.random_seed},
        ),
        "write", mem_gb=BASE_GB,
    )
    folds = [_fold_node(work, spec, key, fold) for fold in spec.folds or (0,)]
    for node in folds:
        workflow.connect([(inputnode, node, [
            ("targets_file", "targets_file"), ("folder", "folder"),
        ])])
    gather(workflow, folds, "values_file", maps, "values_files")
    gather(workflow, folds, "facts_file", maps, "facts_files")
    mark = mark_node(work, key, "mark_searchlight")
    workflow.connect([
        (inputnode, maps, [("folder", "folder")]),
        (inputnode, write, [("folder", "folder")]),
        (maps, write, [("maps_file", "maps_file")]),
        (workflow.get_node("gather_facts_files"), write, [("out", "facts_files")]),
        (write, mark, [("out_files", "out_files")]),
    ])
    return workflow


def _fold_node(work: Work, spec: SearchSpec, key: StageKey, fold: int) -> Node:
    settings, person = work.settings, spec.person
    node = SearchFold(
        key=key.key, participant=person.label, fold=fold, n_folds=len(spec.folds) or 1,
        normalise=settings.glm.normalise,
        searchlight=asdict(settings.section(Searchlight)),
        n_permutations=spec.n_permutations,
        # The permutations of the decoder.
        permutation_seed=derive_seed(settings.random_seed, "permute", person.label),
        seed=derive_seed(settings.random_seed, "searchlight", person.label, fold),
    )
    return Node(node, f"search_{fold}", mem_gb=response_gb(person))
