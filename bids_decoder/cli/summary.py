"""Summarise plan and results in a few lines for the terminal."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from bids_decoder.analyses.registry import analyses
from bids_decoder.errors import name_some
from bids_decoder.reports.results import Results

if TYPE_CHECKING:
    from bids_decoder.cli.engine import Failure
    from bids_decoder.cli.plan import Plan, Step

MOST_LISTED = 10
"""Participants whose steps, results and reports are listed on the screen."""

MOST_KINDS = 20
"""Kinds of steps that are listed on the screen."""


def plan_lines(plan: Plan, seconds: float) -> list[str]:
    """Return the lines that show data, split, finished and missing stages.

    Parameters
    ----------
    plan : Plan
    seconds : float
        Time that planning took.
    """
    resources = plan.study.settings.resources
    dataset = plan.study.dataset
    lines = [
        f"dataset: {dataset.name} ({dataset.source}), "
        f"{len(dataset.participants)} participant(s); planned in {seconds:.1f} s",
        f"resources: {resources.nprocs} process(es), {resources.mem_gb:.1f} GB, "
        f"device {plan.study.device}",
    ]
    lines += [f"{d.what}: {d.value} ({d.reason})" for d in plan.decisions]
    return [*lines, "plan:", *step_lines(plan.steps)]


def step_lines(steps: Sequence[Step]) -> list[str]:
    """Return one line for each step; participants with the same steps share a line.

    Parameters
    ----------
    steps : sequence of Step
    """
    units = {step.unit for step in steps}
    if len(units) <= MOST_LISTED:
        return [_step_line(step.unit, step) for step in steps]
    same: dict[tuple[str, bool, str], list[Step]] = {}
    for step in steps:
        same.setdefault((step.stage, step.todo, step.why), []).append(step)
    kinds = list(same.values())
    lines = [
        _step_line(name_some([step.unit for step in kind]), kind[0])
        for kind in kinds[:MOST_KINDS]
    ]
    left = sum(len(kind) for kind in kinds[MOST_KINDS:])
    return [*lines, f"  and {left} other step(s)"] if left else lines


def _step_line(who: str, step: Step) -> str:
    return f"  {who:<12} {step.stage:<12} {'to do' if step.todo else 'skip ':<6} {step.why}"


def failure_lines(failures: Sequence[Failure]) -> list[str]:
    """Return one entry for each cause of failure, with the nodes that failed.

    Parameters
    ----------
    failures : sequence of Failure
    """
    causes: dict[str, list[Failure]] = {}
    for failure in failures:
        causes.setdefault(_cause(failure.message), []).append(failure)
    lines = []
    for same in causes.values():
        first = same[0]
        where = f" (details: {first.crash_file})" if first.crash_file else ""
        nodes = name_some([failure.node for failure in same])
        lines.append(f"failed: {nodes}\n{first.message}{where}")
    return lines


def _cause(message: str) -> str:
    """Return a message without the names of runs, participants and files."""
    return re.sub(r"\S*/\S+|\b(sub|ses|task|run|acq|dir)-[0-9A-Za-z+]+", "", message)


def report_lines(pages: Sequence[Path]) -> list[str]:
    """Return the paths of the reports, or the first ones and the number of the others."""
    if len(pages) <= MOST_LISTED:
        return [f"report: {page}" for page in pages]
    # The last one is that of the group, if there is one.
    shown = [*pages[: MOST_LISTED - 1], pages[-1]]
    return [*(f"report: {page}" for page in shown),
            f"report: and {len(pages) - MOST_LISTED:,} more in {pages[0].parent}"]


def headlines(output_dir: Path, labels: Sequence[str], bids_dir: Path) -> list[str]:
    """Return the main results of the first participants, and the location of those of the others.

    Parameters
    ----------
    output_dir : Path
    labels : sequence of str
    bids_dir : Path
    """
    shown = labels[:MOST_LISTED]
    lines = [line for label in shown for line in headline(output_dir, label, bids_dir)]
    if len(labels) > MOST_LISTED:
        lines.append(f"results of {len(labels) - MOST_LISTED:,} more: {output_dir}/sub-*.html")
    return lines


def headline(output_dir: Path, label: str, bids_dir: Path) -> list[str]:
    """Return the main result of a participant, and the overlap with a known truth if there is one.

    Parameters
    ----------
    output_dir : Path
    label : str
    bids_dir : Path
        A simulated dataset keeps its truth below ``derivatives/truth``.
    """
    results = Results(output_dir, label)
    lines = [line for analysis in analyses() for line in analysis.lines(results)]
    return lines + _overlap_with_truth(results, bids_dir)


def _overlap_with_truth(results: Results, bids_dir: Path) -> list[str]:
    label = results.participant
    folder = bids_dir / "derivatives" / "truth" / f"sub-{label}"
    truths = sorted(folder.glob("func/*_mask.nii.gz"))
    masks = results.files("troi_mask")
    if not truths or not masks:
        return []
    import nibabel as nib
    import numpy as np

    from bids_decoder.evaluation.statistics import dice

    truth = np.asarray(nib.load(truths[0]).dataobj) > 0
    found = np.asarray(nib.load(masks[0]).dataobj) > 0
    if found.shape != truth.shape:
        # Decoded in another space than the truth is known in.
        return []
    return [f"sub-{label}: Dice of the selected voxels with the truth = {dice(found, truth):.3f} "
            f"({int(found.sum())} selected, {int(truth.sum())} true)"]
