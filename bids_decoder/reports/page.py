"""A page as one file: sections in the template, with style and scripts inside."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import resources

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from bids_decoder.reports.blocks import Section


def render_page(title: str, subtitle: str, sections: Sequence[Section]) -> str:
    """Return the HTML of a page that loads nothing.

    Parameters
    ----------
    title, subtitle : str
    sections : sequence of Section
        Text in them is escaped; only ``Markup`` is not.
    """
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    return environment.from_string(_read("report.html.j2")).render(
        title=f"{title} · bids_decoder", subtitle=subtitle, sections=sections,
        css=Markup(_read("report.css")), script=Markup(_read("report.js")),
    )


def _read(name: str) -> str:
    folder = resources.files("bids_decoder") / "data" / "report"
    return (folder / name).read_text(encoding="utf-8")
