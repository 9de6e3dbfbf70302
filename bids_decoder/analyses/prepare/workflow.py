"""Preparation of one participant, as a workflow."""

from __future__ import annotations

from nipype.interfaces.utility import IdentityInterface, Merge
from nipype.pipeline.engine import Node, Workflow

from bids_decoder.analyses.jobs import Job
from bids_decoder.bids.names import derivative_path
from bids_decoder.bids.series import is_volume
from bids_decoder.interfaces.outputs import DerivativesSink
from bids_decoder.interfaces.preprocessing import CommonMask
from bids_decoder.interfaces.released import WriteBetaSeries
from bids_decoder.interfaces.surfaces import RowMask
from bids_decoder.regressors import split_wanted
from bids_decoder.trials import trial_columns
from bids_decoder.workflows.anat import init_anat_wf
from bids_decoder.workflows.bold import init_bold_wf
from bids_decoder.workflows.glm import init_glm_wf
from bids_decoder.workflows.shared import mark_node
from bids_decoder.workflows.slice_times import shifted_start
from bids_decoder.workflows.wiring import Wiring
from bids_decoder.workflows.work import (
    PersonWork,
    Work,
    betas_paths,
    person_entities,
    run_path,
)

_MASK_GB = 0.5
_BLOCKS_GB = 2.0  # of released responses: stored, as float32, on the grid, compressed


def build(job: Job, wiring: Wiring) -> None:
    """Add the preparation of one participant to the workflow of the call."""
    person: PersonWork = job.spec
    due = {stage.key.stage for stage in job.stages if stage.is_due}
    workflow = init_prepare_wf(wiring.work, person, due, job.name)
    wiring.add(workflow)
    wiring.publish(f"prepared/{person.label}", workflow, "outputnode.marker")


def init_prepare_wf(work: Work, person: PersonWork, due: set[str], name: str) -> Workflow:
    """Wire preprocessing and single-trial responses of one participant.

    Parameters
    ----------
    work : Work
    person : PersonWork
    due : set of {"preprocess", "betas"}
        Stages to run.
    name : str

    Returns
    -------
    Workflow
        ``outputnode``: ``marker``, of the last stage wired.
    """
    workflow = Workflow(name)
    outputnode = Node(IdentityInterface(["marker"]), "outputnode")
    bold_wf = None
    if "preprocess" in due:
        bold_wf, mark = _preprocess(workflow, work, person)
        if "betas" not in due:
            workflow.connect(mark, "marker", outputnode, "marker")
    if "betas" in due:
        wire = _given_betas if person.source == "betas" else _single_trial_glm
        mark = wire(workflow, work, person, bold_wf)
        workflow.connect(mark, "marker", outputnode, "marker")
    return workflow


def _preprocess(workflow: Workflow, work: Work, person: PersonWork) -> tuple[Workflow, Node]:
    participant, settings = person.participant, work.settings
    has_t1w = bool(participant.t1w_files)
    bold_wf = init_bold_wf(
        participant, settings, output_dir=work.output_dir, has_t1w=has_t1w
    )
    mark = mark_node(work, person.preprocess, "mark_preprocess")
    files = Node(Merge(1 + has_t1w), "preprocess_files", run_without_submitting=True)
    workflow.connect(bold_wf, "outputnode.out_files", files, "in1")
    if has_t1w:
        anat_wf = init_anat_wf(participant, settings, output_dir=work.output_dir)
        workflow.connect([(anat_wf, bold_wf, [
            (f"outputnode.{field}", f"inputnode.{field}")
            for field in ("t1w_brain", "t1w_mask", "t1w_dseg", "t1w_to_template",
                          "template_to_t1w")
        ])])
        workflow.connect(anat_wf, "outputnode.out_files", files, "in2")
    workflow.connect(files, "out", mark, "out_files")
    return bold_wf, mark


