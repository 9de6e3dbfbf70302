"""Decoding from confounds of one participant, as a workflow."""

from __future__ import annotations

from dataclasses import asdict

from nipype.pipeline.engine import Node, Workflow

from bids_decoder.analyses.controls.interfaces import DecodeConfounds, WriteControls
from bids_decoder.analyses.controls.plan import ControlSpec
from bids_decoder.analyses.jobs import Job
from bids_decoder.markers import StageKey
from bids_decoder.seeds import derive_seed
from bids_decoder.workflows.confound_checks import counterbalanced
from bids_decoder.workflows.shared import BASE_GB, mark_node, person_inputs
from bids_decoder.workflows.wiring import Wiring
from bids_decoder.workflows.work import Work, person_entities


def build(job: Job, wiring: Wiring) -> None:
    """Add the nodes of one participant to the workflow of the call."""
    spec: ControlSpec = job.spec
    wiring.add_person(init_controls_wf(wiring.work, spec, job.key, job.name), spec.person.label)


def init_controls_wf(work: Work, spec: ControlSpec, key: StageKey, name: str) -> Workflow:
    """Wire decoding from confounds and its outputs.

    Parameters
    ----------
    work : Work
    spec : ControlSpec
    key : StageKey
    name : str

    Returns
    -------
    Workflow
        ``inputnode``: ``targets_file``, ``folder`` (responses).
    """
    workflow, settings, person = Workflow(name), work.settings, spec.person
    inputnode = person_inputs()
    decode = Node(
        DecodeConfounds(
            key=key.key, participant=person.label, folds=list(spec.folds),
            names=list(spec.names), normalise=settings.glm.normalise,
            evaluation=asdict(settings.evaluation),
            seed=derive_seed(settings.random_seed, "score", person.label),
            n_refits=spec.n_refits, together=spec.together,
            permutation_seed=derive_seed(settings.random_seed, "permute", person.label),
        ),
        "decode", mem_gb=BASE_GB,
    )
    write = Node(
        WriteControls(
            key=key.key, output_dir=str(work.output_dir), entities=person_entities(person),
            card={"Removed": list(person.removed),
                  "Counterbalanced": list(counterbalanced(work.settings.trials))},
        ),
        "write", mem_gb=BASE_GB,
    )
    mark = mark_node(work, key, "mark_controls")
    workflow.connect([
        (inputnode, decode, [("targets_file", "targets_file"), ("folder", "folder")]),
        (decode, write, [("metrics_file", "metrics_file")]),
        (write, mark, [("out_files", "out_files")]),
    ])
    return workflow
