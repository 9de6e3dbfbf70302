"""Maps of template spaces on surfaces."""

from __future__ import annotations

from dataclasses import replace

import nibabel as nib
import numpy as np
import pytest

from bids_decoder.reports import surfaces
from bids_decoder.reports.figures import new_figure, picture
from bids_decoder.reports.meshes import Hemisphere
from bids_decoder.reports.packed import Look
from bids_decoder.reports.results import Results
from bids_decoder.reports.surfaces import draw_surfaces
from bids_decoder.reports.template_surfaces import _meshes, with_surface
from bids_decoder.reports.volumes import map_volume

AFFINE = np.array([[4.0, 0, 0, -92], [0, 4, 0, -128], [0, 0, 4, -72], [0, 0, 0, 1]])
SHAPE = (46, 55, 46)
LEFT = (-42.0, -60.0, -14.0)
"""Millimetres of a place in the left fusiform gyrus."""


def drawn(tmp_path, space, kind="signed"):
    """Return the figure of a map that is 2 near one place."""
    points = nib.affines.apply_affine(AFFINE, np.moveaxis(np.indices(SHAPE), 0, -1))
    near = np.linalg.norm(points - LEFT, axis=-1) < 15
    path = tmp_path / f"sub-01_task-see_{space}stat-z_statmap.nii.gz"
    volume = map_volume(
        path, Results(tmp_path, "01"), nib.Nifti1Image(2 * near.astype(np.float32), AFFINE), None,
        Look("A map", kind, 2.0, 0.5),
    )
    return replace(picture(new_figure(1, 1), "m", "Caption.", "Alt.", "png"), volume=volume)


def test_values_come_to_the_hemisphere_that_has_them(tmp_path, monkeypatch):
    seen = []
    monkeypatch.setattr(surfaces, "draw_surfaces",
                        lambda values, look: seen.extend(values) or new_figure(1, 1))
    first, surface = with_surface([drawn(tmp_path, "space-MNI152NLin2009cAsym_")])
    assert (first.name, surface.name) == ("m", "msurface")
    assert "onto fsaverage5" in surface.caption and "MNI152NLin2009cAsym" in surface.caption
    left, right = (half.values for half in seen)
    assert left.shape == right.shape == (10242,)
    assert left.max() == pytest.approx(2.0, abs=0.02) and 20 < (left > 1).sum() < 2000
    assert not right.any()


@pytest.mark.parametrize(("space", "kind"), [
    ("", "signed"), ("space-T1w_", "signed"), ("space-MNI152NLin2009cAsym_", "mask"),
])
def test_masks_and_maps_of_other_spaces_have_no_surfaces(tmp_path, space, kind):
    assert len(with_surface([drawn(tmp_path, space, kind)])) == 1
    assert with_surface([]) == []


def test_vertices_above_the_threshold_are_coloured():
    values = [np.zeros(10242, np.float32), np.zeros(10242, np.float32)]
    pixels, files = [], _meshes()
    for size in (0.4, 1.0):
        values[0][:3000] = size
        halves = [
            Hemisphere(files[f"infl_{side}"], part, files[f"sulc_{side}"])
            for side, part in zip(("left", "right"), values, strict=True)
        ]
        figure = draw_surfaces(halves, Look("A map", "signed", 1.0, 0.5))
        figure.canvas.draw()
        assert figure.axes[-1].get_ylim() == (-1, 1)
        figure.axes[-1].remove()
        figure.canvas.draw()
        red, _, blue = np.asarray(figure.canvas.buffer_rgba())[..., :3].astype(int).T
        pixels.append(int((red - blue > 40).sum()))
    assert pixels[0] == 0 and pixels[1] > 500
