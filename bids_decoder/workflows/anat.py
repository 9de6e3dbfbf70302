"""Preprocessing of the T1w images of one participant."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from nipype.interfaces.utility import IdentityInterface
from nipype.pipeline.engine import MapNode, Node, Workflow

from bids_decoder.bids.dataset import Participant
from bids_decoder.bids.images import read_header
from bids_decoder.config import Settings
from bids_decoder.interfaces.outputs import DerivativesSink
from bids_decoder.interfaces.preprocessing_anat import (
    AverageT1w,
    CorrectBias,
    RegisterToTemplate,
    SegmentTissues,
    T1wBrainMask,
    WarpT1w,
)
from bids_decoder.preprocessing.templates import OutputSpace, load_template, parse_space
from bids_decoder.seeds import derive_seed
from bids_decoder.workflows.shared import gather, join_metadata

_SYN_GB = 2.5


def template_spaces(settings: Settings) -> tuple[OutputSpace, ...]:
    """Return the output spaces that need a template, and check that it is installed.

    Raises
    ------
    MissingInputError, UsageError
        See :func:`bids_decoder.preprocessing.templates.load_template`.
    """
    spaces = [parse_space(text) for text in settings.preprocessing.output_spaces]
    templates = tuple(space for space in dict.fromkeys(spaces) if space.is_template)
    for space in templates:
        load_template(space)
    return templates


def init_anat_wf(
    participant: Participant, settings: Settings, *, output_dir: Path
) -> Workflow:
    """Wire the preprocessing of T1w images.

    Parameters
    ----------
    participant : Participant
        With at least one T1w image. Several, of any sessions, are aligned to the first; their
        median is used.
    settings : Settings
    output_dir : Path
        Top of the derivatives.

    Returns
    -------
    Workflow
        ``outputnode``: ``t1w_preproc``, ``t1w_mask``, ``t1w_brain``, ``t1w_dseg``; lists in the
        order of :func:`template_spaces`: ``t1w_to_template`` and ``template_to_t1w``; and
        ``out_files``, everything written into the derivatives.
    """
    seed = derive_seed(settings.random_seed, "preprocess", participant.label)
    size_gb = max(read_header(path).n_bytes for path in participant.t1w_files) / 1e9
    mem_gb = 0.6 + 14 * size_gb
    workflow = Workflow("anat_wf")
    bias = MapNode(
        CorrectBias(seed=seed), "in_file", name="bias", mem_gb=mem_gb, n_procs=1
    )
    bias.inputs.in_file = [str(path) for path in participant.t1w_files]
    average = Node(AverageT1w(seed=seed), "average", mem_gb=mem_gb, n_procs=1)
    mask = Node(T1wBrainMask(seed=seed), "brain_mask", mem_gb=mem_gb, n_procs=1)
    tissues = Node(SegmentTissues(), "tissues", mem_gb=mem_gb, n_procs=1)
    spaces = template_spaces(settings)
    outputnode = Node(IdentityInterface([
        "t1w_preproc", "t1w_mask", "t1w_brain", "t1w_dseg", "t1w_to_template",
        "template_to_t1w", "out_files",
    ]), "outputnode")
    workflow.connect([
        (bias, average, [("out_file", "in_files")]),
        (average, mask, [("out_file", "in_file")]),
        (mask, tissues, [("brain_file", "in_file")]),
        (average, outputnode, [("out_file", "t1w_preproc")]),
        (mask, outputnode, [("mask_file", "t1w_mask"), ("brain_file", "t1w_brain")]),
        (tissues, outputnode, [("out_file", "t1w_dseg")]),
    ])
    sinks = _image_sinks(participant, settings, output_dir)
    images = ((average, "out_file"), (mask, "mask_file"), (tissues, "out_file"))
    for (node, field), sink in zip(images, sinks, strict=True):
        workflow.connect(node, field, sink, "in_file")
    known = sinks[0].inputs.metadata
    workflow.connect(average, ("metadata", join_metadata, known), sinks[0], "metadata")
    registrations = _registrations(workflow, mask, outputnode, spaces, seed)
    for template, register in {space.name: node for space, node in registrations}.items():
        sinks += _xfm_sinks(workflow, register, template, participant, output_dir)
    for space, register in registrations:
        sinks.append(_t1w_sink(workflow, average, register, space, participant, output_dir))
    gather(workflow, sinks, "out_file", outputnode, "out_files")
    return workflow


def _image_sinks(
    participant: Participant, settings: Settings, output_dir: Path
) -> list[Node]:
    sources = source_uris(participant.t1w_files, settings)
    how = "bias field removed (N4)"
    if len(participant.t1w_files) > 1:
        how += f"; {len(participant.t1w_files)} images aligned to the first, median"
    wanted: dict[str, dict[str, Any]] = {
        "preproc_T1w": {"SkullStripped": False, "Description": how},
        "anat_mask": {"Type": "Brain", "Description": "ants.get_mask at 1.5 mm, closed by 4 mm"},
        "dseg": {"Description": "1 CSF, 2 grey matter, 3 white matter"},
    }
    return [
        _sink(key, {"sub": participant.label}, output_dir, {**metadata, "Sources": sources})
        for key, metadata in wanted.items()
    ]


def _registrations(
    workflow: Workflow, mask: Node, outputnode: Node, spaces: tuple[OutputSpace, ...], seed: int
) -> list[tuple[OutputSpace, Node]]:
    """Wire one registration to each template, which all of its resolutions use."""
    if not spaces:
        return []
    by_name: dict[str, Node] = {}
    for space in spaces:
        if space.name in by_name:
            continue
        register = Node(
            RegisterToTemplate(space=space.name, resolution=space.resolution, seed=seed),
            f"to_{space.name}{space.resolution}", mem_gb=_SYN_GB, n_procs=1,
        )
        workflow.connect([
            (mask, register, [("brain_file", "in_file"), ("mask_file", "mask_file")]),
        ])
        by_name[space.name] = register
    nodes = [by_name[space.name] for space in spaces]
    gather(workflow, nodes, "forward_file", outputnode, "t1w_to_template")
    gather(workflow, nodes, "inverse_file", outputnode, "template_to_t1w")
    return list(zip(spaces, nodes, strict=True))


def _xfm_sinks(
    workflow: Workflow, register: Node, name: str, participant: Participant, output_dir: Path
) -> list[Node]:
    """Wire the sinks of the transforms to a template and back."""
    sinks = []
    for ends, field in ((("T1w", name), "forward_file"), ((name, "T1w"), "inverse_file")):
        entities = {"sub": participant.label, "from_": ends[0], "to": ends[1]}
        sink = _sink("anat_xfm", entities, output_dir, {}, f"xfm_{ends[0]}_{ends[1]}")
        workflow.connect(register, field, sink, "in_file")
        sinks.append(sink)
    return sinks


def _t1w_sink(
    workflow: Workflow, average: Node, register: Node, space: OutputSpace,
    participant: Participant, output_dir: Path,
) -> Node:
    """Wire the sink of the T1w image on the grid of a template."""
    label = f"{space.name}{space.resolution}"
    warp = Node(
        WarpT1w(space=space.name, resolution=space.resolution), f"warp_{label}", mem_gb=1.5,
        n_procs=1,
    )
    sink = _sink(
        "preproc_T1w", {"sub": participant.label, **space.entities}, output_dir,
        {"SkullStripped": False}, f"T1w_{label}",
    )
    workflow.connect([
        (average, warp, [("out_file", "in_file")]),
        (register, warp, [("forward_file", "transform_file")]),
        (warp, sink, [("out_file", "in_file")]),
    ])
    return sink


def source_uris(paths: tuple[Path, ...], settings: Settings) -> list[str]:
    """Name raw files as BIDS URIs (``bids:raw:...``), or by name outside the dataset."""
    top = settings.execution.bids_dir
    return [
        f"bids:raw:{path.relative_to(top).as_posix()}" if path.is_relative_to(top) else path.name
        for path in map(Path, paths)
    ]


def _sink(
    key: str, entities: dict[str, str], output_dir: Path, metadata: dict[str, Any],
    name: str | None = None,
) -> Node:
    interface = DerivativesSink(output_dir=str(output_dir), key=key, entities=entities)
    if metadata:
        interface.inputs.metadata = metadata
    return Node(interface, f"sink_{name or key}", mem_gb=0.1, n_procs=1)
