"""Preprocessing of all BOLD runs of one participant."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from nipype.interfaces.utility import IdentityInterface, Merge
from nipype.pipeline.engine import Node, Workflow

from bids_decoder.bids.dataset import Participant
from bids_decoder.bids.echo_settings import MultiEcho
from bids_decoder.config import Settings
from bids_decoder.interfaces.outputs import DerivativesSink
from bids_decoder.interfaces.preprocessing import (
    Confounds,
    CorrectSliceTiming,
    EpiBrainMask,
    HeadMotion,
    RegisterRuns,
    RegisterToT1w,
    RunReference,
)
from bids_decoder.interfaces.preprocessing_anat import T1wGrid, TemplateGrid
from bids_decoder.preprocessing.templates import (
    FUNC,
    OutputSpace,
    parse_space,
    response_space,
)
from bids_decoder.seeds import derive_seed
from bids_decoder.workflows.anat import source_uris
from bids_decoder.workflows.distortion import DistortionNodes
from bids_decoder.workflows.echoes import (
    MakeSink,
    find_echo_components,
    keep_echoes,
    resample_interface,
    timed_echoes,
)
from bids_decoder.workflows.raw_series import RawRun, bold_metadata, describe_run
from bids_decoder.workflows.shared import gather
from bids_decoder.workflows.spaces import n_grid_voxels

_RUN_OUTPUTS = ("preproc_bold", "bold_mask", "confounds")


def init_bold_wf(
    participant: Participant, settings: Settings, *, output_dir: Path, has_t1w: bool
) -> Workflow:
    """Wire the preprocessing of all runs of a participant onto one grid.

    Parameters
    ----------
    participant : Participant
        The boldref of the first run sets the participant's grid; all others are aligned to it.
    settings : Settings
    output_dir : Path
        Top of the derivatives.
    has_t1w : bool
        Without a T1w image ``func`` is the only space that can be reached.

    Returns
    -------
    Workflow
        ``inputnode`` (only used with a T1w image): ``t1w_brain``, ``t1w_mask``, ``t1w_dseg``,
        ``template_to_t1w`` and ``t1w_to_template`` as :func:`~.anat.init_anat_wf` returns them.
        ``outputnode``: lists in the order of the runs ``preproc_bold`` and ``bold_mask`` in the
        first of the output spaces, and ``confounds``; and ``out_files``, everything written into
        the derivatives.

    Raises
    ------
    MissingInputError
        Without repetition time.
    """
    runs = [describe_run(i, bold, settings) for i, bold in enumerate(participant.runs)]
    seed = derive_seed(settings.random_seed, "preprocess", participant.label)
    workflow = Workflow("bold_wf")
    inputnode = Node(IdentityInterface([
        "t1w_brain", "t1w_mask", "t1w_dseg", "t1w_to_template", "template_to_t1w",
    ]), "inputnode")
    outputnode = Node(IdentityInterface([*_RUN_OUTPUTS, "out_files"]), "outputnode")
    build = _Builder(workflow, participant, settings, output_dir, seed, inputnode)
    build.references(runs)
    if has_t1w:
        build.t1w_alignment(runs[0])
    fields = [build.run(run) for run in runs]
    for key in _RUN_OUTPUTS:
        (field,) = {own[key][1] for own in fields}
        gather(workflow, [own[key][0] for own in fields], field, outputnode, key)
    gather(workflow, build.sinks, "out_file", outputnode, "out_files")
    return workflow


class _Builder:
    """Builder of the workflow: nodes by run number, and all sinks."""

    def __init__(
        self, workflow: Workflow, participant: Participant, settings: Settings,
        output_dir: Path, seed: int, inputnode: Node,
    ) -> None:
        self.workflow = workflow
        self.participant = participant
        self.settings = settings
        self.spaces = tuple(dict.fromkeys(map(parse_space, settings.preprocessing.output_spaces)))
        self.echo_rules = settings.section(MultiEcho)
        self.output_dir = output_dir
        self.seed = seed
        self.inputnode = inputnode
        self.reference: list[Node] = []
        self.mask: list[Node] = []
        self.sinks: list[Node] = []
        self.distortion = DistortionNodes(
            workflow, participant, settings, output_dir, seed, self.sinks, inputnode
        )
        self.straight: list[tuple[Node, Node]] = []
        self.to_t1w: Node | None = None
        self.t1w_grid: Node | None = None

    def references(self, runs: list[RawRun]) -> None:
        """Wire the boldref and the mask of every run."""
        dummy = self.settings.preprocessing.dummy_scans
        for run in runs:
            reference = self._node(RunReference(), f"reference_{run.number}", run.mem_gb)
            reference.inputs.in_file = str(run.bold.bold_file)
            if run.bold.sbref_file is not None:
                reference.inputs.sbref_file = str(run.bold.sbref_file)
            if dummy is not None:
                reference.inputs.n_dummy = dummy
            mask = self._node(EpiBrainMask(seed=self.seed), f"epi_mask_{run.number}", 0.5)
            self.workflow.connect(reference, "out_file", mask, "in_file")
            self.reference.append(reference)
            self.mask.append(mask)
            self.straight.append(self.distortion.correct(run.number, run.bold, reference, mask))

    def t1w_alignment(self, first: RawRun) -> None:
        """Wire the alignment of the boldref to the T1w image, and the sinks of both transforms."""
        self.to_t1w = self._node(RegisterToT1w(seed=self.seed), "bold_to_t1w", 1.5)
        self.workflow.connect([
            (self.straight[0][0], self.to_t1w, [("out_file", "in_file")]),
            (self.straight[0][1], self.to_t1w, [("mask_file", "mask_file")]),
            (self.inputnode, self.to_t1w, [
                ("t1w_brain", "target_file"), ("t1w_mask", "target_mask_file")]),
        ])
        self._keep_both_ways(self.to_t1w, {"sub": self.participant.label}, "boldref", "T1w", "t1w")
        self.distortion.measure(first.bold, self.reference[0], self.mask[0], self.to_t1w)
        if OutputSpace("T1w") in self.spaces:
            self.t1w_grid = self._node(T1wGrid(), "t1w_grid", 1.5)
            self.workflow.connect([
                (self.inputnode, self.t1w_grid, [("t1w_brain", "t1w_file")]),
                (self.reference[0], self.t1w_grid, [("out_file", "boldref_file")]),
            ])

    def run(self, run: RawRun) -> dict[str, tuple[Node, str]]:
        """Wire one run; return the node and field of each output that responses need."""
        motion = self._node(HeadMotion(), f"motion_{run.number}", run.mem_gb)
        motion.inputs.in_file = str(run.bold.bold_file)
        self.workflow.connect([
            (self.reference[run.number], motion, [("out_file", "boldref_file")]),
            (self.mask[run.number], motion, [("mask_file", "mask_file")]),
        ])
        notes = Node(Merge(2), f"notes_{run.number}", run_without_submitting=True)
        self.workflow.connect(self.reference[run.number], "notes", notes, "in1")
        self.workflow.connect(motion, "notes", notes, "in2")
        sources = {
            "motion": motion, "notes": notes, "timing": self._slice_timing(run),
            "to_person": self._to_person(run),
        }
        # Confounds are computed in the functional space, whatever the output spaces.
        spaces = dict.fromkeys((FUNC, *self.spaces))
        resampled = {space: self._resample(run, sources, space) for space in spaces}
        confounds = self._confounds(run, motion, resampled[FUNC])
        chosen = resampled[response_space(self.settings.preprocessing.output_spaces)]
        return {
            "preproc_bold": (chosen, "out_file"), "bold_mask": (chosen, "mask_file"),
            "confounds": (confounds, "out_file"),
        }

    def _slice_timing(self, run: RawRun) -> tuple[Node, str] | None:
        if not run.slice_times:
            return None

        def correct(path: Path, label: str) -> Node:
            node = self._node(
                CorrectSliceTiming(
                    in_file=str(path), slice_times=list(run.slice_times), t_r=run.t_r,
                    slice_time_ref=self.settings.preprocessing.slice_time_ref,
                    direction=run.bold.metadata.get("SliceEncodingDirection", "k"),
                ),
                f"slice_timing_{label}", run.mem_gb,
            )
            self.workflow.connect(self.reference[run.number], "n_dummy", node, "n_skip")
            return node

        return timed_echoes(self.workflow, run.bold, correct, str(run.number))

    def _to_person(self, run: RawRun) -> Node | None:
        if run.number == 0:
            return None
        node = self._node(RegisterRuns(seed=self.seed), f"to_person_{run.number}", 1.0)
        self.workflow.connect([
            (self.straight[run.number][0], node, [("out_file", "in_file")]),
            (self.straight[run.number][1], node, [("mask_file", "mask_file")]),
            (self.straight[0][0], node, [("out_file", "target_file")]),
            (self.straight[0][1], node, [("mask_file", "target_mask_file")]),
        ])
        entities = run.bold.name_entities
        self._keep_both_ways(node, entities, "run", "boldref", f"run_{run.number}")
        return node

    def _resample(self, run: RawRun, sources: dict[str, Any], space: OutputSpace) -> Node:
        label = f"{space.name}{space.resolution or ''}_{run.number}"
        mem_gb = run.mem_gb
        if space != FUNC:
            n_voxels = n_grid_voxels(self.participant, space)
            mem_gb += 4 * n_voxels * run.header.n_volumes * 4 / 1e9
        node = self._node(
            resample_interface(
                run.bold, self.echo_rules, in_func=space == FUNC, t_r=run.t_r,
                metadata=bold_metadata(run, self.settings),
            ),
            f"resample_{label}", mem_gb * max(len(run.bold.echoes), 1),
        )
        in_field = "in_files" if run.bold.echoes else "in_file"
        if sources["timing"] is None:
            files = list(map(str, run.bold.image_files))
            setattr(node.inputs, in_field, files if run.bold.echoes else files[0])
        else:
            self.workflow.connect(*sources["timing"], node, in_field)
        if run.bold.echoes:
            self.workflow.connect(self.reference[run.number], "n_dummy", node, "n_dummy")
        if sources["to_person"] is not None:
            self.workflow.connect(sources["to_person"], "forward_file", node, "run_file")
        self.workflow.connect([
            (sources["motion"], node, [("matrices_file", "matrices_file")]),
            (sources["notes"], node, [("out", "notes")]),
            (self.reference[run.number], node, [("out_file", "boldref_file")]),
            (self.straight[0][1], node, [("mask_file", "mask_file")]),
        ])
        self.distortion.pass_shifts(run.bold, node)
        self._connect_grid(node, space, label)
        self._keep_series(run, node, space, label)
        return node

    def _connect_grid(self, node: Node, space: OutputSpace, label: str) -> None:
        if space == FUNC:
            self.workflow.connect(self.reference[0], "out_file", node, "grid_file")
            return
        chain = Node(Merge(2), f"chain_{label}", run_without_submitting=True)
        self.workflow.connect(self.to_t1w, "forward_file", chain, "in2")
        self.workflow.connect(chain, "out", node, "space_files")
        if space.name == "T1w":
            self.workflow.connect(self.t1w_grid, "out_file", node, "grid_file")
            return
        grid = self._node(
            TemplateGrid(space=space.name, resolution=space.resolution), f"grid_{label}", 0.5
        )
        templates = [other for other in self.spaces if other.is_template]
        pick = (pick_file, templates.index(space))
        self.workflow.connect(self.inputnode, ("t1w_to_template", *pick), chain, "in1")
        self.workflow.connect(grid, "out_file", node, "grid_file")

    def _keep_series(self, run: RawRun, node: Node, space: OutputSpace, label: str) -> None:
        entities = {**run.bold.name_entities, **space.entities}
        sources = source_uris(run.bold.image_files, self.settings)
        series = self._sink("preproc_bold", entities, label)
        mask = self._sink("bold_mask", entities, label, {"Type": "Brain", "Sources": sources})
        # That of multi-echo runs comes from the first echo.
        seen = (run.bold.sbref_file or run.bold.bold_file,)
        boldref = self._sink("boldref", entities, label, {
            "SkullStripped": False, "Sources": source_uris(seen, self.settings),
        })
        self.workflow.connect([
            (node, series, [("out_file", "in_file"), ("metadata", "metadata")]),
            (node, mask, [("mask_file", "in_file")]),
            (node, boldref, [("boldref_file", "in_file")]),
        ])
        if run.bold.echoes:
            metadata = bold_metadata(run, self.settings)
            sinks = self._sinks(entities, label)
            keep_echoes(self.workflow, node, run.bold, metadata, sinks, self.echo_rules)

    def _sinks(self, entities: dict[str, Any], label: str) -> MakeSink:
        def sink(key: str, more: dict[str, Any], metadata: dict[str, Any]) -> Node:
            name = "_".join([label, *more.values()])
            return self._sink(key, entities | more, name, metadata)

        return sink

    def _confounds(self, run: RawRun, motion: Node, func: Node) -> Node:
        rules = self.settings.preprocessing
        node = self._node(
            Confounds(t_r=run.t_r, fd_threshold=rules.fd_threshold,
                      dvars_threshold=rules.dvars_threshold),
            f"confounds_{run.number}", run.mem_gb,
        )
        self.workflow.connect([
            (func, node, [("out_file", "in_file"), ("mask_file", "mask_file")]),
            (motion, node, [("matrices_file", "matrices_file")]),
            (self.reference[run.number], node, [
                ("out_file", "run_boldref_file"), ("n_dummy", "n_dummy")]),
        ])
        if run.bold.echoes and self.echo_rules.tedana:
            nodes = {"reference": self.reference[run.number], "func": func, "confounds": node}
            sinks = self._sinks(run.bold.name_entities, str(run.number))
            find_echo_components(self.workflow, run.bold, nodes, sinks, seed=self.seed)
        if self.to_t1w is not None:
            self.workflow.connect(self.inputnode, "t1w_dseg", node, "dseg_file")
            self.workflow.connect(self.to_t1w, "inverse_file", node, "to_t1w_file")
        sink = self._sink("confounds", run.bold.name_entities, str(run.number))
        self.workflow.connect(
            [(node, sink, [("out_file", "in_file"), ("metadata", "metadata")])]
        )
        return node

    def _keep_both_ways(
        self, node: Node, entities: dict[str, Any], start: str, end: str, label: str
    ) -> None:
        for first, second, field in ((start, end, "forward_file"), (end, start, "inverse_file")):
            ends = {**entities, "from_": first, "to": second}
            sink = self._sink("bold_xfm", ends, f"{label}_{field.split('_')[0]}")
            self.workflow.connect(node, field, sink, "in_file")

    def _sink(
        self, key: str, entities: dict[str, Any], label: str,
        metadata: dict[str, Any] | None = None,
    ) -> Node:
        interface = DerivativesSink(
            output_dir=str(self.output_dir), key=key, entities=dict(entities)
        )
        if metadata:
            interface.inputs.metadata = metadata
        sink = self._node(interface, f"sink_{key}_{label}", 0.1)
        self.sinks.append(sink)
        return sink

    @staticmethod
    def _node(interface: Any, name: str, mem_gb: float) -> Node:
        return Node(interface, name, mem_gb=round(mem_gb, 3), n_procs=1)


def pick_file(files: list[str], number: int) -> str:
    """Return one file of a list, as a function that Nipype can put on a connection."""
    return files[number]
