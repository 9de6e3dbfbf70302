"""Workflow of the analysis of one volume per participant."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from nipype.pipeline.engine import Node, Workflow

from bids_decoder.analyses.fitting import n_threads
from bids_decoder.analyses.jobs import Job
from bids_decoder.analyses.subjects.interfaces import (
    CONFOUND,
    VOXELS,
    Comparator,
    FinalNetwork,
    PermutedSubjects,
    PrepareVolumes,
    RepeatNetwork,
)
from bids_decoder.analyses.subjects.options import Subjects
from bids_decoder.analyses.subjects.outputs import WriteSubjects
from bids_decoder.analyses.subjects.plan import SubjectsSpec
from bids_decoder.bids.images import read_header
from bids_decoder.markers import StageKey
from bids_decoder.models.backbones import RANDOM
from bids_decoder.seeds import derive_seed
from bids_decoder.workflows.shared import BASE_GB, gather, mark_node
from bids_decoder.workflows.wiring import Wiring
from bids_decoder.workflows.work import Work

N_REFITS = 20
"""Default number of permutations, under each of which all networks are trained again."""


def build(job: Job, wiring: Wiring) -> None:
    """Add the analysis to the workflow of the call."""
    wiring.add(init_subjects_wf(wiring.work, job.spec, job.key, job.name))


def init_subjects_wf(work: Work, spec: SubjectsSpec, key: StageKey, name: str) -> Workflow:
    """Wire standardisation, repeated cross-validation, comparators and outputs.

    Parameters
    ----------
    work : Work
    spec : SubjectsSpec
    key : StageKey
    name : str

    Returns
    -------
    Workflow
    """
    settings, table = work.settings, spec.table
    subjects = settings.section(Subjects)
    seed = derive_seed(settings.random_seed, "subjects")
    workflow = Workflow(name)
    prepare = _prepare_node(spec, key)
    inputs = {
        "key": key.key, "volumes": asdict(settings.volumes), "seed": seed,
        "n_splits": subjects.n_splits, "n_repeats": subjects.n_repeats,
        "device": work.device, "use_gpu": work.device != "cpu", "n_threads": n_threads(work),
    }
    resources = {"mem_gb": _memory_gb(table["image"][0], len(table)), "n_procs": n_threads(work)}
    repeats = [
        Node(RepeatNetwork(**inputs, repeat=number), f"repeat_{number + 1}", **resources)
        for number in range(subjects.n_repeats)
    ]
    sources = [{"backbone": backbone} for backbone in ("", *subjects.backbones)]
    sources += [{"confound": name} for name in spec.confounds]
    comparators = [
        Node(Comparator(**inputs, **source), f"comparator_{number}", **resources)
        for number, source in enumerate(sources)
    ]
    shared = dict(inputs)
    if subjects.site_column is not None:
        shared["sites"] = table["site"].fillna("n/a").astype(str).tolist()
    n_refits = settings.evaluation.count_refits(N_REFITS)
    permuted = _permuted_nodes(sources, shared, n_refits, resources)
    final = Node(FinalNetwork(**inputs), "final", **resources)
    write = Node(
        WriteSubjects(
            key=key.key, output_dir=str(work.output_dir), card=spec.card, seed=seed,
            evaluation=asdict(settings.evaluation),
            entities={}, comparators=[comparator_name(**source) for source in sources],
        ), "write", mem_gb=BASE_GB,
    )
    mark = mark_node(work, key, "mark_subjects")
    for node in (*repeats, *comparators, *permuted, final, write):
        workflow.connect(prepare, "folder", node, "folder")
    gather(workflow, repeats, "scores_file", write, "repeat_files")
    gather(workflow, comparators, "scores_file", write, "comparator_files")
    if permuted:
        gather(workflow, permuted, "scores_file", write, "permuted_files")
    workflow.connect([
        (final, write, [("model_file", "model_file"), ("embedding_file", "embedding_file")]),
        (write, mark, [("out_files", "out_files")]),
    ])
    return workflow


def _prepare_node(spec: SubjectsSpec, key: StageKey) -> Node:
    table, confounds = spec.table, spec.confounds.fillna("").astype(str)
    return Node(
        PrepareVolumes(
            image_files=[str(path) for path in table["image"]],
            participants=table["participant"].tolist(), labels=table["label"].tolist(),
            external=table["external"].tolist(), key=key.key,
            confounds={name: confounds[name].tolist() for name in confounds},
            removed=list(spec.removed),
        ), "prepare", mem_gb=BASE_GB,
    )


def _permuted_nodes(
    sources: Sequence[dict[str, str]], shared: dict[str, Any], n_refits: int,
    resources: dict[str, Any],
) -> list[Node]:
    """Make the nodes that fit network and comparators on permuted labels."""
    if n_refits == 0:
        return []
    shared = {**shared, "n_permutations": n_refits}
    network = Node(PermutedSubjects(**shared, model="network"), "permuted_network", **resources)
    return [network, *(
        Node(PermutedSubjects(**shared, model="comparator", **source),
             f"permuted_{number}", **resources)
        for number, source in enumerate(sources)
    )]


def comparator_name(backbone: str = "", confound: str = "") -> str:
    """Return the name of a comparator in tables.

    Examples
    --------
    >>> comparator_name(), comparator_name("/weights/resnet50"), comparator_name(RANDOM)
    ('linear-voxels', 'frozen-resnet50', 'stand-in-random-resnet50')
    >>> comparator_name(confound="age")
    'confound-age'
    """
    if confound:
        return CONFOUND + confound
    if not backbone:
        return VOXELS
    return f"stand-in-{RANDOM}" if backbone == RANDOM else f"frozen-{Path(backbone).name}"


def _memory_gb(image: Path, n_people: int) -> float:
    shape = read_header(image).shape[:3]
    return BASE_GB + 3 * 4e-9 * n_people * shape[0] * shape[1] * shape[2]
