"""Self-contained HTML pages, made from results on disk."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from markupsafe import Markup

from bids_decoder.analyses.facts import collect_facts
from bids_decoder.analyses.registry import analyses
from bids_decoder.analyses.verdicts import verdict_of
from bids_decoder.bids.names import derivative_path
from bids_decoder.errors import MissingInputError
from bids_decoder.files import write_bytes, write_json, write_text
from bids_decoder.reports.blocks import Block, Html, Links, Section, Text
from bids_decoder.reports.boilerplate import methods_html
from bids_decoder.reports.numbers import files_section, report_numbers
from bids_decoder.reports.page import render_page
from bids_decoder.reports.results import Results, participants
from bids_decoder.reports.sections_run import (
    about_section,
    decisions_section,
    errors_section,
    report_path,
    timings_section,
)


def build_participant_report(
    output_dir: Path, participant: str, *, stimuli_dir: Path | None = None
) -> Path:
    """Write the page of one participant and its figures.

    Parameters
    ----------
    output_dir : Path
        Top of the derivatives; everything the page says is read from there.
    participant : str
        Label without ``sub-``.
    stimuli_dir : Path or None
        Folder with the stimulus images by id; without it, ids are shown.

    Returns
    -------
    Path
        ``OUT/sub-<label>.html``; figures are also in ``OUT/sub-<label>/figures``, and numbers in
        ``OUT/sub-<label>_report.json``.

    Raises
    ------
    MissingInputError
        When the participant has no folder in the derivatives.
    """
    results = Results(output_dir, participant, stimuli_dir)
    if not results.folder.is_dir():
        raise MissingInputError(
            f"report of participant {participant}", f"{results.folder} does not exist",
            "run the participant level for this participant first",
        )
    sections = [
        summary_section(results),
        *(section for analysis in analyses() for section in analysis.sections(results)),
        *_run_sections(results, [participant]),
    ]
    _write_figures(results, sections)
    return _write_page(
        results, f"sub-{participant}", "Decoding report of one participant", sections
    )


def build_group_report(output_dir: Path) -> Path:
    """Write the page of the group and its figures.

    Parameters
    ----------
    output_dir : Path
        Top of the derivatives. Pages of participants that exist are linked, so make them first.

    Returns
    -------
    Path
        ``OUT/group.html``; figures are also in ``OUT/group/figures``, and numbers in
        ``OUT/group_report.json``.
    """
    results = Results(output_dir)
    sections = [
        Section("summary", "Summary", _group_summary(results)),
        *(section for analysis in analyses() for section in analysis.group_sections(results)),
        *_run_sections(results, participants(output_dir)),
    ]
    _write_figures(results, sections)
    return _write_page(results, "Group", "Pretraining and decoding over participants", sections)


def summary_section(results: Results) -> Section:
    """Return the section with the headline results of a participant and their limits."""
    found = verdict_of(results)
    box = [found] if found.answers or found.worries else []
    blocks = [block for analysis in analyses() for block in analysis.summary(results)]
    return Section("summary", "Summary", [*box, *blocks])


def _group_summary(results: Results) -> list[Block]:
    blocks = [block for analysis in analyses() for block in analysis.group_summary(results)]
    if not blocks:
        blocks = [Text("No participant was decoded yet in this output folder.", "warn")]
    pages = {
        label: report_path(results.output_dir, label)
        for label in participants(results.output_dir)
    }
    links = [(page.name, f"sub-{label}") for label, page in pages.items() if page.exists()]
    return [*blocks, Links(links)] if links else blocks


def _run_sections(results: Results, labels: Sequence[str]) -> list[Section]:
    """Return the sections at the end of every page."""
    return [
        decisions_section(results), methods_section(results, labels), timings_section(results),
        about_section(results), errors_section(results),
    ]


def methods_section(results: Results, labels: Sequence[str]) -> Section:
    """Return the methods text for a paper."""
    facts = collect_facts(results.output_dir, labels)
    note = Text(
        "This text describes only what was done. It is in the public domain (CC0): copy it."
    )
    return Section("methods", "Methods text", [note, Html(Markup(methods_html(facts)))])


def _write_figures(results: Results, sections: Sequence[Section]) -> None:
    for picture in (p for section in sections for p in section.pictures):
        key = f"figure_{picture.kind}" if results.participant else f"group_figure_{picture.kind}"
        path = derivative_path(results.output_dir, key, sub=results.participant, desc=picture.name)
        write_bytes(path, picture.content)


def _write_page(results: Results, title: str, subtitle: str, sections: Sequence[Section]) -> Path:
    path = report_path(results.output_dir, results.participant)
    numbers = path.with_name(f"{path.stem}_report.json")
    sections = [*sections, files_section(results, numbers)]
    write_json(numbers, report_numbers(title, results, sections))
    return write_text(path, render_page(title, subtitle, sections))
