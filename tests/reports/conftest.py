"""Fixtures: a small output folder as a run leaves it."""

from __future__ import annotations

import pytest
from app_calls import draw_nothing
from report_tree import Tree

from bids_decoder.reports import figures


@pytest.fixture
def make_tree(tmp_path):
    """Gives a function that writes a tree below its own folder."""

    def make(name: str = "a", **options: object) -> Tree:
        return Tree(tmp_path / name, **options).write()

    return make


@pytest.fixture
def tree(make_tree) -> Tree:
    return make_tree()


@pytest.fixture
def undrawn(monkeypatch):
    """Figures are made but not drawn, for tests of what a page says."""
    monkeypatch.setattr(figures, "render", draw_nothing)
