"""Pages in a real browser: no error, no overflow, accessible, and usable by keyboard."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from bids_decoder.analyses.decode.report_trials import trial_blocks
from bids_decoder.bids.names import derivative_path
from bids_decoder.bids.writer import save_nifti
from bids_decoder.reports.blocks import (
    Answer,
    Figure,
    Headline,
    Links,
    Section,
    Table,
    Text,
    Worry,
)
from bids_decoder.reports.drawings import confusion_figure, timeline_drawing
from bids_decoder.reports.drawings_people import people_drawing
from bids_decoder.reports.figures import new_figure, picture
from bids_decoder.reports.figures_maps import map_picture, troi_pictures
from bids_decoder.reports.meshes import Hemisphere
from bids_decoder.reports.packed import Look
from bids_decoder.reports.page import render_page
from bids_decoder.reports.results import Results
from bids_decoder.reports.surfaces import surface_picture
from bids_decoder.reports.verdict import with_worries

LABELS = ["cat", "dog", "house; old"]
PEAK = (9, 4, 7)
PEOPLE = pd.DataFrame({"participant": ["03", "04"], "value": [0.4, 0.5], "ci_low": [0.3, np.nan],
                       "ci_high": [0.5, np.nan]})


def predictions():
    shown = np.array(LABELS * 8)
    decoded = shown.copy()
    decoded[[0, 3, 6, 9]] = "dog"
    decoded[[1, 4]] = "cat"
    return pd.DataFrame({
        "run_group": "run-1", "trial": np.arange(24).astype(str), "stimulus": shown,
        "label": shown, "predicted_label": decoded, "correct": shown == decoded,
        "displacement": np.linspace(0.05, 0.9, 24), "run": "run-1",
        "onset": 4.0 * np.arange(24), "said": [f"trial {n}" for n in range(24)],
    })


def maps(folder):
    """Return two maps on one background and a mask, all in an output folder of their own."""
    shape, affine = (16, 18, 12), np.diag([4.0, 4.0, 4.0, 1.0])
    affine[:3, 3] = [-30, -34, -22]
    at = {"sub": "01", "task": "see"}
    brain = np.zeros(shape)
    brain[2:-2, 2:-2, 2:-2] = 1
    save_nifti(derivative_path(folder, "boldref", **at), 100 * brain, affine)
    signed = 0.1 * brain
    signed[2:4] *= 16
    signed[4:9] *= 8
    signed[PEAK], signed[5, 5, 5] = 3.0, -2.0
    drawn = []
    for stat, values, is_signed in (("t", signed, True), ("troi", np.abs(signed), False)):
        path = derivative_path(folder, "statmap", **at, stat=stat)
        save_nifti(path, values, affine)
        drawn += map_picture(path, Results(folder, "01"), f"map{stat}", f"Map of {stat}",
                             signed=is_signed)
    save_nifti(derivative_path(folder, "troi_mask", **at), np.abs(signed) > 1.7, affine)
    drawn += troi_pictures(Results(folder, "01"))[:1]
    return Section("maps", "Maps", [Figure(picture) for picture in drawn])


def ball(offset):
    """Return the points and triangles of an octahedron that is refined three times."""
    points = [(1, 0, 0), (0, 1, 0), (0, 0, 1), (-1, 0, 0), (0, -1, 0), (0, 0, -1)]
    triangles = [(0, 1, 2), (1, 3, 2), (3, 4, 2), (4, 0, 2)]
    triangles += [(b, a, 5) for a, b, _ in triangles]
    points = [np.array(point, float) for point in points]
    for _ in range(3):
        finer = []
        for corners in triangles:
            a, b, c = (points[corner] for corner in corners)
            points += [middle / np.linalg.norm(middle) for middle in (a + b, b + c, c + a)]
            new = range(len(points) - 3, len(points))
            finer += [(corners[0], new[0], new[2]), (new[0], corners[1], new[1]),
                      (new[2], new[1], corners[2]), tuple(new)]
        triangles = finer
    return 40 * np.array(points) + [offset, 0, 0], np.array(triangles)


def surfaces():
    """Return a map that is largest at the medial end of the left hemisphere."""
    halves = []
    for offset in (-50, 50):
        points, triangles = ball(offset)
        values = np.where(np.abs(points[:, 0]) < 20, 2.0, 0) * (offset < 0)
        values[points[:, 0] > 80] = -1.0
        values[0] *= 1.5
        halves.append(Hemisphere((points, triangles), values.astype(np.float32)))
    look = Look("A map", "signed", 2.0, 0.5)
    drawn = surface_picture(halves, look, "surface", "Surfaces.", "Two.")
    return Section("surfaces", "Surfaces", [Figure(drawn)])


def sections(stimuli):
    table = predictions()
    axes = (plain := new_figure(5, 2)).subplots()
    axes.plot([0, 1], [0, 1])
    timeline = timeline_drawing({"run-1": np.full(50, 0.1)}, table, {"run-1": 2.0}, 0.5)
    answer = Answer("Can it be decoded?", "yes", "91.7 % (chance 33.3 %).", ["p = 0.001."])
    return [
        Section("summary", "Summary", [
            with_worries([answer], [Worry("Few trials.", "decoding")]),
            Headline("91.7 %", "balanced accuracy", [("chance", "33.3 %")]),
            Text("Good.", "good"), Text("Careful.", "warn"), Text("Broken.", "bad"),
        ]),
        Section("decoding", "Decoding", [
            Table(["model", "value"], [["a", "9.5 %"], ["b", "n/a"], ["c", "1,200 %"]], "Models",
                  frozenset({"value"})),
            confusion_figure(table["label"], table["predicted_label"], "confusion", "Labels.",
                             "Confusion matrix."),
            *trial_blocks(table, stimuli),
            Figure(picture(plain, "plain", "A line.", "A rising line.")),
            Figure(picture(plain, "motion", "Motion.", "Motion."), timeline),
            Table(["participant", "value"], [[f"sub-{n:02}", str(n)] for n in range(14)],
                  "People", key="people"),
            Figure(picture(plain, "people", "People.", "People."),
                   people_drawing({"decoder": PEOPLE, "ridge": PEOPLE}, "Top 1", "top1", 0.1)),
            Table([f"a rather long column {n}" for n in range(12)], [["1"] * 12], "Wide"),
            Links([("group.html", "All participants")]),
        ]),
        maps(stimuli / "out"),
        surfaces(),
    ]


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    folder = tmp_path_factory.mktemp("page")
    for name in LABELS:
        Image.new("RGB", (64, 64), (200, 80, 30)).save(folder / f"{name}.png")
    path = folder / "page.html"
    path.write_text(render_page("sub-01", "Made up", sections(folder)), encoding="utf-8")
    return path.as_uri()


def column(page, number):
    rows = page.locator("#trials-table tbody tr:visible")
    return [text.strip() for text in rows.locator(f":nth-child({number})").all_inner_texts()]


@pytest.mark.parametrize(("width", "scheme"), [(1200, "light"), (360, "dark")])
def test_page_is_accessible_and_fits(open_page, violations, width, scheme):
    page = open_page(width, scheme)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert violations(page) == []


def test_tables_sort_by_number_and_say_so(open_page):
    page = open_page()
    table = page.locator("table[data-name=Models]")
    button = table.locator("button.sort", has_text="value")
    cells = table.locator("tbody td")
    for order, expected in (("ascending", ["9.5 %", "1,200 %", "n/a"]),
                            ("descending", ["1,200 %", "9.5 %", "n/a"])):
        button.focus()
        page.keyboard.press("Enter")
        assert table.locator("th", has_text="value").get_attribute("aria-sort") == order
        assert cells.all_inner_texts() == expected


def test_trials_are_filtered_to_wrong_ones_and_to_a_cell_of_the_matrix(open_page):
    page = open_page()
    assert page.locator("#trials-table tbody tr:visible").count() == 24
    page.get_by_role("button", name="Wrong only").click()
    assert page.locator("#trials-table tbody tr:visible").count() == 6
    page.locator("[data-filter='shown=cat; decoded=dog']").click()
    assert page.locator("#trials-table tbody tr:visible").count() == 4
    assert page.locator(".count").first.inner_text() == "4 of 24 rows"
    page.locator("[data-filter='shown=\"house; old\"; decoded=\"house; old\"']").click()
    assert page.locator("#trials-table tbody tr:visible").count() == 8


def test_a_participant_of_the_figure_filters_the_table(open_page):
    page = open_page()
    mark = page.locator("[data-said^='sub-03, ridge']")
    assert "40.0" in mark.get_attribute("data-said")
    assert "95 % interval 30.0" in mark.get_attribute("data-said")
    assert "interval" not in page.locator("[data-said^='sub-04, ridge']").get_attribute("data-said")
    mark.click()
    assert page.locator("#people-table tbody tr:visible").count() == 1


def test_matrix_tells_counts_by_arrow_keys(open_page):
    page = open_page()
    page.locator("svg.marks").first.focus()
    page.keyboard.press("ArrowRight")
    first = page.locator(".said").first.inner_text()
    page.keyboard.press("ArrowDown")
    second = page.locator(".said").first.inner_text()
    assert first.startswith("Shown ") and second.startswith("Shown ") and first != second


def test_figures_and_tables_can_be_downloaded(open_page):
    page = open_page()
    for label, name, start in (
        ("Download as PNG: confusion", "confusion.png", b"\x89PNG"),
        ("Download as SVG: confusion", "confusion.svg", b"<svg"),
        ("Download as PNG: plain", "plain.png", b"\x89PNG"),
        ("Download as TSV: Models", "Models.tsv", b"model\tvalue\na\t9.5 %\n"),
    ):
        with page.expect_download() as download:
            page.get_by_role("button", name=label).click()
        assert download.value.suggested_filename == name
        assert download.value.path().read_bytes().startswith(start)


def test_theme_button_turns_light_into_dark(open_page):
    page = open_page()
    colour = "getComputedStyle(document.body).backgroundColor"
    before = page.evaluate(colour)
    page.get_by_role("button", name="Dark or light").click()
    assert page.evaluate(colour) != before


def viewer(page):
    page.locator(".slices .said", has_text="mm:").wait_for()
    return page.locator(".slices")


def said(page):
    return viewer(page).locator(".said").inner_text()


def test_slices_start_at_the_peak_and_move_by_keys_and_mouse(open_page):
    page = open_page()
    assert said(page) == "x = 6, y = \u221218, z = 6 mm: 3"
    axial = page.get_by_role("application", name="Axial slice")
    axial.press("ArrowLeft")
    assert said(page).startswith("x = 2, y = \u221218, z = 6 mm: ")
    axial.press("PageDown")
    assert said(page).startswith("x = 2, y = \u221218, z = 2 mm: ")
    viewer(page).get_by_role("button", name="Largest value").click()
    assert said(page) == "x = 6, y = \u221218, z = 6 mm: 3"
    axial.scroll_into_view_if_needed()
    box = axial.bounding_box()
    # Left edge in the middle: the first column of voxels, which is outside of the map.
    page.mouse.click(box["x"] + 2, box["y"] + box["height"] / 2)
    assert said(page).startswith("x = \u221230, ") and said(page).endswith("mm: no value")
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] - 2, box["y"] + 2, steps=3)
    page.mouse.up()
    assert said(page).startswith("x = 30, y = 34, ")


def test_the_threshold_hides_and_the_choice_changes_the_map(open_page):
    page = open_page()
    viewer(page)
    pixels = """() => [...document.querySelectorAll(".planes canvas")].map((canvas) => {
        const { width, height } = canvas;
        const copy = Object.assign(document.createElement("canvas"), { width, height });
        const context = copy.getContext("2d", { willReadFrequently: true });
        context.drawImage(canvas, 0, 0);
        const all = context.getImageData(0, 0, width, height).data;
        return all.filter((red, at) => at % 4 === 0 && Math.abs(red - all[at + 2]) > 20).length;
    })"""
    coloured = sum(page.evaluate(pixels))
    viewer(page).get_by_label("Threshold").fill("1")
    assert page.locator(".slices output").inner_text() != "0"
    assert 0 < sum(page.evaluate(pixels)) < coloured
    page.get_by_label("Map", exact=True).select_option("Voxels that the decoder selected")
    page.locator(".said", has_text="mm: selected").wait_for()
    assert not viewer(page).get_by_label("Threshold").is_visible()
    assert "TROI: the 2 voxels" in page.locator(".slices figcaption").inner_text()


def test_figures_of_maps_are_one_button_away_and_printed(open_page):
    page = open_page()
    viewer(page)
    figure = page.locator("figure[data-name=mapt]")
    assert not figure.is_visible()
    viewer(page).get_by_role("button", name="As figures").click()
    assert figure.is_visible()
    viewer(page).get_by_role("button", name="As figures").click()
    page.emulate_media(media="print")
    assert figure.is_visible() and not page.locator(".slices").is_visible()


def hemispheres(page):
    page.locator(".meshes .said", has_text="vertex").wait_for()
    return page.locator(".meshes")


def looks(page):
    """Return the pixels of both hemispheres, each as one text."""
    return page.evaluate("""() => [...document.querySelectorAll(".meshes canvas")]
        .map((canvas) => canvas.toDataURL())""")


def test_hemispheres_start_at_the_peak_and_turn_by_keys_mouse_and_buttons(open_page):
    page = open_page()
    found = hemispheres(page)
    assert found.locator(".said").inner_text() == "Left hemisphere, vertex 0: 3"
    start = looks(page)
    found.get_by_role("button", name="Medial").click()
    assert looks(page) == start  # the peak is on the medial side
    found.get_by_role("button", name="Lateral").click()
    assert all(now != before for now, before in zip(looks(page), start, strict=True))
    found.get_by_role("button", name="Largest value").click()
    left, right = start
    canvas = found.get_by_role("application", name="Left hemisphere")
    canvas.press("ArrowLeft")
    assert looks(page)[0] != left and looks(page)[1] == right
    canvas.press("ArrowRight")
    assert looks(page) == start
    canvas.press("+")
    assert looks(page)[0] != left
    canvas.scroll_into_view_if_needed()
    box = canvas.bounding_box()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] / 2 + 60, box["y"] + box["height"] / 2, steps=3)
    page.mouse.up()
    assert found.locator(".said").inner_text() == "Left hemisphere, vertex 0: 3"


def test_a_click_tells_the_value_of_a_vertex_and_the_threshold_hides_it(open_page):
    page = open_page()
    found = hemispheres(page)
    found.get_by_role("button", name="Lateral").click()
    canvas = found.get_by_role("application", name="Right hemisphere")
    canvas.click()
    assert found.locator(".said").inner_text() == "Right hemisphere, vertex 0: \u22121.49"
    before = looks(page)
    found.get_by_label("Threshold").fill("0.9")
    assert found.locator(".said").inner_text().endswith(": \u22121.49 (below the threshold)")
    assert looks(page)[1] != before[1]
    canvas.click(position={"x": 2, "y": 2})
    assert found.locator(".said").inner_text().startswith("Right hemisphere, vertex 0")


def test_page_can_be_read_without_scripts(browser, address):
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(address)
    assert page.locator("#trials-table tbody tr:visible").count() == 24
    assert page.locator("svg.marks rect").count() == 9
    assert page.locator("figure[data-name=mapt] img").is_visible()
    assert page.locator("button").count() == 0
    context.close()
