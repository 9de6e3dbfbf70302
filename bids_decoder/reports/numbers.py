"""What a page says as JSON: answers, warnings, numbers and tables, with the files behind them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from markupsafe import Markup, escape

from bids_decoder.bids.names import parse_entities
from bids_decoder.reports.blocks import (
    Figure,
    Headline,
    Section,
    Table,
    Text,
    Verdict,
    absent,
)
from bids_decoder.reports.results import Results

_NUMBER = re.compile(r"([+-]?\d*\.?\d+(?:e[+-]?\d+)?) ?(%?)", re.IGNORECASE)


def report_numbers(title: str, results: Results, sections: Sequence[Section]) -> dict[str, Any]:
    """Return what a page says, as plain values.

    Parameters
    ----------
    title : str
    results : Results
    sections : sequence of Section

    Returns
    -------
    dict
        ``title``; ``verdict`` (answers and worries, or None); ``sections``, each with its notes,
        headlines, tables and figures; ``tables``, the TSV files with full precision, relative to
        the output folder. Numbers are rounded as on the page, percent are fractions.
    """
    blocks = [block for section in sections for block in section.blocks]
    verdicts = [_verdict(block) for block in blocks if isinstance(block, Verdict)]
    return {
        "title": title,
        "participant": results.participant,
        "verdict": verdicts[0] if verdicts else None,
        "sections": [_section(section) for section in sections],
        "tables": [str(path.relative_to(results.output_dir)) for path in tables_behind(results)],
    }


def tables_behind(results: Results) -> list[Path]:
    """Find the TSV files of a participant, or of the group."""
    if not results.folder.is_dir():
        return []
    return sorted(path for path in results.folder.rglob("*.tsv") if path.is_file())


def files_section(results: Results, numbers_file: Path) -> Section:
    """Return the section with links to the numbers of the page and to the tables behind it."""
    paths = tables_behind(results)
    link = Markup('<a href="{}">{}</a>')
    first = (link.format(numbers_file.name, numbers_file.name), "the numbers of this page as JSON")
    rows = [first, *(
        (link.format(name, escape(path.name)), _describe(path))
        for path in paths for name in [path.relative_to(results.output_dir).as_posix()]
    )]
    blocks = [Table(["file", "content"], rows, "Files with the numbers of this page")]
    if not paths:
        blocks = [*blocks, absent("A table", "there are no TSV files in this folder.")]
    return Section("files", "Files", blocks)


def plain_value(cell: str) -> str | float | None:
    """Return the number that a cell of a numeric column shows.

    Parameters
    ----------
    cell : str

    Returns
    -------
    str, float or None
        The text where it is not one number, None for ``n/a``.

    Examples
    --------
    >>> plain_value("45.0 %"), plain_value("1,200"), plain_value("n/a"), plain_value("a: 3")
    (0.45, 1200.0, None, 'a: 3')
    """
    text = cell.replace("\N{NO-BREAK SPACE}", " ").replace("\N{MINUS SIGN}", "-").strip()
    if text in ("n/a", ""):
        return None
    found = _NUMBER.fullmatch(re.sub(r"(?<=\d),(?=\d{3}\b)", "", text))
    if found is None:
        return text
    return round(float(found[1]) / 100, 10) if found[2] else float(found[1])


def _section(section: Section) -> dict[str, Any]:
    blocks = section.blocks
    return {
        "key": section.key, "title": section.title,
        "notes": [
            {"tone": block.tone, "text": block.text} for block in blocks if isinstance(block, Text)
        ],
        "headlines": [_headline(block) for block in blocks if isinstance(block, Headline)],
        "tables": [_table(block) for block in blocks if isinstance(block, Table)],
        "figures": [
            {"name": block.picture.name, "caption": block.picture.caption}
            for block in blocks if isinstance(block, Figure)
        ],
    }


def _verdict(verdict: Verdict) -> dict[str, Any]:
    return {
        "answers": [
            {"question": answer.question, "state": answer.state, "text": answer.text,
             "certainty": list(answer.certainty)} for answer in verdict.answers
        ],
        "worries": [
            {"text": worry.text, "section": worry.section, "tone": worry.tone,
             "invalidates": worry.invalidates} for worry in verdict.worries
        ],
    }


def _headline(headline: Headline) -> dict[str, Any]:
    return {
        "what": headline.what, "value": plain_value(headline.value),
        "against": {name: plain_value(value) for name, value in headline.against},
    }


def _table(table: Table) -> dict[str, Any]:
    header = list(table.header)
    return {
        "caption": table.caption, "columns": header,
        "rows": [
            [plain_value(_bare(cell)) if name in table.numeric else _bare(cell)
             for name, cell in zip(header, row, strict=False)]
            for row in table.rows
        ],
    }


def _bare(cell: str) -> str:
    """Return the text of a cell without its markup."""
    return cell.striptags() if isinstance(cell, Markup) else str(cell)


def _describe(path: Path) -> str:
    entities = parse_entities(path)
    kept = [f"{key}-{entities[key]}" for key in ("task", "run", "space", "desc") if key in entities]
    return f"{path.stem.rsplit('_', 1)[-1]} {' '.join(kept)}".strip()
