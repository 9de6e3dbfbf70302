"""Nodes that correct the susceptibility distortion of the runs of one participant."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from nipype.pipeline.engine import Node, Workflow

from bids_decoder.bids.dataset import BoldRun, Participant
from bids_decoder.config import Settings
from bids_decoder.interfaces.distortion import (
    BoundaryAgreement,
    CorrectReference,
    FieldOfGradientEchoes,
    FieldOfPair,
    FieldOfT1w,
)
from bids_decoder.interfaces.outputs import DerivativesSink
from bids_decoder.workflows.anat import source_uris
from bids_decoder.workflows.fieldmap_choice import IN_WORDS, Fieldmap
from bids_decoder.workflows.fieldmaps import plan_fieldmaps
from bids_decoder.workflows.shared import join_metadata

_FIELD_GB, _RUN_GB = 2.0, 1.5


class DistortionNodes:
    """Nodes of one participant: a field once, and shifts of each run.

    Parameters
    ----------
    workflow : Workflow
    participant : Participant
    settings : Settings
    output_dir : Path
    seed : int
    sinks : list of Node
        Sinks are added to it.
    anat : Node
        With ``t1w_brain``, ``t1w_mask`` and ``t1w_dseg``, if there is a T1w image.
    """

    def __init__(
        self, workflow: Workflow, participant: Participant, settings: Settings,
        output_dir: Path, seed: int, sinks: list[Node], anat: Node,
    ) -> None:
        self.workflow = workflow
        self.participant = participant
        self.settings = settings
        self.output_dir = output_dir
        self.seed = seed
        self.sinks = sinks
        self.anat = anat
        self.plan = plan_fieldmaps(participant, settings.preprocessing.use_syn_sdc)
        self.fields: dict[str, Node] = {}
        self.corrected: dict[str, Node] = {}

    def correct(
        self, number: int, run: BoldRun, reference: Node, mask: Node
    ) -> tuple[Node, Node]:
        """Wire the correction of a boldref.

        Parameters
        ----------
        number : int
            Of the run.
        run : BoldRun
        reference, mask : Node
            With ``out_file`` and ``mask_file``.

        Returns
        -------
        tuple of Node
            With ``out_file`` and with ``mask_file``, of the corrected image; those that were
            given for a run that is not corrected.
        """
        if run.run_group not in self.plan.by_run:
            return reference, mask
        name, encoding = self.plan.by_run[run.run_group]
        field = self._field(self.plan.fields[name], reference, mask)
        node = _node(
            CorrectReference(
                axis=encoding.axis, sign=encoding.sign, readout=encoding.readout, seed=self.seed,
            ),
            f"correct_{number}", _RUN_GB,
        )
        self.workflow.connect([
            (reference, node, [("out_file", "in_file")]),
            (mask, node, [("mask_file", "brain_file")]),
            (field, node, [
                ("field_file", "field_file"), ("reference_file", "reference_file"),
                ("mask_file", "field_mask_file")]),
        ])
        found = self.plan.fields[name]
        self._keep_run(number, run, node, reference, {
            "Units": "voxel", "PhaseEncodingDirection": encoding.direction,
            "TotalReadoutTime": encoding.readout, "Method": IN_WORDS[found.kind],
            "B0FieldSource": name, "Sources": source_uris(self._files(found), self.settings),
        })
        ends = {**run.name_entities, "from_": "boldref", "to": name}
        self._sink("bold_xfm", ends, f"to_field_{number}", node, "matrix_file")
        self.corrected[run.run_group] = node
        return node, node

    def pass_shifts(self, run: BoldRun, node: Node) -> None:
        """Connect the shifts of a run, if it is corrected, with the node that resamples it."""
        group = run.run_group
        if group not in self.corrected:
            return
        self.workflow.connect(self.corrected[group], "shift_file", node, "shift_file")
        node.inputs.shift_axis = self.plan.by_run[group][1].axis

    def measure(self, run: BoldRun, reference: Node, mask: Node, aligned: Node) -> None:
        """Wire the agreement of a boldref with the T1w, before and after, if it is corrected.

        Parameters
        ----------
        run : BoldRun
        reference, mask : Node
            Before correction.
        aligned : Node
            With ``forward_file``, the alignment of the corrected image.
        """
        if run.run_group not in self.corrected:
            return
        node = _node(BoundaryAgreement(seed=self.seed), "boundary", _RUN_GB)
        self.workflow.connect([
            (reference, node, [("out_file", "distorted_file")]),
            (mask, node, [("mask_file", "distorted_mask_file")]),
            (self.corrected[run.run_group], node, [("out_file", "corrected_file")]),
            (aligned, node, [("forward_file", "to_t1w_file")]),
            (self.anat, node, [
                ("t1w_brain", "t1w_file"), ("t1w_mask", "t1w_mask_file"),
                ("t1w_dseg", "dseg_file")]),
        ])
        self._sink("distortion_metrics", {"sub": self.participant.label}, "boundary", node,
                   "out_file", {
            "image": {"Description": "boldref of the first run, before or after correction"},
            "contrast": {"Description": "median of grey minus white matter across the boundary "
                         "of the T1w image, percent of their mean"},
            "share": {"Description": "share of points with brighter grey matter"},
            "n_points": {"Description": "points of the boundary inside the field of view"},
        })

    def _files(self, found: Fieldmap) -> tuple[Path, ...]:
        """Return the files of a field, and the T1w images of one that depends on them."""
        return (*found.files, *(self.participant.t1w_files if found.kind == "t1w" else ()))

    def _field(self, found: Fieldmap, reference: Node, mask: Node) -> Node:
        """Wire a field at its first use, which is that of the run it is estimated from, if any."""
        if found.name in self.fields:
            return self.fields[found.name]
        node = _node(_field_interface(found, self.seed), f"field_{found.name}", _FIELD_GB)
        if found.kind == "t1w":
            self.workflow.connect([
                (reference, node, [("out_file", "in_file")]),
                (mask, node, [("mask_file", "brain_file")]),
                (self.anat, node, [
                    ("t1w_brain", "t1w_file"), ("t1w_mask", "t1w_mask_file"),
                    ("t1w_dseg", "dseg_file")]),
            ])
        entities = {"sub": self.participant.label, "ses": found.session, "fmapid": found.name}
        sources = source_uris(
            (*self._files(found), *([found.magnitude] if found.magnitude else [])), self.settings
        )
        sink = self._sink("fieldmap", entities, f"field_{found.name}", node, "field_file")
        self.workflow.connect(node, ("metadata", join_metadata, {
            "Units": "Hz", "Method": IN_WORDS[found.kind], "Sources": sources,
        }), sink, "metadata")
        self._sink("fieldmap_reference", entities, f"magnitude_{found.name}", node,
                   "reference_file", {"Sources": sources})
        self.fields[found.name] = node
        return node

    def _keep_run(
        self, number: int, run: BoldRun, node: Node, reference: Node, metadata: dict[str, Any]
    ) -> None:
        sink = self._sink("shiftmap", run.name_entities, f"shift_{number}", node, "shift_file")
        self.workflow.connect(node, ("metadata", join_metadata, metadata), sink, "metadata")
        self._sink("distorted_boldref", run.name_entities, f"distorted_{number}", reference,
                   "out_file", {"SkullStripped": False})

    def _sink(
        self, key: str, entities: dict[str, Any], label: str, node: Node, field: str,
        metadata: dict[str, Any] | None = None,
    ) -> Node:
        sink = _node(
            DerivativesSink(output_dir=str(self.output_dir), key=key, entities=dict(entities)),
            f"sink_sdc_{label}", 0.1,
        )
        if metadata:
            sink.inputs.metadata = metadata
        self.workflow.connect(node, field, sink, "in_file")
        self.sinks.append(sink)
        return sink


def _field_interface(found: Fieldmap, seed: int) -> Any:
    """Return the interface that computes a field, without what other nodes give it."""
    ways = [(way.axis, way.sign, way.readout) for way in found.encodings]
    if found.kind == "t1w":
        ((axis, sign, readout),) = ways
        return FieldOfT1w(axis=axis, sign=sign, readout=readout, seed=seed)
    files = [str(path) for path in found.files]
    if found.kind == "pair":
        axes, signs, readouts = map(list, zip(*ways, strict=True))
        return FieldOfPair(in_files=files, axes=axes, signs=signs, readouts=readouts, seed=seed)
    unit = {"units": found.units} if found.units else {"echo_gap": found.echo_gap}
    return FieldOfGradientEchoes(
        in_files=files, magnitude_file=str(found.magnitude), seed=seed, **unit
    )


def _node(interface: Any, name: str, mem_gb: float) -> Node:
    return Node(interface, name, mem_gb=mem_gb, n_procs=1)
