"""Fixtures: a small output folder as a run leaves it, and a browser to open its pages in."""

from __future__ import annotations

import shutil

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


@pytest.fixture(scope="session")
def browser():
    sync_api = pytest.importorskip("playwright.sync_api")
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    if chromium is None:
        pytest.skip("there is no Chromium on this machine")
    with sync_api.sync_playwright() as play:
        started = play.chromium.launch(
            executable_path=chromium, args=["--no-sandbox"], timeout=120_000
        )
        yield started
        started.close()


@pytest.fixture
def open_page(browser, address):
    """Opens the page at the address that the file of tests gives; nothing may go wrong in it."""
    pages, problems = [], []

    def start(width=1200, scheme="light"):
        page = browser.new_page(viewport={"width": width, "height": 800}, color_scheme=scheme)
        page.set_default_timeout(120_000)
        page.on("console", lambda message: problems.append(message.text))
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.on("request", lambda request: problems.append(request.url)
                if not request.url.startswith(("file:", "data:", "blob:")) else None)
        page.goto(address)
        pages.append(page)
        return page

    yield start
    for page in pages:
        page.close()
    assert problems == []


@pytest.fixture(scope="session")
def violations():
    """Gives what axe finds fault with in an open page."""
    axe = pytest.importorskip("axe_playwright_python.sync_playwright")

    def find(page):
        found = axe.Axe().run(page).response["violations"]
        return [(v["id"], [node["html"][:120] for node in v["nodes"]]) for v in found]

    return find
