"""Pretraining across participants, as a workflow."""

from __future__ import annotations

from nipype.interfaces.utility import IdentityInterface, Merge
from nipype.pipeline.engine import Node, Workflow

from bids_decoder.analyses.fitting import fit_inputs, n_threads
from bids_decoder.analyses.jobs import Job
from bids_decoder.analyses.pretrain.interfaces import Pretrain
from bids_decoder.analyses.pretrain.plan import PretrainSpec
from bids_decoder.bids.signatures import source_signatures
from bids_decoder.interfaces.outputs import ModelSink
from bids_decoder.markers import StageKey
from bids_decoder.seeds import derive_seed
from bids_decoder.workflows.shared import mark_node, response_gb
from bids_decoder.workflows.wiring import Wiring
from bids_decoder.workflows.work import Work


def build(job: Job, wiring: Wiring) -> None:
    """Add one pretraining to the workflow of the call."""
    pretrain: PretrainSpec = job.spec
    workflow = init_pretrain_wf(wiring.work, pretrain, job.key, job.name)
    folders = Node(Merge(len(pretrain.sources)), f"folders_{job.name}",
                   run_without_submitting=True)
    sources = {
        f"in{number}": wiring.responses(label)
        for number, label in enumerate(pretrain.sources, start=1)
    }
    wiring.add(folders, **sources)
    wiring.publish(f"folders/{job.gives}", folders, "out")
    wiring.add(
        workflow, folders=wiring.find(f"folders/{job.gives}"), targets_file=wiring.targets()
    )
    wiring.publish(job.gives, workflow, "outputnode.model_file")


def init_pretrain_wf(work: Work, pretrain: PretrainSpec, key: StageKey, name: str) -> Workflow:
    """Wire the pretraining of one model.

    Parameters
    ----------
    work : Work
    pretrain : PretrainSpec
    key : StageKey
    name : str

    Returns
    -------
    Workflow
        ``inputnode``: ``targets_file``, ``folders`` (responses in the order of the sources).
        ``outputnode``: ``model_file`` in the derivatives, ``marker``.
    """
    workflow = Workflow(name)
    inputnode = Node(IdentityInterface(["targets_file", "folders"]), "inputnode")
    outputnode = Node(IdentityInterface(["model_file", "marker"]), "outputnode")
    seed = derive_seed(work.settings.random_seed, "pretrain", *pretrain.sources)
    signatures = source_signatures({label: work.people[label].runs for label in pretrain.sources})
    fit = Node(
        Pretrain(
            **fit_inputs(work, key, seed), participants=list(pretrain.sources),
            card={**pretrain.card, "signatures": signatures},
            checkpoint_dir=str(work.work_dir / "checkpoints"),
        ),
        "pretrain", n_procs=n_threads(work),
        mem_gb=max(response_gb(work.people[label]) for label in pretrain.sources),
    )
    sink = Node(ModelSink(out_file=str(pretrain.path)), "sink_model", run_without_submitting=True)
    mark = mark_node(work, key, "mark_pretrain")
    workflow.connect([
        (inputnode, fit, [("targets_file", "targets_file"), ("folders", "folders")]),
        (fit, sink, [("model_file", "in_file")]),
        (sink, mark, [("out_files", "out_files")]),
        (sink, outputnode, [("model_file", "model_file")]),
        (mark, outputnode, [("marker", "marker")]),
    ])
    return workflow
