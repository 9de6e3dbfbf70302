"""Maps in the page: what is packed is what was there."""

from __future__ import annotations

import nibabel as nib
import numpy as np
import pytest
from report_tree import AFFINE, SHAPE

from bids_decoder.bids.names import derivative_path
from bids_decoder.bids.writer import save_nifti
from bids_decoder.reports import volumes
from bids_decoder.reports.blocks import Figure, Section
from bids_decoder.reports.figures import new_figure, picture
from bids_decoder.reports.figures_maps import map_picture, troi_pictures
from bids_decoder.reports.geometry import Underlay, underlay_for
from bids_decoder.reports.packed import Look, Packed, fitting, unpack
from bids_decoder.reports.page import render_page
from bids_decoder.reports.results import Results
from bids_decoder.reports.volumes import map_volume

PLACE = (9, 14, 5)


def values_of(volume):
    return volume.image().get_fdata()


def packed_map(data, tmp_path, look):
    results = Results(tmp_path, "01")
    image = nib.Nifti1Image(data.astype(np.float32), AFFINE)
    return map_volume(tmp_path / "sub-01_statmap.nii.gz", results, image, None, look)


@pytest.mark.parametrize("kind", ["signed", "positive"])
def test_values_and_millimetres_are_kept(tmp_path, kind):
    rng = np.random.default_rng(0)
    data = np.zeros(SHAPE)
    inner = rng.normal(size=(8, 8, 6))
    data[4:12, 8:16, 2:8] = inner if kind == "signed" else np.abs(inner)
    data[PLACE] = 7.5
    volume = packed_map(data, tmp_path, Look("A map", kind, 7.5))
    values = values_of(volume)
    peak = np.unravel_index(values.argmax(), values.shape)
    assert values[peak] == pytest.approx(7.5)
    np.testing.assert_allclose(
        np.array(volume.affine) @ [*peak, 1], (AFFINE @ [*PLACE, 1])[:3], atol=1e-4
    )
    assert volume.step == 1 and volume.values.shape == (12, 12, 10)  # two voxels around it
    inside = tuple(slice(2, 2 + n) for n in (8, 8, 6))
    largest = volume.span[1] - volume.span[0]
    np.testing.assert_allclose(values[inside], data[4:12, 8:16, 2:8], atol=largest / 254 / 2 + 1e-6)


@pytest.mark.parametrize("kind", ["signed", "positive"])
def test_an_outlier_does_not_coarsen_the_other_values(tmp_path, kind):
    data = np.zeros(SHAPE)
    data[4:12, 8, 2] = np.linspace(0.3, 1, 8)
    data[PLACE] = 1000.0
    data[9, 14, 6] = 5.0
    volume = packed_map(data, tmp_path, Look("A map", kind, 1.0))
    values = values_of(volume)
    assert values.max() == pytest.approx(2.0) and volume.clipped
    np.testing.assert_allclose(
        np.array(volume.affine) @ [*volume.peak, 1], (AFFINE @ [*PLACE, 1])[:3], atol=1e-4
    )
    found = np.sort(values[values != 0])[:-2]
    np.testing.assert_allclose(found, np.linspace(0.3, 1, 8), atol=0.01)


def test_the_viewer_starts_in_the_middle_of_a_mask(tmp_path):
    data = np.zeros(SHAPE)
    data[4:9, 8:11, 2:5] = 1
    volume = packed_map(data, tmp_path, Look("A mask", "mask"))
    assert volume.peak == (4, 3, 3) and not volume.clipped  # two voxels around it


def test_values_that_are_not_finite_have_no_value(tmp_path):
    data = np.zeros(SHAPE)
    data[PLACE], data[9, 14, 6], data[9, 14, 4] = 1.0, np.nan, np.inf
    assert (values_of(packed_map(data, tmp_path, Look("A map", "positive"))) != 0).sum() == 1


