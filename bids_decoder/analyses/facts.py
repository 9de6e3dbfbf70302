"""What was really done, told by the files that it left."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from bids_decoder.analyses.base import Steps
from bids_decoder.analyses.registry import analyses
from bids_decoder.reports.results import Results, participants


def collect_facts(output_dir: Path, labels: Iterable[str] | None = None) -> dict[str, Any]:
    """Find the steps that were run, with what their texts need to know.

    Parameters
    ----------
    output_dir : Path
        Top of the derivatives.
    labels : iterable of str or None
        Participants to speak of; None means all.

    Returns
    -------
    dict
        ``{"steps": {step: {name: value}}, "headings": {heading: (step, ...)}, "passages": {step:
        text}}`` for :func:`bids_decoder.reports.boilerplate.render_methods`.
    """
    people = [
        Results(output_dir, p) for p in (participants(output_dir) if labels is None else labels)
    ]
    dataset = Results(output_dir)
    steps: Steps = {"overview": {"version": _version(dataset)}, "software": {}}
    for analysis in analyses():
        for results in people:
            _merge(steps, analysis.steps(results))
        steps |= analysis.group_steps(dataset)
    passages = {name: text for a in analyses() for name, text in a.passages.items()}
    return {"steps": steps, "headings": collect_headings(), "passages": passages}


def collect_headings() -> dict[str, tuple[str, ...]]:
    """Return the names of all methods texts in the order of the text, by heading."""
    headings: dict[str, tuple[str, ...]] = {"Software": ("overview",)}
    for analysis in analyses():
        for heading, names in analysis.texts.items():
            headings[heading] = headings.get(heading, ()) + names
    return {**headings, "Libraries": ("software",)}


def _merge(steps: Steps, more: Steps) -> None:
    """Add the steps of one more participant; numbers that differ become ranges."""
    for step, values in more.items():
        known = steps.setdefault(step, {})
        for name, value in values.items():
            known[name] = _range(known[name], value) if name in known else value


def _range(first: Any, second: Any) -> Any:
    if first == second or not isinstance(second, int):
        return second
    ends = (*(first if isinstance(first, tuple) else (first,)), second)
    return (min(ends), max(ends))


def _version(results: Results) -> str:
    return (
        str(results.runs[-1].record.get("version", ""))
        if results.runs
        else "(version not recorded)"
    )