def _single_trial_glm(
    workflow: Workflow, work: Work, person: PersonWork, bold_wf: Workflow | None
) -> Node:
    participant, output_dir = person.participant, work.output_dir
    glm_wf = init_glm_wf(participant, work.settings, output_dir=output_dir, space=person.space)
    given = glm_wf.inputs.inputnode
    given.trials_files = [str(person.trials[run.run_group]) for run in participant.runs]
    on_rows = participant.runs[0].source == "fmriprep" and not is_volume(
        participant.runs[0].image_file
    )
    mask = Node(RowMask() if on_rows else CommonMask(), "common_mask", mem_gb=_MASK_GB)
    workflow.connect(mask, "out_file", glm_wf, "inputnode.bold_mask")
    if bold_wf is not None:
        workflow.connect([(bold_wf, glm_wf, [
            ("outputnode.preproc_bold", "inputnode.bold_files"),
            ("outputnode.confounds", "inputnode.confounds_files"),
        ])])
        workflow.connect(bold_wf, "outputnode.bold_mask", mask, "in_files")
    elif person.source == "raw":
        for inputs, field, key, runs in (
            (given, "bold_files", "preproc_bold", person.runs),
            (mask.inputs, "in_files", "bold_mask", person.runs),
            # Confounds are valid in every space.
            (given, "confounds_files", "confounds", participant.runs),
        ):
            setattr(inputs, field, [str(run_path(output_dir, key, run)) for run in runs])
    else:
        given.bold_files = [str(run.bold_file) for run in participant.runs]
        if split_wanted(work.settings.glm.confounds)[0]:
            given.confounds_files = [str(run.confounds_file) for run in participant.runs]
        masks = [run.bold_file if on_rows else run.mask_file for run in participant.runs]
        mask.inputs.in_files = [str(path) for path in masks]
    if person.source == "raw":
        given.start_times = [shifted_start(run, work.settings) for run in participant.runs]
    mark = mark_node(work, person.betas, "mark_betas")
    workflow.connect(glm_wf, "outputnode.out_files", mark, "out_files")
    return mark


def _given_betas(
    workflow: Workflow, work: Work, person: PersonWork, bold_wf: Workflow | None
) -> Node:
    del bold_wf
    described = trial_columns(work.targets.kind)
    columns = {name: {"Description": text} for name, text in described.items()}
    sinks = []
    for number, run in enumerate(person.participant.runs, start=1):
        entities = {k: v for k, v in run.name_entities.items() if v is not None}
        sinks.append(Node(
            DerivativesSink(
                in_file=str(person.trials[run.run_group]), output_dir=str(work.output_dir),
                key="trials", entities=entities, metadata=columns,
            ),
            f"sink_trials_{number}", run_without_submitting=True,
        ))
    made = [(sink, "out_file") for sink in sinks]
    if person.is_released:
        made.append((_beta_series(work, person), "out_files"))
    mark = mark_node(work, person.betas, "mark_betas")
    files = Node(Merge(len(made)), "betas_files", run_without_submitting=True)
    for number, (node, field) in enumerate(made, start=1):
        workflow.connect(node, field, files, f"in{number}")
    workflow.connect(files, "out", mark, "out_files")
    return mark


def _beta_series(work: Work, person: PersonWork) -> Node:
    """Make the node that writes released responses as beta series."""
    targets, _ = betas_paths(work.output_dir, person)
    node = Node(WriteBetaSeries(key=person.betas.key), "beta_series", mem_gb=_BLOCKS_GB)
    node.inputs.runs = [run.released for run in person.runs]
    node.inputs.targets = [str(path) for path in targets]
    node.inputs.sources = [
        "\n".join(file.name for file in run.released.responses.files) for run in person.runs
    ]
    if (ncsnr := person.runs[0].released.ncsnr) is not None:
        node.inputs.ncsnr_file = str(ncsnr)
        entities = person_entities(person) | {"stat": "noiseceiling"}
        node.inputs.ceiling_file = str(derivative_path(work.output_dir, "statmap", **entities))
    return node
