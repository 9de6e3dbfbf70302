"""Decoding over time of one participant, as a workflow: responses, one node per fold, scores."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from nipype.pipeline.engine import Node, Workflow

from bids_decoder.analyses.jobs import Job
from bids_decoder.analyses.timecourse.interfaces import DecodeTimes, EstimateTimes, WriteTimes
from bids_decoder.analyses.timecourse.plan import TimeSpec
from bids_decoder.glm.fir import lag_steps
from bids_decoder.markers import StageKey
from bids_decoder.regressors import split_wanted
from bids_decoder.seeds import derive_seed
from bids_decoder.workflows.glm import (
    CHUNK_VOXELS,
    LOW_MEMORY_CHUNK_VOXELS,
    repetition_time,
    series_gb,
    start_time,
)
from bids_decoder.workflows.shared import BASE_GB, gather, mark_node, person_inputs, response_gb
from bids_decoder.workflows.slice_times import shifted_start
from bids_decoder.workflows.wiring import Wiring
from bids_decoder.workflows.work import PersonWork, Work, person_entities, run_path

COPIES_OF_TEST = 1.5
"""Memory of the test trials at each time, as a multiple of what one time takes."""


def build(job: Job, wiring: Wiring) -> None:
    """Add decoding over time of one participant to the workflow of the call."""
    spec: TimeSpec = job.spec
    wiring.add_person(init_timecourse_wf(wiring.work, spec, job.key, job.name), spec.person.label)


def init_timecourse_wf(work: Work, spec: TimeSpec, key: StageKey, name: str) -> Workflow:
    """Wire responses at each time, folds and outputs.

    Parameters
    ----------
    work : Work
    spec : TimeSpec
    key : StageKey
    name : str

    Returns
    -------
    Workflow
        ``inputnode``: ``targets_file``, ``folder`` (responses, whose voxels and trials are used).
    """
    workflow, person, settings = Workflow(name), spec.person, work.settings
    inputnode = person_inputs()
    low = settings.resources.low_mem
    estimate = Node(
        EstimateTimes(
            key=key.key, **_run_inputs(work, person), settings=asdict(settings.glm),
            window=list(spec.window),
            chunk_voxels=LOW_MEMORY_CHUNK_VOXELS if low else CHUNK_VOXELS,
        ),
        "estimate", mem_gb=series_gb(person.participant, person.space),
    )
    write = Node(
        WriteTimes(
            key=key.key, output_dir=str(work.output_dir), entities=person_entities(person),
            card={"Seed": settings.random_seed},
            seed=derive_seed(settings.random_seed, "timecourse", person.label),
        ),
        "write", mem_gb=BASE_GB,
    )
    folds = [_fold_node(work, spec, key, fold) for fold in spec.folds or (0,)]
    for node in folds:
        workflow.connect([
            (inputnode, node, [("targets_file", "targets_file")]),
            (estimate, node, [("folder", "folder")]),
        ])
    gather(workflow, folds, "scores_file", write, "scores_files")
    gather(workflow, folds, "facts_file", write, "facts_files")
    mark = mark_node(work, key, "mark_timecourse")
    workflow.connect([
        (inputnode, estimate, [("folder", "responses")]),
        (estimate, write, [("facts_file", "times_file")]),
        (write, mark, [("out_files", "out_files")]),
    ])
    return workflow


def _fold_node(work: Work, spec: TimeSpec, key: StageKey, fold: int) -> Node:
    settings, person = work.settings, spec.person
    node = DecodeTimes(
        key=key.key, participant=person.label, fold=fold, normalise=settings.glm.normalise,
        n_permutations=spec.n_permutations,
        # The permutations of the decoder.
        permutation_seed=derive_seed(settings.random_seed, "permute", person.label),
    )
    return Node(node, f"decode_{fold}", mem_gb=_decode_gb(spec))


def _decode_gb(spec: TimeSpec) -> float:
    """Estimate the memory of one fold in GB: test trials are in memory at all times together."""
    t_r = repetition_time(spec.person.participant.runs[0])
    n_times = len(lag_steps(spec.window, t_r))
    return response_gb(spec.person) * max(1.0, COPIES_OF_TEST * n_times * spec.test_share)


def _run_inputs(work: Work, person: PersonWork) -> dict[str, list[Any]]:
    """Return files and times of the runs, which the same call may preprocess before."""
    runs, top, is_raw = person.participant.runs, work.output_dir, person.source == "raw"
    bold = [run_path(top, "preproc_bold", run) for run in person.runs] if is_raw else \
        [run.bold_file for run in runs]
    confounds = [] if not split_wanted(work.settings.glm.confounds)[0] else [
        # Confounds are valid in every space.
        run_path(top, "confounds", run) if is_raw else run.confounds_file for run in runs
    ]
    starts = [shifted_start(run, work.settings) if is_raw else start_time(run) for run in runs]
    return {
        "bold_files": [str(path) for path in bold],
        "confounds_files": [str(path) for path in confounds],
        "regressors_files": [str(run.regressors_file) for run in runs if run.regressors_file],
        "trials_files": [str(person.trials[run.run_group]) for run in runs],
        "t_r": [repetition_time(run) for run in runs], "start_time": starts,
    }
