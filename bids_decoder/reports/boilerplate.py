"""Methods text for papers: only the steps that were run, only the references that they cite."""

from __future__ import annotations

import html
import re
import string
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any

from bids_decoder.errors import MissingInputError
from bids_decoder.files import write_text

_CITATION = re.compile(r" ?\[(@[\w-]+(?:; @[\w-]+)*)\]")
_ENTRY = re.compile(r"@(\w+)\{([\w-]+),\n(.*?)\n\}", re.DOTALL)
_FIELD = re.compile(r"^  (\w+) = \{(.*?)\},?$", re.MULTILINE)
_ACCENTS = {
    "{\\'c}": "ć",
    "{\\'e}": "é",
    "{\\'a}": "á",
    "{\\~n}": "ñ",
    '{\\"a}': "ä",
    '{\\"o}': "ö",
    '{\\"u}': "ü",
    "{\\'i}": "í",
    '{\\"e}': "ë",
    "{\\^o}": "ô",
    "{\\u{a}}": "ă",
}


@dataclass(frozen=True)
class Reference:
    """One entry of ``references.bib``.

    Parameters
    ----------
    key : str
    source : str
        The entry as it stands in the file.
    fields : dict of str to str
        Values as Unicode text without braces.
    """

    key: str
    source: str
    fields: dict[str, str]

    @property
    def short(self) -> str:
        """Authors and year, as in running text."""
        names = self._surnames()
        many = len(names) > 2 or "others" in names
        who = f"{names[0]} et al." if many else " & ".join(names)
        return f"{who} {self._year}"

    @property
    def full(self) -> str:
        """The reference as one line of a list of references."""
        field = self.fields.get
        names = [n for n in self._surnames() if n != "others"]
        who = ", ".join(names) + (" et al." if "others" in self._surnames() else "")
        where = (
            field("journal")
            or field("booktitle")
            or field("publisher")
            or field("howpublished")
            or ""
        )
        volume = field("volume", "") + (f"({field('number')})" if field("number") else "")
        pages = field("pages", "").replace("--", "–")
        place = ", ".join(
            filter(None, (where, volume + (f":{pages}" if volume and pages else pages)))
        )
        link = self.address
        return " ".join(
            filter(None, (f"{who} ({self._year}). {field('title')}.", place and f"{place}.", link))
        )

    @property
    def address(self) -> str:
        """DOI, arXiv number or address, as text."""
        if "doi" in self.fields:
            return f"doi:{self.fields['doi']}"
        return (
            f"arXiv:{self.fields['eprint']}"
            if "eprint" in self.fields
            else self.fields.get("url", "")
        )

    @property
    def _year(self) -> str:
        return self.fields.get("year", "n.d.")

    def _surnames(self) -> list[str]:
        return [name.split(",")[0] for name in self.fields["author"].split(" and ")]


@dataclass(frozen=True)
class Passage:
    """One heading with its paragraphs, facts filled in, citations still as ``[@key]``."""

    heading: str
    paragraphs: tuple[str, ...]


def sources() -> Traversable:
    """Return the folder of the text parts.

    Raises
    ------
    MissingInputError
        When the package was installed without it.
    """
    folder = resources.files("bids_decoder") / "boilerplate"
    if not (folder / "references.bib").is_file():
        raise MissingInputError(
            "the texts of the methods boilerplate", f"{folder} does not hold them",
            "install bids_decoder from a complete wheel or checkout",
        )
    return folder


@cache
def load_references() -> dict[str, Reference]:
    """Read ``references.bib``, by key."""
    text = (sources() / "references.bib").read_text(encoding="utf-8")
    found = {}
    for match in _ENTRY.finditer(text):
        fields = {name: _unicode(value) for name, value in _FIELD.findall(match[3])}
        found[match[2]] = Reference(match[2], match[0], fields)
    return found


def _unicode(value: str) -> str:
    for code, letter in _ACCENTS.items():
        value = value.replace(code, letter)
    return value.replace("{", "").replace("}", "")


def passages(facts: dict[str, Any]) -> list[Passage]:
    """Fill the text parts of the steps that were run.

    Parameters
    ----------
    facts : dict
        ``{"steps": {step: {name: value}}, "headings": {heading: (step, ...)}}``; a pair of numbers
        is a range. ``passages`` holds texts of steps that are not in ``boilerplate``. See
        :func:`bids_decoder.analyses.facts.collect_facts`.

    Raises
    ------
    ValueError
        For a step without text, or one that lacks a fact which its text needs.
    """
    steps: dict[str, dict[str, Any]] = facts["steps"]
    headings: dict[str, tuple[str, ...]] = facts["headings"]
    texts: dict[str, str] = facts.get("passages", {})
    unknown = sorted(set(steps) - {step for group in headings.values() for step in group})
    if unknown:
        raise ValueError(f"no methods text for: {', '.join(unknown)}")
    text = []
    for heading, group in headings.items():
        parts = tuple(
            _fill(step, texts.get(step) or _part(step), steps[step])
            for step in group if step in steps
        )
        if parts:
            text.append(Passage(heading, parts))
    return text


def _part(step: str) -> str:
    return (sources() / f"{step}.md").read_text(encoding="utf-8").strip()


def _fill(step: str, text: str, values: dict[str, Any]) -> str:
    needed = {name for _, name, _, _ in string.Formatter().parse(text) if name}
    if needed - set(values):
        raise ValueError(f"methods text {step!r} needs {', '.join(sorted(needed - set(values)))}")
    # Facts can come from the dataset; brackets would read as citations.
    plain = {name: _text(value).replace("[@", "[ @") for name, value in values.items()}
    return text.format(**plain)


