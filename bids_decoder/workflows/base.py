"""The one workflow of a call: everybody's preparation, the pretraining, everybody's decoding."""

from __future__ import annotations

from pathlib import Path

from nipype.interfaces.utility import IdentityInterface, Merge
from nipype.pipeline.engine import Node, Workflow

from bids_decoder import __version__
from bids_decoder.interfaces.outputs import DerivativesSink
from bids_decoder.interfaces.preprocessing import CommonMask
from bids_decoder.trials import TRIAL_COLUMNS
from bids_decoder.workflows.anat import init_anat_wf
from bids_decoder.workflows.bold import init_bold_wf, shifted_start
from bids_decoder.workflows.decode import (
    gallery_node,
    init_decode_wf,
    init_pretrain_wf,
    mark_node,
    responses_node,
    targets_node,
)
from bids_decoder.workflows.encode import init_encode_wf, pictures_node
from bids_decoder.workflows.glm import init_glm_wf
from bids_decoder.workflows.region import occipital_node
from bids_decoder.workflows.subjects import init_subjects_wf
from bids_decoder.workflows.work import PersonWork, Work, run_path

_MASK_GB = 0.5


def init_bids_decoder_wf(work: Work) -> Workflow:
    """Wire everything that a call has to do.

    Parameters
    ----------
    work : Work

    Returns
    -------
    Workflow
        Stages that are done are not in it; their outputs are read from the derivatives.
    """
    version = "".join(c if c.isalnum() else "_" for c in __version__)
    name = f"bids_decoder_{version}_wf"
    if work.subjects is not None:
        return init_subjects_wf(work, name)
    workflow = Workflow(name, base_dir=str(work.work_dir))
    prepared: dict[str, tuple[Node | Workflow, str]] = {}
    for person in work.people:
        if person.preprocess is not None or person.betas is not None:
            prepare = init_prepare_wf(work, person, name=f"prepare_{person.node_label}_wf")
            workflow.add_nodes([prepare])
            prepared[person.label] = (prepare, "outputnode.marker")
    if not work.pretrains and not any(person.decode or person.encode for person in work.people):
        return workflow
    targets = targets_node(work)
    gallery = gallery_node(work) if work.targets.gallery else None
    responses = _responses(workflow, work, prepared)
    models = _pretraining(workflow, work, targets, responses)
    for person in work.people:
        if person.decode is None:
            continue
        decode = init_decode_wf(work, person, name=f"decode_{person.node_label}_wf")
        workflow.connect(targets, "targets_file", decode, "inputnode.targets_file")
        workflow.connect(responses[person.label], "folder", decode, "inputnode.folder")
        if gallery is not None:
            workflow.connect(gallery, "targets_file", decode, "inputnode.gallery_file")
        if person.decode.pretrained in models:
            made = models[person.decode.pretrained]
            workflow.connect(made, "outputnode.model_file", decode, "inputnode.pretrained_file")
        elif person.decode.pretrained is not None:
            decode.inputs.inputnode.pretrained_file = str(person.decode.pretrained)
    _encoding(workflow, work, targets, responses)
    return workflow


def _encoding(
    workflow: Workflow, work: Work, targets: Node, responses: dict[str, Node]
) -> None:
    people = [person for person in work.people if person.encode is not None]
    needed = any(person.encode.needs_pictures for person in people)
    pictures = pictures_node(work) if needed else None
    for person in people:
        encode = init_encode_wf(work, person, name=f"encode_{person.node_label}_wf")
        workflow.connect(targets, "targets_file", encode, "inputnode.targets_file")
        workflow.connect(responses[person.label], "folder", encode, "inputnode.folder")
        if person.encode.needs_pictures:
            workflow.connect(pictures, "pictures_file", encode, "inputnode.pictures_file")


