"""Functional alignment to one participant, as a workflow."""

from __future__ import annotations

from dataclasses import asdict

from nipype.interfaces.utility import IdentityInterface, Merge
from nipype.pipeline.engine import Node, Workflow

from bids_decoder.analyses.align.interfaces import AlignFold, ScoreAlignment, WriteAlignment
from bids_decoder.analyses.align.plan import AlignSpec
from bids_decoder.analyses.fitting import n_threads, output_of_decoder
from bids_decoder.analyses.jobs import Job
from bids_decoder.markers import StageKey
from bids_decoder.seeds import derive_seed
from bids_decoder.workflows.shared import BASE_GB, gather, mark_node, response_gb
from bids_decoder.workflows.wiring import Wiring
from bids_decoder.workflows.work import Work, person_entities

PLAN_GB = 1.0
"""Of optimal transport: cost, kernel, plan and two copies, between the most voxels."""


def build(job: Job, wiring: Wiring) -> None:
    """Add the alignment to one participant to the workflow of the call."""
    spec: AlignSpec = job.spec
    folders = Node(Merge(len(spec.sources)), f"folders_{job.name}", run_without_submitting=True)
    wiring.add(folders, **{
        f"in{number}": wiring.responses(source.label)
        for number, source in enumerate(spec.sources, start=1)
    })
    wiring.publish(f"folders/{job.name}", folders, "out")
    wiring.add_person(
        init_align_wf(wiring.work, spec, job.key, job.name), spec.person.label,
        source_folders=wiring.find(f"folders/{job.name}"),
        heldout_files=output_of_decoder(job, wiring, "heldout_files"),
    )


def init_align_wf(work: Work, spec: AlignSpec, key: StageKey, name: str) -> Workflow:
    """Wire alignment and decoding of each fold, scores and outputs.

    Parameters
    ----------
    work : Work
    spec : AlignSpec
    key : StageKey
    name : str

    Returns
    -------
    Workflow
        ``inputnode``: ``targets_file``, ``folder`` (responses), ``source_folders`` (those of the
        sources), ``heldout_files`` (predictions of the decoder and its baselines).
    """
    workflow, settings, person = Workflow(name), work.settings, spec.person
    given = ["targets_file", "folder", "source_folders"]
    inputnode = Node(IdentityInterface([*given, "heldout_files"]), "inputnode")
    folds = [_fold_node(work, spec, key, fold) for fold in spec.folds or (0,)]
    for node in folds:
        workflow.connect([(inputnode, node, [(field, field) for field in given])])
    # The seed of the decoding scores, so that pools and permutations are the same.
    seed = derive_seed(settings.random_seed, "score", person.label)
    score = Node(
        ScoreAlignment(evaluation=asdict(settings.evaluation), seed=seed), "score", mem_gb=BASE_GB
    )
    gather(workflow, folds, "heldout_file", score, "aligned_files")
    if spec.n_refits:
        gather(workflow, folds, "nulls_file", score, "nulls_files")
    write = Node(
        WriteAlignment(
            key=key.key, output_dir=str(work.output_dir), entities=person_entities(person),
            card=dict(spec.card), facts={
                "Methods": list(spec.methods), "Seed": settings.random_seed,
                "SourceParticipants": [source.label for source in spec.sources],
                "Target": work.targets.kind,
            },
        ),
        "write", mem_gb=BASE_GB,
    )
    mark = mark_node(work, key, "mark_align")
    files = ("metrics_file", "comparisons_file", "nulls_file")
    workflow.connect([
        (inputnode, score, [(field, field) for field in ("targets_file", "heldout_files")]),
        (score, write, [(field, field) for field in files]),
        (write, mark, [("out_files", "out_files")]),
    ])
    return workflow


def _fold_node(work: Work, spec: AlignSpec, key: StageKey, fold: int) -> Node:
    settings, label = work.settings, spec.person.label
    return Node(
        AlignFold(
            key=key.key, participant=label, fold=fold, methods=list(spec.methods),
            sources=[source.label for source in spec.sources],
            normalise=settings.glm.normalise, n_refits=spec.n_refits,
            permutation_seed=derive_seed(settings.random_seed, "permute", label),
        ),
        f"fold_{fold}", n_procs=n_threads(work),
        mem_gb=max(response_gb(one) for one in (spec.person, *spec.sources))
        + PLAN_GB * ("ot" in spec.methods),
    )
