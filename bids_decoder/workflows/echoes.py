"""Wiring of multi-echo runs: slice timing of each echo, combination, components, outputs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from nipype.interfaces.utility import Merge, Select
from nipype.pipeline.engine import Node, Workflow

from bids_decoder.bids.dataset import BoldRun
from bids_decoder.bids.echo_settings import MultiEcho
from bids_decoder.interfaces.multiecho import FindEchoComponents, ResampleEchoes
from bids_decoder.interfaces.resampling import ResampleBold, ResampleRun
from bids_decoder.workflows.shared import join_metadata

MakeSink = Callable[[str, dict[str, Any], dict[str, Any]], Node]
"""Makes a sink from the key of a name, further entities, and the sidecar."""

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


def resample_interface(
    bold: BoldRun, rules: MultiEcho, *, in_func: bool, **inputs: Any
) -> ResampleRun:
    """Make the interface that resamples a run, and combines its echoes if there are several."""
    if not bold.echoes:
        return ResampleBold(**inputs)
    # Echoes are decomposed where confounds are computed, in the functional space.
    keep_echoes = rules.output == "echoes" or (rules.tedana and in_func)
    return ResampleEchoes(
        echo_times=[echo.time for echo in bold.echoes], keep_echoes=keep_echoes, **inputs
    )


def keep_echoes(
    workflow: Workflow, node: Node, bold: BoldRun, metadata: dict[str, Any],
    sink: MakeSink, rules: MultiEcho,
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
    rules : MultiEcho
    """
    shared = {"Sources": metadata["Sources"], **echo_metadata(bold)}
    for key, field in _FIELDS.items():
        workflow.connect(
            node, field, sink(key, {}, {**shared, "Units": _UNITS[key]}), "in_file"
        )
    if rules.output != "echoes":
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
            {**own, "SkullStripped": False, "EchoTime": echo.time, "Sources": [source]},
        )
        workflow.connect(node, "echo_files", select, "inlist")
        workflow.connect(select, "out", target, "in_file")


def find_echo_components(
    workflow: Workflow, bold: BoldRun, nodes: Mapping[str, Node], sink: MakeSink, *, seed: int
) -> None:
    """Wire the decomposition of the echoes of a run, and its rejected components as confounds.

    Parameters
    ----------
    workflow : Workflow
    bold : BoldRun
    nodes : mapping of str to Node
        ``reference``, with ``n_dummy``; ``func``, with the resampled echoes; and ``confounds``.
    sink : callable
        See :data:`MakeSink`.
    seed : int
    """
    confounds = nodes["confounds"]
    times = [echo.time for echo in bold.echoes]
    node = Node(
        FindEchoComponents(echo_times=times, seed=seed), f"components_of_{confounds.name}",
        # Nearly ten copies of the brain voxels of all echoes in double precision.
        mem_gb=4 * len(times) * confounds.mem_gb, n_procs=1,
    )
    workflow.connect([
        (nodes["func"], node, [("echo_files", "in_files"), ("mask_file", "mask_file")]),
        (nodes["reference"], node, [("n_dummy", "n_dummy")]),
        (node, confounds, [("mixing_file", "mixing_file"), ("metrics_file", "metrics_file")]),
    ])
    described = {"EchoTimes": times, "Method": "tedana (ICA, decision tree tedana_orig)"}
    for key, field in (("echo_mixing", "mixing_file"), ("echo_metrics", "metrics_file")):
        target = sink(key, {}, described)
        workflow.connect(node, field, target, "in_file")
    workflow.connect(node, ("metadata", join_metadata, described), target, "metadata")
