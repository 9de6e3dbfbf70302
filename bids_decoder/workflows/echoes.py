"""Wiring of multi-echo runs: slice timing of each echo, their combination, further outputs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from nipype.interfaces.utility import Merge, Select
from nipype.pipeline.engine import Node, Workflow

from bids_decoder.bids.dataset import BoldRun
from bids_decoder.interfaces.multiecho import ResampleEchoes

_UNITS = {"t2star": "s", "s0": "arbitrary", "echo_weights": "1"}
_FIELDS = {"t2star": "t2star_file", "s0": "s0_file", "echo_weights": "weights_file"}


def timed_echoes(
    workflow: Workflow, bold: BoldRun, make: Callable[[Path, str], Node], label: str
) -> tuple[Node, str]:
    """Wire the slice timing of all images of a run.

    Parameters
    ----------
    workflow : Workflow
    bold : BoldRun
    make : callable
        Makes the connected node of one image, from its path and a label.
    label : str
        Of the run, for names of nodes.

    Returns
    -------
    Node, str
        Node and field of the corrected image, or of the list of corrected echoes.
    """
    if not bold.echoes:
        return make(bold.image_file, label), "out_file"
    merge = Node(Merge(len(bold.echoes)), f"timed_{label}", run_without_submitting=True)
    for number, echo in enumerate(bold.echoes, start=1):
        node = make(echo.file, f"{label}_echo{number}")
        workflow.connect(node, "out_file", merge, f"in{number}")
    return merge, "out"


def echo_metadata(bold: BoldRun) -> dict[str, Any]:
    """Return what the sidecar of combined echoes says about them; nothing for a single echo."""
    if not bold.echoes:
        return {}
    return {
        "EchoTimes": [echo.time for echo in bold.echoes],
        "EchoCombination": "Weighted by T2* (optimal combination, tedana)",
    }


def resample_interface(bold: BoldRun, keep_echoes: bool, **inputs: Any) -> ResampleEchoes:
    """Make the interface that resamples and combines the echoes of a run."""
    return ResampleEchoes(
        echo_times=[echo.time for echo in bold.echoes], keep_echoes=keep_echoes, **inputs
    )


def keep_echoes(
    workflow: Workflow, node: Node, bold: BoldRun, metadata: dict[str, Any],
    sink: Callable[[str, dict[str, Any], dict[str, Any]], Node],
) -> None:
    """Wire the sinks of the maps of a multi-echo run and, if they are kept, of its echoes.

    Parameters
    ----------
    workflow : Workflow
    node : Node
        With :class:`~bids_decoder.interfaces.multiecho.ResampleEchoes`.
    bold : BoldRun
    metadata : dict
        Sidecar of the preprocessed series.
    sink : callable
        Makes a sink from the key of a name, further entities, and the sidecar.
    """
    shared = {"Sources": metadata["Sources"], **echo_metadata(bold)}
    for key, field in _FIELDS.items():
        workflow.connect(
            node, field, sink(key, {}, {**shared, "Units": _UNITS[key]}), "in_file"
        )
    if not node.inputs.keep_echoes:
        return
    own = {key: value for key, value in metadata.items() if not key.startswith("Echo")}
    for number, (echo, source) in enumerate(
        zip(bold.echoes, metadata["Sources"], strict=True), start=1
    ):
        select = Node(
            Select(index=[number - 1]), f"{node.name}_echo{number}", run_without_submitting=True
        )
        target = sink(
            "preproc_bold", {"echo": str(number)},
            {**own, "EchoTime": echo.time, "Sources": [source]},
        )
        workflow.connect(node, "echo_files", select, "inlist")
        workflow.connect(select, "out", target, "in_file")