def _text(value: Any) -> str:
    if isinstance(value, tuple):
        return " to ".join(map(_text, value))
    return f"{value:,}" if isinstance(value, int) else str(value)


def cited(text: Sequence[Passage]) -> list[Reference]:
    """Return the references that *text* cites, by key."""
    keys = {
        key.strip().removeprefix("@")
        for passage in text
        for paragraph in passage.paragraphs
        for group in _CITATION.findall(paragraph)
        for key in group.split(";")
    }
    known = load_references()
    return [known[key] for key in sorted(keys)]


def render_methods(facts: dict[str, Any]) -> str:
    """Write the methods text as Markdown.

    Parameters
    ----------
    facts : dict
        See :func:`passages`.

    Returns
    -------
    str
        Citations as ``[@key]``, understood by pandoc, and a readable list of references.

    Examples
    --------
    >>> steps = {"targets-category": {}, "glm-lss": {}}
    >>> text = render_methods({"steps": steps, "headings": {"Methods": tuple(steps)}})
    >>> "least-squares-separate model [@lss]" in text, "fMRIPrep" in text
    (True, False)
    """
    text = passages(facts)
    lines = ["# Methods"]
    for passage in text:
        lines += [f"## {passage.heading}", *passage.paragraphs]
    references = [f"* [@{r.key}] {r.full}" for r in cited(text)]
    if references:
        lines += ["## References", "\n".join(references)]
    return "\n\n".join(lines) + "\n"


def methods_html(facts: dict[str, Any]) -> str:
    """Write the methods text as an HTML fragment; every text from outside is escaped."""
    text = passages(facts)
    lines = []
    for passage in text:
        lines.append(f"<h3>{html.escape(passage.heading)}</h3>")
        lines += [f"<p>{_cite(html.escape(p), _html_citation)}</p>" for p in passage.paragraphs]
    references = cited(text)
    if references:
        lines.append('<h3>References</h3>\n<ul class="references">')
        lines += [f'<li id="ref-{r.key}">{html.escape(r.full)}</li>' for r in references]
        lines.append("</ul>")
    return "\n".join(lines) + "\n"


def _cite(text: str, form: Callable[[list[str]], str]) -> str:
    def replace(match: re.Match[str]) -> str:
        return form([key.strip().removeprefix("@") for key in match[1].split(";")])

    return _CITATION.sub(replace, text)


def _html_citation(keys: list[str]) -> str:
    known = load_references()
    links = (f'<a href="#ref-{key}">{html.escape(known[key].short)}</a>' for key in keys)
    return f" ({'; '.join(links)})"


def methods_tex(facts: dict[str, Any]) -> str:
    """Write the methods text as a LaTeX document that uses ``CITATION.bib``."""
    lines = [
        "\\documentclass{article}",
        "\\usepackage[utf8]{inputenc}",
        "\\usepackage[T1]{fontenc}",
        "\\usepackage{hyperref}",
        "\\begin{document}",
        "\\section*{Methods}",
    ]
    for passage in passages(facts):
        lines.append(f"\\subsection*{{{_tex(passage.heading)}}}")
        lines += [
            _cite(_tex(p), lambda keys: f"~\\cite{{{','.join(keys)}}}") + "\n"
            for p in passage.paragraphs
        ]
    lines += ["\\bibliographystyle{plain}", "\\bibliography{CITATION}", "\\end{document}"]
    return "\n".join(lines) + "\n"


_TEX = {
    "\\": r"\textbackslash{}",
    "&": r"\&",
    "%": r"\%",
    "$": r"\$",
    "#": r"\#",
    "_": r"\_",
    "{": r"\{",
    "}": r"\}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "“": "``",
    "”": "''",
    "−": "$-$",
    "≤": r"$\leq$",
    "≥": r"$\geq$",
}


def _tex(text: str) -> str:
    return "".join(_TEX.get(letter, letter) for letter in text)


def references_bib(facts: dict[str, Any]) -> str:
    """Write BibTeX with the cited entries only."""
    return "\n\n".join(r.source for r in cited(passages(facts))) + "\n"


_PAGE = """<!DOCTYPE html>
<html lang="en">
<head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>Methods</title>
<style>
:root {{ color-scheme: light dark; }}
body {{ max-width: 44rem; margin: 2rem auto; padding: 0 1rem; }}
body {{ font: 1rem/1.6 system-ui, sans-serif; }}
</style>
</head>
<body><main><h1>Methods</h1>
{body}</main></body>
</html>
"""


def write_citation(output_dir: Path, facts: dict[str, Any]) -> list[Path]:
    """Write ``logs/CITATION.md``, ``.html``, ``.tex`` and ``.bib``.

    A file that holds the same text already is left alone, so that jobs that run side by side
    do not disturb each other; any other is replaced whole.

    Parameters
    ----------
    output_dir : Path
        Top of the derivatives.
    facts : dict
        See :func:`passages`.

    Returns
    -------
    list of Path
    """
    contents = {
        ".md": render_methods(facts),
        ".html": _PAGE.format(body=methods_html(facts)),
        ".tex": methods_tex(facts),
        ".bib": references_bib(facts),
    }
    written = []
    for extension, text in contents.items():
        path = output_dir / "logs" / f"CITATION{extension}"
        if path.is_symlink() or not path.exists() or path.read_bytes() != text.encode("utf-8"):
            write_text(path, text)
        written.append(path)
    return written
