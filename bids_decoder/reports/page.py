"""A page as one file: sections in the template, with style and scripts inside."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib import resources

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from bids_decoder.reports.blocks import Section
from bids_decoder.reports.volumes import MapVolume, Packed, fitting

PAGE_BYTES = 6_000_000
"""Size of a page up to which volumes are put into it."""


def render_page(title: str, subtitle: str, sections: Sequence[Section]) -> str:
    """Return the HTML of a page that loads nothing.

    Parameters
    ----------
    title, subtitle : str
    sections : sequence of Section
        Text in them is escaped; only ``Markup`` is not. Their maps can be explored in a slice
        viewer as long as the page has at most :data:`PAGE_BYTES`.
    """
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    template = environment.from_string(_read("report.html.j2"))

    def render(
        volumes: Mapping[str, MapVolume], grounds: Sequence[Packed], left_out: Sequence[str]
    ) -> str:
        scripts = ["report.js", *(["slices.js"] if volumes else [])]
        return template.render(
            title=f"{title} · bids_decoder", subtitle=subtitle, sections=sections,
            css=Markup(_read("report.css")), script=Markup("".join(map(_read, scripts))),
            volumes=volumes, grounds=grounds, left_out=left_out,
        )

    plain = render({}, [], [])
    pictures = [picture for section in sections for picture in section.pictures]
    volumes = {p.name: p.volume for p in pictures if p.volume is not None}
    return render(*fitting(volumes, PAGE_BYTES - len(plain))) if volumes else plain


def _read(name: str) -> str:
    folder = resources.files("bids_decoder") / "data" / "report"
    return (folder / name).read_text(encoding="utf-8")
