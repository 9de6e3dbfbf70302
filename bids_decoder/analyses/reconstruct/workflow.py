"""Reconstruction for one participant, as a workflow."""

from __future__ import annotations

from dataclasses import asdict

from nipype.interfaces.utility import IdentityInterface, Merge
from nipype.pipeline.engine import Node, Workflow

from bids_decoder.analyses.fitting import fit_inputs, n_threads, output_of_decoder
from bids_decoder.analyses.jobs import Job
from bids_decoder.analyses.reconstruct.interfaces import ReconstructImages, WriteReconstruction
from bids_decoder.analyses.reconstruct.plan import ReconstructSpec
from bids_decoder.markers import StageKey
from bids_decoder.seeds import derive_seed
from bids_decoder.workflows.shared import BASE_GB, mark_node, response_gb
from bids_decoder.workflows.wiring import Wiring
from bids_decoder.workflows.work import Work, person_entities


def build(job: Job, wiring: Wiring) -> None:
    """Add the reconstructions of one participant to the workflow of the call."""
    spec: ReconstructSpec = job.spec
    fitted = {
        _field(name, fold): output_of_decoder(job, wiring, f"{fold}/{name}_file")
        for fold in spec.folds for name in ("selection", "model")
    }
    wiring.add_person(
        init_reconstruct_wf(wiring.work, spec, job.key, job.name), spec.person.label,
        whole_selection_file=output_of_decoder(job, wiring, "0/selection_file"),
        whole_model_file=output_of_decoder(job, wiring, "0/model_file"), **fitted,
    )


def _field(name: str, fold: int) -> str:
    return f"{name}{fold}_file"


def init_reconstruct_wf(work: Work, spec: ReconstructSpec, key: StageKey, name: str) -> Workflow:
    """Wire the reconstruction from held-out trials, and its outputs.

    Parameters
    ----------
    work : Work
    spec : ReconstructSpec
    key : StageKey
    name : str

    Returns
    -------
    Workflow
        ``inputnode``: ``targets_file``, ``folder`` (responses), ``whole_selection_file`` and
        ``whole_model_file`` (on all training trials), and for each fold ``selection<fold>_file``
        and ``model<fold>_file``.
    """
    workflow, person = Workflow(name), spec.person
    shared = ["targets_file", "folder", "whole_selection_file", "whole_model_file"]
    fitted = {
        part: [_field(part, fold) for fold in spec.folds] for part in ("selection", "model")
    }
    fields = [*shared, *fitted["selection"], *fitted["model"]]
    inputnode = Node(IdentityInterface(fields), "inputnode")
    seed = derive_seed(work.settings.random_seed, "reconstruct", person.label)
    reconstruct = Node(
        ReconstructImages(
            **fit_inputs(work, key, seed), participant=person.label, folds=list(spec.folds),
            plan=asdict(spec.plan), evaluation=asdict(work.settings.evaluation),
            images={name: str(path) for name, path in work.targets.images.items()},
            decoder_key=spec.decoder_key,
        ),
        "reconstruct", mem_gb=response_gb(person), n_procs=n_threads(work),
    )
    write = Node(
        WriteReconstruction(
            key=key.key, output_dir=str(work.output_dir), entities=person_entities(person),
            card=dict(spec.card),
        ),
        "write", mem_gb=BASE_GB,
    )
    mark = mark_node(work, key, "mark_reconstruct")
    for part, names in fitted.items():
        merge = Node(Merge(len(names)), f"gather_{part}_files", run_without_submitting=True)
        for number, field in enumerate(names, start=1):
            workflow.connect(inputnode, field, merge, f"in{number}")
        workflow.connect(merge, "out", reconstruct, f"{part}_files")
    workflow.connect([
        (inputnode, reconstruct, [(field, field) for field in shared]),
        (reconstruct, write, [("reconstruction_dir", "reconstruction_dir")]),
        (write, mark, [("out_files", "out_files")]),
    ])
    return workflow