def test_large_maps_are_thinned_and_say_so(tmp_path, monkeypatch):
    data = np.random.default_rng(0).random(SHAPE) + 0.1
    monkeypatch.setattr(volumes, "MOST_BYTES", 1200)
    volume = packed_map(data, tmp_path, Look("A map", "positive"))
    assert volume.step == 2 and len(volume.values.text) <= 1200
    np.testing.assert_allclose(values_of(volume), data[::2, ::2, ::2], atol=0.01)
    np.testing.assert_allclose(
        np.array(volume.affine) @ [3, 4, 2, 1], (AFFINE @ [6, 8, 4, 1])[:3], atol=1e-4
    )
    assert volume.card["step"] == 2


def test_the_background_lies_where_the_underlay_is(tmp_path):
    bright = np.full(SHAPE, 0.2, np.float32)
    bright[12:, :, :] = 1.0
    under = Underlay(nib.Nifti1Image(bright, AFFINE), np.eye(4), "an image")
    image = nib.Nifti1Image(np.ones(SHAPE, np.float32), AFFINE)
    volume = map_volume(
        tmp_path / "sub-01_statmap.nii.gz", Results(tmp_path, "01"), image, under,
        Look("A map", "positive"),
    )
    assert volume.ground.shape == (30, 36, 18)  # 2 mm
    row = unpack(volume.ground)[:, 18, 9]
    assert row[:16].max() < 60 and row[20:-1].min() > 240


def test_the_brain_mask_says_where_to_crop(tree):
    results = Results(tree.out, "01")
    mask, *_ = troi_pictures(results)
    box = np.flatnonzero(tree.brain().any(axis=(1, 2)))
    width = min(SHAPE[0], box[-1] + 3) - max(0, box[0] - 2)
    assert mask.volume.values.shape[0] == width
    assert (unpack(mask.volume.values) > 0).sum() == int(mask.alt.split("with ")[1].split()[0])


def test_a_map_in_a_template_space_is_drawn_on_a_template(tree):
    path = derivative_path(tree.out, "troi_map", sub="09", task="see", space="MNI152NLin2009aSym")
    under = underlay_for(path, Results(tree.out, "09"))
    assert under.label == "the template MNI152NLin2009aSym"
    assert under.brightness.max() == 1
    other = underlay_for(path.with_name(path.name.replace("MNI152NLin2009aSym", "unknown")),
                         Results(tree.out, "09"))
    assert other is None


def small(text, ground):
    return volumes.MapVolume(
        Look(text, "mask"), Packed((1, 1, len(text)), text), (0.0, 1.0),
        ((1.0, 0, 0, 0),) * 3, "func", ground, 1, (0, 0, 0), False,
    )


def test_volumes_fit_first_come_and_backgrounds_count_once():
    ground = Packed((1, 1, 10), "g" * 10)
    found = {name: small(name * n, ground) for name, n in (("a", 10), ("b", 30), ("c", 5))}
    kept, grounds, left_out = fitting(found, 30)
    assert (list(kept), grounds, left_out) == (["a", "c"], [ground], ["b"])
    assert fitting(found, 55)[2] == [] and fitting(found, 54)[2] == ["c"]
    assert fitting(found, 0) == ({}, [], ["a", "b", "c"])


def test_a_page_without_room_says_what_it_leaves_out(tree, monkeypatch):
    path = tree.path("troi_map", sub="01", task="see")
    save_nifti(path, tree.brain() * 2.0, AFFINE)
    (drawn,) = map_picture(path, Results(tree.out, "01"), "m", "A map", signed=False)
    sections = [Section("maps", "Maps", [Figure(drawn)])]
    page = render_page("a", "b", sections)
    assert "data-values" in page and "viewer does not" not in page
    assert f'id="part-{drawn.volume.ground.key}"' in page
    monkeypatch.setattr("bids_decoder.reports.page.PAGE_BYTES", 1000)
    page = render_page("a", "b", sections)
    assert "data-values" not in page and "viewer does not have this map" in page


def test_pages_without_maps_have_no_viewer():
    plain = picture(new_figure(1, 1), "p", "Caption.", "Alt.")
    page = render_page("a", "b", [Section("s", "S", [Figure(plain)])])
    assert "Slice viewer" not in page and "data-values" not in page
