"""Self-contained HTML pages, made from results on disk."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import resources
from pathlib import Path

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from bids_decoder.bids.names import derivative_path
from bids_decoder.errors import MissingInputError
from bids_decoder.files import write_bytes, write_text
from bids_decoder.reports.blocks import Section
from bids_decoder.reports.group import (
    group_learning,
    group_summary,
    people_section,
    pretraining_section,
)
from bids_decoder.reports.results import Results, participants
from bids_decoder.reports.sections_data import (
    inputs_section,
    preprocessing_section,
    responses_section,
    split_section,
)
from bids_decoder.reports.sections_decoding import (
    decoding_section,
    learning_section,
    relevance_section,
    summary_section,
    troi_section,
)
from bids_decoder.reports.sections_encoding import encoding_section, group_encoding
from bids_decoder.reports.sections_overlap import overlap_section
from bids_decoder.reports.sections_pictures import reconstruction_section
from bids_decoder.reports.sections_run import (
    about_section,
    decisions_section,
    errors_section,
    methods_section,
    report_path,
    timings_section,
)
from bids_decoder.reports.subjects import has_subjects, subject_sections


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
        ``OUT/sub-<label>.html``; figures also lie in ``OUT/sub-<label>/figures``.

    Raises
    ------
    MissingInputError
        When the participant has no folder among the derivatives.
    """
    results = Results(output_dir, participant)
    if not results.folder.is_dir():
        raise MissingInputError(
            f"report of participant {participant}",
            f"{results.folder} does not exist",
            "run the participant level for this participant first",
        )
    relevance = relevance_section(results)
    sections = [
        summary_section(results),
        inputs_section(results),
        preprocessing_section(results),
        responses_section(results),
        troi_section(results),
        learning_section(results),
        decoding_section(results, stimuli_dir),
        *reconstruction_section(results),
        *encoding_section(results),
        *([] if relevance is None else [relevance]),
        split_section(results),
        overlap_section(results),
        decisions_section(results),
        methods_section(results, [participant]),
        timings_section(results),
        about_section(results),
        errors_section(results),
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
        ``OUT/group.html``; figures also lie in ``OUT/group/figures``.
    """
    results = Results(output_dir)
    if has_subjects(results):
        about = subject_sections(results)
    else:
        about = [
            group_summary(results), pretraining_section(results), group_learning(results),
            people_section(results),
        ]
    sections = [
        *about,
        *group_encoding(results),
        decisions_section(results),
        methods_section(results, participants(output_dir)),
        timings_section(results),
        about_section(results),
        errors_section(results),
    ]
    _write_figures(results, sections)
    return _write_page(results, "Group", "Pretraining and decoding over participants", sections)


def _write_figures(results: Results, sections: Sequence[Section]) -> None:
    for picture in (p for section in sections for p in section.pictures):
        key = f"figure_{picture.kind}" if results.participant else f"group_figure_{picture.kind}"
        path = derivative_path(results.output_dir, key, sub=results.participant, desc=picture.name)
        write_bytes(path, picture.content)


def _write_page(results: Results, title: str, subtitle: str, sections: Sequence[Section]) -> Path:
    folder = resources.files("bids_decoder") / "data" / "report"
    environment = Environment(
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    template = environment.from_string((folder / "report.html.j2").read_text(encoding="utf-8"))
    css = (folder / "report.css").read_text(encoding="utf-8")
    page = template.render(
        title=f"{title} · bids_decoder",
        subtitle=subtitle,
        css=Markup(css),
        sections=sections,
    )
    return write_text(report_path(results.output_dir, results.participant), page)
