"""The analysis of one volume per person, as a workflow."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

from nipype.interfaces.utility import Merge
from nipype.pipeline.engine import Node, Workflow

from bids_decoder.bids.images import read_header
from bids_decoder.interfaces.subjects import (
    VOXELS,
    Comparator,
    FinalNetwork,
    PrepareVolumes,
    RepeatNetwork,
    WriteSubjects,
)
from bids_decoder.models.backbones import RANDOM
from bids_decoder.seeds import derive_seed
from bids_decoder.workflows.decode import BASE_GB, mark_node
from bids_decoder.workflows.work import Work


def init_subjects_wf(work: Work, name: str) -> Workflow:
    """Wire standardisation, repeated cross-validation, comparators and outputs.

    Parameters
    ----------
    work : Work
        With ``subjects``.
    name : str

    Returns
    -------
    Workflow
    """
    subjects, settings = work.subjects, work.settings
    seed = derive_seed(settings.random_seed, "subjects")
    n_threads = max(1, settings.resources.omp_nthreads)
    table = subjects.table
    workflow = Workflow(name, base_dir=str(work.work_dir))
    prepare = Node(
        PrepareVolumes(
            image_files=[str(path) for path in table["image"]],
            participants=table["participant"].tolist(), labels=table["label"].tolist(),
            external=table["external"].tolist(), key=subjects.key.key,
        ), "prepare", mem_gb=BASE_GB,
    )
    inputs = {
        "key": subjects.key.key, "volumes": asdict(settings.volumes), "seed": seed,
        "n_splits": settings.subjects.n_splits, "n_repeats": settings.subjects.n_repeats,
        "device": work.device, "use_gpu": work.device != "cpu", "n_threads": n_threads,
    }
    resources = {"mem_gb": _memory_gb(table["image"][0], len(table)), "n_procs": n_threads}
    repeats = [
        Node(RepeatNetwork(**inputs, repeat=number), f"repeat_{number + 1}", **resources)
        for number in range(settings.subjects.n_repeats)
    ]
    backbones = ("", *settings.subjects.backbones)
    comparators = [
        Node(Comparator(**inputs, backbone=backbone), f"comparator_{number}", **resources)
        for number, backbone in enumerate(backbones)
    ]
    final = Node(FinalNetwork(**inputs), "final", **resources)
    write = Node(
        WriteSubjects(
            key=subjects.key.key, output_dir=str(work.output_dir), card=subjects.card, seed=seed,
            evaluation=asdict(settings.evaluation),
            comparators=[comparator_name(backbone) for backbone in backbones],
        ), "write", mem_gb=BASE_GB,
    )
    mark = mark_node(work, subjects.key, "mark_subjects")
    for node in (*repeats, *comparators, final, write):
        workflow.connect(prepare, "folder", node, "folder")
    for nodes, field in ((repeats, "repeat_files"), (comparators, "comparator_files")):
        merge = Node(Merge(len(nodes)), f"gather_{field}", run_without_submitting=True)
        for number, node in enumerate(nodes, start=1):
            workflow.connect(node, "scores_file", merge, f"in{number}")
        workflow.connect(merge, "out", write, field)
    workflow.connect([
        (final, write, [("model_file", "model_file"), ("embedding_file", "embedding_file")]),
        (write, mark, [("out_files", "out_files")]),
    ])
    return workflow


def comparator_name(backbone: str) -> str:
    """Give the name of a comparator in tables.

    Examples
    --------
    >>> comparator_name(""), comparator_name("/weights/resnet50"), comparator_name(RANDOM)
    ('linear-voxels', 'frozen-resnet50', 'stand-in-random-resnet50')
    """
    if not backbone:
        return VOXELS
    return f"stand-in-{RANDOM}" if backbone == RANDOM else f"frozen-{Path(backbone).name}"


def _memory_gb(image: Path, n_people: int) -> float:
    shape = read_header(image).shape[:3]
    return BASE_GB + 3 * 4e-9 * n_people * shape[0] * shape[1] * shape[2]
