"""A page as one file: sections in the template, with style and scripts inside."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib import resources

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from bids_decoder.reports.blocks import Section
from bids_decoder.reports.packed import MapForViewer, Packed, fitting

PAGE_BYTES = 6_000_000
"""Size of a page up to which maps are put into it."""


def render_page(title: str, subtitle: str, sections: Sequence[Section]) -> str:
    """Return the HTML of a page that loads nothing.

    Parameters
    ----------
    title, subtitle : str
    sections : sequence of Section
        Text in them is escaped; only ``Markup`` is not. Their maps can be explored in
        viewers as long as the page has at most :data:`PAGE_BYTES`.
    """
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    template = environment.from_string(_read("report.html.j2"))

    def render(
        maps: Mapping[str, MapForViewer], shared: Sequence[Packed], left_out: Sequence[str]
    ) -> str:
        viewers = sorted({found.viewer for found in maps.values()})
        names = ["report", *(["maps", *viewers] if viewers else [])]
        scripts = "".join(_read(f"{name}.js") for name in names)
        return template.render(
            title=f"{title} · bids_decoder", subtitle=subtitle, sections=sections,
            css=Markup(_read("report.css")), script=Markup(scripts),
            maps=maps, shared=shared, left_out=left_out,
        )

    plain = render({}, [], [])
    pictures = [picture for section in sections for picture in section.pictures]
    maps = {p.name: p.explorable for p in pictures if p.explorable is not None}
    return render(*fitting(maps, PAGE_BYTES - len(plain))) if maps else plain


def _read(name: str) -> str:
    folder = resources.files("bids_decoder") / "data" / "report"
    return (folder / name).read_text(encoding="utf-8")