def _responses(
    workflow: Workflow, work: Work, prepared: dict[str, tuple[Node | Workflow, str]]
) -> dict[str, Node]:
    needed = {label for pretrain in work.pretrains for label in pretrain.sources}
    needed |= {person.label for person in work.people if person.decode or person.encode}
    nodes = {}
    for person in work.people:
        if person.label not in needed:
            continue
        nodes[person.label] = responses_node(work, person)
        readers = [nodes[person.label]]
        if work.settings.troi.region == "occipital":
            readers.append(occipital_node(work, person))
            workflow.connect(readers[1], ("out_file", _as_list), readers[0], "mask_files")
        if person.label in prepared:
            source, field = prepared[person.label]
            for reader in readers:
                workflow.connect(source, field, reader, "after")
    return nodes


def _as_list(item: str) -> list[str]:
    return [item]


def _pretraining(
    workflow: Workflow, work: Work, targets: Node, responses: dict[str, Node]
) -> dict[Path, Workflow]:
    models = {}
    for pretrain in work.pretrains:
        name = pretrain.path.name.split("_desc-")[0].replace("-", "_").replace("desc_", "")
        pretrain_wf = init_pretrain_wf(work, pretrain, name=f"pretrain_{_plain(name)}_wf")
        folders = Node(Merge(len(pretrain.sources)), f"folders_{_plain(name)}",
                       run_without_submitting=True)
        for number, label in enumerate(pretrain.sources, start=1):
            workflow.connect(responses[label], "folder", folders, f"in{number}")
        workflow.connect(folders, "out", pretrain_wf, "inputnode.folders")
        workflow.connect(targets, "targets_file", pretrain_wf, "inputnode.targets_file")
        models[pretrain.path] = pretrain_wf
    return models


def _plain(text: str) -> str:
    return "".join(c if c.isalnum() else "_" for c in text)


def init_prepare_wf(work: Work, person: PersonWork, name: str) -> Workflow:
    """Wire preprocessing and single-trial responses of one participant.

    Parameters
    ----------
    work : Work
    person : PersonWork
        With ``preprocess``, ``betas`` or both.
    name : str

    Returns
    -------
    Workflow
        ``outputnode``: ``marker``, of the last stage wired.
    """
    workflow = Workflow(name)
    outputnode = Node(IdentityInterface(["marker"]), "outputnode")
    bold_wf = None
    if person.preprocess is not None:
        bold_wf, mark = _preprocess(workflow, work, person)
        if person.betas is None:
            workflow.connect(mark, "marker", outputnode, "marker")
    if person.betas is not None:
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
    mask = Node(CommonMask(), "common_mask", mem_gb=_MASK_GB)
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
            # Confounds hold in every space.
            (given, "confounds_files", "confounds", participant.runs),
        ):
            setattr(inputs, field, [str(run_path(output_dir, key, run)) for run in runs])
    else:
        given.bold_files = [str(run.bold_file) for run in participant.runs]
        if work.settings.glm.confounds != "none":
            given.confounds_files = [str(run.confounds_file) for run in participant.runs]
        mask.inputs.in_files = [str(run.mask_file) for run in participant.runs]
    if person.source == "raw":
        given.start_times = [shifted_start(run, work.settings) for run in participant.runs]
    mark = mark_node(work, person.betas, "mark_betas")
    workflow.connect(glm_wf, "outputnode.out_files", mark, "out_files")
    return mark


def _given_betas(
    workflow: Workflow, work: Work, person: PersonWork, bold_wf: Workflow | None
) -> Node:
    del bold_wf
    gather = Node(Merge(len(person.participant.runs)), "trials", run_without_submitting=True)
    columns = {name: {"Description": text} for name, text in TRIAL_COLUMNS.items()}
    for number, run in enumerate(person.participant.runs, start=1):
        entities = {k: v for k, v in run.name_entities.items() if v is not None}
        sink = Node(
            DerivativesSink(
                in_file=str(person.trials[run.run_group]), output_dir=str(work.output_dir),
                key="trials", entities=entities, metadata=columns,
            ),
            f"sink_trials_{number}", run_without_submitting=True,
        )
        workflow.connect(sink, "out_file", gather, f"in{number}")
    mark = mark_node(work, person.betas, "mark_betas")
    workflow.connect(gather, "out", mark, "out_files")
    return mark


