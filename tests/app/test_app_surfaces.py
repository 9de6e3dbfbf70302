"""Derivatives on surfaces, end to end: labels are decoded from vertices, maps are GIFTI."""

import json

import nibabel as nib
import numpy as np
import pytest
import surface_derivatives as surface
from app_calls import call_here

from bids_decoder.bids.names import sidecar_path
from bids_decoder.bids.surfaces import hemisphere_names
from bids_decoder.bids.writer import read_table


@pytest.fixture(scope="module")
def output(tmp_path_factory):
    folder = tmp_path_factory.mktemp("surfaces")
    patch = surface.write_surface_dataset(folder)
    out = folder / "out"
    done = call_here(
        folder / "raw", out, "participant", "-d", f"fmriprep={folder / 'prep'}",
        "--output-spaces", "fsnative", "--n-permutations", 5, "--nprocs", 1,
        "-w", folder / "work", "--contrasts", "face - house", "--searchlight", "25mm",
    )
    assert done.code == 0, done.text
    return out, patch


def test_labels_are_decoded_from_vertices(output):
    out, _ = output
    metrics = read_table(next(out.rglob("*desc-decoder_metrics.tsv")))
    own = metrics[metrics["metric"] == "balanced_accuracy"].set_index("model")
    assert float(own.loc["decoder", "value"]) > 0.75
    betas = nib.load(next(out.rglob("*run-1*_space-fsnative_*betaseries.nii.gz")))
    assert betas.shape == (324, 1, 1, 20)


def test_maps_are_files_of_hemispheres_beside_their_surface(output):
    out, patch = output
    left, right = (
        nib.load(next(out.rglob(f"*_hemi-{side}_space-fsnative_label-TROI_mask.func.gii")))
        for side in "LR"
    )
    chosen = np.concatenate([left.darrays[0].data, right.darrays[0].data]) > 0
    assert len(left.darrays[0].data) == len(right.darrays[0].data) == 162
    # Most of the patch is found, and most of what is found is near it.
    assert chosen[patch].mean() > 0.6 and patch[chosen].mean() > 0.3
    sidecar = next(out.rglob("*_hemi-R_space-fsnative_label-TROI_mask.json"))
    assert json.loads(sidecar.read_text())
    for side in "LR":
        name = f"sub-01_hemi-{side}_space-fsnative_midthickness.surf.gii"
        mesh = nib.load(out / "sub-01" / "anat" / name)
        points, triangles = mesh.agg_data(("pointset", "triangle"))
        assert points.shape == (162, 3) and triangles.shape == (320, 3)


def test_maps_of_the_glm_are_files_of_hemispheres_too(output):
    out, patch = output
    images = sorted(out.rglob("*_space-fsnative_*stat-*_statmap.nii.gz"))
    images = [path for path in images if "label-TROI" not in path.name]
    contrasts = [path for path in images if "_contrast-" in path.name]
    assert len(contrasts) == 2 and len(images) > 2
    for image in images:
        sides = hemisphere_names(image)
        values = np.concatenate([nib.load(side).darrays[0].data for side in sides])
        np.testing.assert_allclose(values, nib.load(image).get_fdata().ravel(), rtol=1e-6)
        assert json.loads(sidecar_path(sides[1]).read_text())["Description"]
        if image in contrasts:
            assert np.abs(values)[patch].mean() > 2 * np.abs(values)[~patch].mean()


def test_report_draws_the_selection_on_surfaces(output):
    page = (output[0] / "sub-01.html").read_text()
    assert "vertices that the decoder selected, on the surfaces" in page
    assert "(uncorrected), on the surfaces" in page
    assert "only a container" not in page


def test_searchlight_finds_the_patch_along_the_surface(output):
    out, patch = output
    accuracy, sidecar = (
        next(out.rglob(f"*see_space-fsnative_stat-accuracy_desc-searchlight_statmap{end}"))
        for end in (".nii.gz", ".json")
    )
    card = json.loads(sidecar.read_text())
    assert card["Grid"] == "surface" and card["Spheres"] > 300
    assert 10 < card["VoxelsPerSphere"] < 40
    values = nib.load(accuracy).get_fdata().ravel()
    assert values[patch].mean() > values[~patch].mean() + 0.1
    sides = [nib.load(side).darrays[0].data for side in hemisphere_names(accuracy)]
    np.testing.assert_allclose(np.concatenate(sides), values, rtol=1e-6)
    page = (out / "sub-01.html").read_text()
    assert "where above 0, on the surfaces" in page and "a sphere is a disc of vertices" in page
    text = (out / "logs" / "CITATION.md").read_text()
    assert "all vertices within 25 mm of it along the surface" in text and "Oosterhof" in text
