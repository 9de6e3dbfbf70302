"""The page of the group in a real browser: the forest plot by mouse and by keyboard."""

import pytest
from report_tree import Tree

from bids_decoder.analyses.assemble import build_group_report
from bids_decoder.analyses.population.interfaces import SummarisePeople
from bids_decoder.markers import StageKey, write_marker

PEOPLE = ("01", "02", "03")
HIGHLIGHT = "rgb(179, 38, 30)"


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    tree = Tree(tmp_path_factory.mktemp("group"), people=PEOPLE, images=False).write()
    for number, label in enumerate(PEOPLE):
        tree.write_metrics(label, decoder=0.4 + 0.1 * number)
        write_marker(tree.out, StageKey("decode", f"sub-{label}", {"made": "once"}),
                     [tree.path("metrics", sub=label)])
    SummarisePeople(output_dir=str(tree.out), people=list(PEOPLE), columns=[], seed=1).run()
    return build_group_report(tree.out).as_uri()


def forest(page):
    return page.locator("figure[data-name=forestdecoder]")


def said(page):
    return forest(page).locator(".said").inner_text().replace("\N{NO-BREAK SPACE}", " ")


@pytest.mark.parametrize(("width", "scheme"), [(1200, "light"), (360, "dark")])
def test_page_is_accessible_and_fits(open_page, violations, width, scheme):
    page = open_page(width, scheme)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    forest(page).locator("svg.marks").focus()
    page.keyboard.press("ArrowRight")
    assert said(page).startswith("sub-01: ")
    assert violations(page) == []


def stroke(mark):
    """Colour of the outline of the last shape of a mark."""
    return mark.locator("> :last-child").evaluate("(shape) => getComputedStyle(shape).stroke")


def test_each_line_of_the_forest_plot_is_told_under_the_mouse(open_page):
    page = open_page()
    assert "Point at a line" in said(page)
    marks = forest(page).locator("[data-said]")
    told = [mark.get_attribute("data-said") for mark in marks.all()]
    assert [text.split(":")[0] for text in told[:3]] == ["sub-01", "sub-02", "sub-03"]
    assert told[3].startswith("mean, ") and told[-1].startswith("one more participant: ")
    plain = stroke(marks.last)
    for mark, text in zip(marks.all(), told, strict=True):
        mark.hover()
        assert said(page) == text.replace("\N{NO-BREAK SPACE}", " ")
        assert stroke(mark) == HIGHLIGHT
    page.mouse.move(0, 0)
    assert stroke(marks.last) == plain != HIGHLIGHT


def test_the_forest_plot_is_read_by_arrow_keys(open_page):
    page = open_page()
    drawing = forest(page).locator("svg.marks")
    marks = forest(page).locator("[data-said]").all()
    drawing.focus()
    assert drawing.evaluate("(node) => node === document.activeElement")
    seen = []
    for key in ("ArrowDown", "ArrowRight", "ArrowUp", "ArrowUp"):
        page.keyboard.press(key)
        seen.append(said(page).split(":")[0])
    assert seen == ["sub-01", "sub-02", "sub-01", "sub-01"]
    assert [stroke(mark) == HIGHLIGHT for mark in marks] == [True] + [False] * (len(marks) - 1)
