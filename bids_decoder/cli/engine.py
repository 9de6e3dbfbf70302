"""Run the workflow: configure Nipype, choose the plugin, collect failures."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bids_decoder.config import Resources, Settings
from bids_decoder.errors import BidsDecoderError, ExitCode, UsageError
from bids_decoder.files import DISK_ERRORS

if TYPE_CHECKING:
    from bids_decoder.analyses.jobs import Job
    from bids_decoder.workflows.progress import Step, Tally
    from bids_decoder.workflows.work import Work

LOGGER = logging.getLogger("bids_decoder")


@dataclass(frozen=True)
class Outcome:
    """Result of a workflow run.

    Parameters
    ----------
    timings : list of dict
        One per node.
    steps : mapping of (stage, participant) to Tally
        What each step took.
    failures : tuple of Failure
    """

    timings: list[dict[str, Any]]
    steps: Mapping[Step, Tally]
    failures: tuple[Failure, ...] = ()


@dataclass(frozen=True)
class Failure:
    """One node that failed.

    Parameters
    ----------
    node : str
    message : str
        The last lines of its traceback: the error itself.
    crash_file : Path or None
    """

    node: str
    message: str
    crash_file: Path | None

    @property
    def disk_is_full(self) -> bool:
        """Return whether the node failed because the disk is full or broken."""
        numbers = re.findall(r"\[Errno (\d+)\]", self.message)
        return any(int(number) in DISK_ERRORS for number in numbers)


def run_workflow(work: Work, jobs: Sequence[Job], log_dir: Path) -> Outcome:
    """Build and run the workflow of a call.

    Parameters
    ----------
    work : Work
    jobs : sequence of Job
    log_dir : Path
        For crash files and the graph.

    Returns
    -------
    Outcome

    Raises
    ------
    BidsDecoderError
        When a worker process was killed.
    """
    from bids_decoder.analyses.build import init_bids_decoder_wf
    from bids_decoder.cli.monitor import watched
    from bids_decoder.workflows.progress import NodeLog, node_names

    settings = work.settings
    _configure_nipype(log_dir, settings)
    workflow = init_bids_decoder_wf(work, jobs)
    if settings.execution.write_graph:
        _write_graph(workflow, log_dir)
    node_log = NodeLog(
        node_names(workflow), are_here=settings.resources.plugin_file is None
    )
    plugin = _plugin(settings.resources, node_log)
    try:
        with watched(node_log):
            workflow.run(plugin=plugin)
    except BidsDecoderError:
        raise
    except Exception as error:
        _raise_if_killed(plugin)
        failures = _failures(log_dir, node_log.failed)
        if not failures:
            raise
        LOGGER.debug("workflow ended with: %s", error)
        return Outcome(node_log.timings, node_log.steps, failures)
    _raise_if_killed(plugin)
    return Outcome(node_log.timings, node_log.steps, _failures(log_dir, node_log.failed))


def _raise_if_killed(plugin: Any) -> None:
    from bids_decoder.workflows.plugin import WorkerPoolPlugin

    if isinstance(plugin, WorkerPoolPlugin):
        plugin.raise_if_broken()


def _configure_nipype(log_dir: Path, settings: Settings) -> None:
    from nipype import config

    config.update_config({
        "execution": {
            "crashdump_dir": str(log_dir), "crashfile_format": "txt",
            "hash_method": "timestamp", "poll_sleep_duration": 0.05, "check_version": False,
            "stop_on_first_crash": settings.execution.stop_on_first_crash,
            "remove_unnecessary_outputs": False,
        },
    })


def _plugin(resources: Resources, node_log: Any) -> Any:
    from nipype.pipeline.plugins.linear import LinearPlugin

    from bids_decoder.workflows.plugin import WorkerPoolPlugin

    if resources.plugin_file is not None:
        return _plugin_from_file(resources.plugin_file, node_log)
    if resources.nprocs == 1:
        return LinearPlugin(plugin_args={"status_callback": node_log})
    return WorkerPoolPlugin(plugin_args={
        "n_procs": resources.nprocs, "memory_gb": resources.mem_gb, "raise_insufficient": False,
        "status_callback": node_log,
    })


def _plugin_from_file(path: Path, node_log: Any) -> Any:
    from importlib import import_module

    import yaml

    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
        name, arguments = content["plugin"], dict(content.get("plugin_args") or {})
        plugin = getattr(import_module("nipype.pipeline.plugins"), f"{name}Plugin")
    except (OSError, yaml.YAMLError, KeyError, TypeError, AttributeError) as error:
        raise UsageError(
            f"--use-plugin {path}", f"names no Nipype plugin: {error}",
            "write YAML such as 'plugin: SLURM' and 'plugin_args: {sbatch_args: --mem=16G}'",
        ) from error
    # Nipype names the jobs of a cluster after it; containers and cron do not set it.
    os.environ.setdefault("LOGNAME", str(os.getuid()))
    return plugin(plugin_args={**arguments, "status_callback": node_log})


def _write_graph(workflow: Any, log_dir: Path) -> None:
    try:
        workflow.write_graph(dotfilename=str(log_dir / "graph.dot"), graph2use="colored",
                             simple_form=True)
    except OSError as error:
        raise BidsDecoderError(
            "--write-graph", f"{error}", "install graphviz, or leave the option out",
            ExitCode.FAILURE,
        ) from error


def _failures(log_dir: Path, failed: list[str]) -> tuple[Failure, ...]:
    found: dict[str, Failure] = {}
    for path in sorted(log_dir.glob("crash-*.txt")):
        text = path.read_text(encoding="utf-8", errors="replace")
        match = re.search(r"^Node: (.+)$", text, re.MULTILINE)
        node = match.group(1) if match else path.name
        found[node] = Failure(node, _last_error(text), path)
    missing = [name for name in failed if name not in found]
    return tuple(found.values()) + tuple(
        Failure(name, "no crash file was written", None) for name in missing
    )


def _last_error(text: str) -> str:
    """Return the last error of a crash file; Nipype indents the node's own traceback."""
    lines = [line for line in text.rstrip().splitlines() if line.strip()]
    error = re.compile(r"\t?([\w.]+(Error|Exception|Interrupt)\b.*)")
    starts = [number for number, line in enumerate(lines) if error.match(line)]
    lines = [line.removeprefix("\t") for line in lines]
    return "\n".join(lines[starts[-1]:][:6]) if starts else "\n".join(lines[-3:])
