"""Workflow from preprocessed BOLD to single-trial responses and condition contrasts."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from nipype.interfaces import utility as niu
from nipype.pipeline import engine as pe

from bids_decoder.bids.dataset import BoldRun, Participant
from bids_decoder.bids.images import read_header
from bids_decoder.bids.raw_runs import whole_volumes
from bids_decoder.bids.values import decodes_values
from bids_decoder.config import Settings, TrialRules
from bids_decoder.errors import MissingInputError
from bids_decoder.interfaces.contrasts import ConditionContrast
from bids_decoder.interfaces.glm import SingleTrialGLM
from bids_decoder.interfaces.outputs import DerivativesSink
from bids_decoder.interfaces.surfaces import LayoutMaps
from bids_decoder.preprocessing.templates import FUNC, OutputSpace
from bids_decoder.trials import trial_columns
from bids_decoder.workflows.shared import gather
from bids_decoder.workflows.spaces import n_grid_voxels

CHUNK_VOXELS = 5000
LOW_MEMORY_CHUNK_VOXELS = 1000
BASE_GB = 1.0
# The image as float32, its masked copy, and the compressed result are in memory together.
COPIES = 3
BYTES_PER_GB = 1e9


def init_glm_wf(
    participant: Participant, settings: Settings, *, output_dir: Path, space: OutputSpace = FUNC
) -> pe.Workflow:
    """Build the workflow of one participant.

    Parameters
    ----------
    participant : Participant
        Its runs give names, repetition times and start times.
    settings : Settings
        Uses ``glm`` and ``resources``.
    output_dir : Path
        Top of the derivatives.
    space : OutputSpace
        Space of preprocessed raw runs. Outputs carry its entities, beside those of the runs.

    Returns
    -------
    Workflow
        ``inputnode``: ``bold_files``, ``bold_mask`` (of the participant), ``confounds_files``,
        ``trials_files``, all in the order of ``participant.runs``, and ``start_times``, preset
        from the metadata, to be overridden where preprocessing shifts slices.
        ``outputnode``: ``out_files``, everything written into the derivatives.

    Raises
    ------
    MissingInputError
        When a run has no repetition time.
    """
    workflow = pe.Workflow("glm_wf")
    fields = ["bold_files", "bold_mask", "confounds_files", "trials_files", "start_times"]
    inputnode = pe.Node(niu.IdentityInterface(fields=fields), name="inputnode")
    inputnode.inputs.start_times = [start_time(run) for run in participant.runs]
    own = [str(run.regressors_file) for run in participant.runs if run.regressors_file]
    outputnode = pe.Node(niu.IdentityInterface(fields=["out_files"]), name="outputnode")
    names = [_entities(run, space) for run in participant.runs]
    mem_gb = series_gb(participant, space)
    glm = _glm_node(SingleTrialGLM(), participant, settings, names, "single_trial", mem_gb)
    low = settings.resources.low_mem
    glm.inputs.chunk_voxels = LOW_MEMORY_CHUNK_VOXELS if low else CHUNK_VOXELS
    workflow.connect(inputnode, "bold_mask", glm, "mask_file")
    sinks = _connect_sinks(workflow, glm, names, output_dir, settings.trials)
    models = [glm]
    if settings.glm.contrasts:
        contrast = _glm_node(ConditionContrast(), participant, settings, names, "contrast", mem_gb)
        maps = _sinks("statmap", output_dir, name="sink_contrasts")
        workflow.connect([
            (glm, contrast, [("glm_mask", "mask_file")]), (contrast, maps, _MAP_FIELDS),
        ])
        models.append(contrast)
        sinks.append(maps)
    workflow.connect([(inputnode, model, _GLM_INPUTS) for model in models])
    if participant.has_layout:
        sinks.append(_connect_layout(workflow, participant, sinks))
    for model in models if own else ():
        model.inputs.regressors_files = own
    gather(workflow, sinks, "out_file", outputnode, "out_files")
    return workflow


def _connect_layout(
    workflow: pe.Workflow, participant: Participant, sinks: list[pe.Node]
) -> pe.Node:
    """Add the node that writes maps as GIFTI or CIFTI, and return it."""
    node = pe.Node(
        LayoutMaps(
            series_file=str(participant.runs[0].bold_file),
            mesh_files=[str(path) for path in participant.meshes],
        ),
        name="layout_maps", run_without_submitting=True,
    )
    maps = [sink for sink in sinks if sink.inputs.key == "statmap"]
    gather(workflow, maps, "out_file", node, "in_files")
    return node


def _connect_sinks(
    workflow: pe.Workflow, glm: pe.Node, names: list[dict[str, str]], output_dir: Path,
    rules: TrialRules,
) -> list[pe.Node]:
    """Connect responses, trials, mask and maps of the single-trial GLM to their sinks."""
    betaseries = _sinks("betaseries", output_dir, name="sink_betaseries")
    betaseries.inputs.entities = names
    trials = _sinks("trials", output_dir, name="sink_trials")
    trials.inputs.entities = names
    trials.inputs.metadata = [_column_descriptions(rules)] * len(names)
    statmaps = _sinks("statmap", output_dir, name="sink_statmaps")
    mask = pe.Node(
        DerivativesSink(
            output_dir=str(output_dir), key="glm_mask", entities=_shared(names),
            metadata={
                "Type": "Brain", "SkullStripped": True,
                "Description": "Voxels of the brain mask that vary in all runs.",
            },
        ),
        name="sink_mask", run_without_submitting=True,
    )
    workflow.connect([
        (glm, betaseries, [("betaseries", "in_file"), ("betaseries_metadata", "metadata")]),
        (glm, trials, [("trials", "in_file")]),
        (glm, mask, [("glm_mask", "in_file")]),
        (glm, statmaps, _MAP_FIELDS),
    ])
    return [betaseries, trials, mask, statmaps]


_GLM_INPUTS = [
    ("bold_files", "bold_files"), ("confounds_files", "confounds_files"),
    ("trials_files", "trials_files"), ("start_times", "start_time"),
]
_MAP_FIELDS = [
    ("statmaps", "in_file"), ("statmaps_entities", "entities"), ("statmaps_metadata", "metadata"),
]


def start_time(run: BoldRun) -> float:
    """Return the time within a volume that the data of a run refer to.

    Parameters
    ----------
    run : BoldRun

    Returns
    -------
    float
        ``StartTime`` of the sidecar without whole repetition times, which are volumes cut off
        (:mod:`bids_decoder.bids.raw_runs`); where slices were shifted but it is absent,
        ``SliceTimingReference`` times the repetition time, with fMRIPrep's default of one
        half; otherwise 0, the start of the volume.
    """
    metadata = run.metadata
    if metadata.get("StartTime") is not None:
        t_r, start = repetition_time(run), float(metadata["StartTime"])
        return start - whole_volumes(start, t_r) * t_r
    if metadata.get("SliceTimingCorrected"):
        return float(metadata.get("SliceTimingReference", 0.5)) * repetition_time(run)
    return 0.0


def repetition_time(run: BoldRun) -> float:
    """Return the repetition time in seconds.

    Raises
    ------
    MissingInputError
        When neither sidecar nor header has it.
    """
    t_r = run.sidecar_t_r or (run.bold_file and run.t_r(read_header(run.bold_file)))
    if not t_r:
        raise MissingInputError(
            f"sub-{run.subject} {run.run_group}", "no RepetitionTime in sidecar or header",
            "add RepetitionTime (seconds) to the sidecar",
        )
    return float(t_r)


def _glm_node(
    interface: Any, participant: Participant, settings: Settings,
    names: list[dict[str, str]], name: str, mem_gb: float,
) -> pe.Node:
    interface.inputs.settings = dataclasses.asdict(settings.glm)
    interface.inputs.t_r = [repetition_time(run) for run in participant.runs]
    interface.inputs.map_entities = _shared(names)
    n_procs = max(settings.resources.omp_nthreads, 1)
    return pe.Node(interface, name=name, mem_gb=mem_gb, n_procs=n_procs)


def _sinks(key: str, output_dir: Path, *, name: str) -> pe.MapNode:
    sink = DerivativesSink(output_dir=str(output_dir), key=key)
    return pe.MapNode(
        sink, iterfield=["in_file", "entities", "metadata"], name=name, run_without_submitting=True,
    )


def series_gb(participant: Participant, space: OutputSpace) -> float:
    """Estimate the memory of a step that reads one run after the other, in GB."""
    files = [run.bold_file for run in participant.runs if run.bold_file is not None]
    if not files:
        return BASE_GB
    n_volumes = max(read_header(path).n_volumes for path in files)
    largest = 4.0 * n_grid_voxels(participant, space) * n_volumes
    return BASE_GB + COPIES * largest / BYTES_PER_GB


def _entities(run: BoldRun, space: OutputSpace) -> dict[str, str]:
    given = {**run.name_entities, **space.entities}
    return {key: value for key, value in given.items() if value is not None}


def _shared(names: list[dict[str, str]]) -> dict[str, str]:
    """Return the entities that all runs share, for file names of the participant."""
    first = names[0]
    return {k: v for k, v in first.items() if all(other.get(k) == v for other in names)}


def _column_descriptions(rules: TrialRules) -> dict[str, dict[str, str]]:
    columns = trial_columns("value" if decodes_values(rules) else "other")
    return {column: {"Description": text} for column, text in columns.items()}
