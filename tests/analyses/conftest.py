"""Figures of whole runs are drawn once for each place that draws."""

import sys

import pytest
from app_calls import draw_nothing

from bids_decoder.reports import figures


@pytest.fixture(scope="session")
def drawn():
    """Places in the code whose first figure was drawn."""
    return set()


@pytest.fixture(autouse=True)
def drawn_once(monkeypatch, drawn):
    """Draw the first figure of each place; drawing all takes a third of a small call."""
    real = figures.render

    def render(figure, kind="svg"):
        frame = sys._getframe(2)
        place = frame.f_code.co_filename, frame.f_lineno
        if place in drawn:
            return draw_nothing(figure, kind)
        drawn.add(place)
        return real(figure, kind)

    monkeypatch.setattr(figures, "render", render)
