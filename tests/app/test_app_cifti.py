"""Derivatives in CIFTI, end to end: labels are decoded from grayordinates, maps are CIFTI."""

import json

import cifti_derivatives as cifti
import nibabel as nib
import numpy as np
import pytest
from app_calls import call_here

from bids_decoder.bids.writer import read_table


@pytest.fixture(scope="module")
def output(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cifti")
    signal = cifti.write_cifti_dataset(folder)
    out = folder / "out"
    labels = cifti.save_dlabel(folder / "signal.dlabel.nii", np.where(signal, 2, 1))
    done = call_here(
        folder / "raw", out, "participant", "-d", f"fmriprep={folder / 'prep'}",
        "--output-spaces", "fsLR:den-91k", "--n-permutations", 5, "--nprocs", 1,
        "-w", folder / "work", "--contrasts", "face - house", "--searchlight", "20mm",
        "--regions", labels,
    )
    assert done.code == 0, done.text
    return out, signal


def test_labels_are_decoded_from_grayordinates(output):
    out, signal = output
    metrics = read_table(next(out.rglob("*desc-decoder_metrics.tsv")))
    own = metrics[metrics["metric"] == "balanced_accuracy"].set_index("model")
    assert float(own.loc["decoder", "value"]) > 0.75
    betas = nib.load(next(out.rglob("*run-1*_space-fsLR_den-91k_*betaseries.nii.gz")))
    assert betas.shape == (len(signal), 1, 1, 20)


def test_maps_are_cifti_beside_their_images(output):
    out, signal = output
    models, found = cifti.brain_models(), sorted(out.rglob("*.dscalar.nii"))
    names = " ".join(path.name for path in found)
    assert "label-TROI_mask" in names and "_contrast-" in names and "stat-accuracy" in names
    for path in found:
        image = nib.load(path)
        assert image.header.get_axis(1) == models
        volume = nib.load(path.with_name(path.name.replace(".dscalar.nii", ".nii.gz")))
        np.testing.assert_allclose(image.get_fdata().T.ravel(), volume.get_fdata().ravel())
    chosen = nib.load(next(out.rglob("*label-TROI_mask.dscalar.nii"))).get_fdata()[0] > 0
    for part in (models.volume_mask, models.surface_mask):
        assert chosen[part & signal].mean() > 2 * chosen[part & ~signal].mean()
    for side in "LR":
        mesh = next((out / "sub-01" / "anat").glob(f"*_hemi-{side}_*midthickness.surf.gii"))
        assert nib.load(mesh).agg_data("pointset").shape == (cifti.N_SIDE, 3)


def test_spheres_are_on_the_cortex_or_below_it(output):
    out, signal = output
    path = next(out.rglob("*stat-accuracy_desc-searchlight_statmap.dscalar.nii"))
    card = json.loads(path.with_name(path.name.replace(".dscalar.nii", ".json")).read_text())
    assert card["Grid"] == "grayordinates" and card["Spheres"] > 400
    values = nib.load(path).get_fdata()[0]
    assert values[signal].mean() > values[~signal].mean() + 0.1


def test_regions_are_those_of_the_labels(output):
    out, signal = output
    table = read_table(next(out.rglob("*desc-regions_metrics.tsv"))).set_index("region")
    assert table["n_voxels"].astype(int).to_dict() == {
        "informative": int(signal.sum()), "other": int((~signal).sum()),
    }
    assert float(table["value"]["informative"]) > 0.8 > float(table["value"]["other"])
    path = next(out.rglob("*stat-accuracy_desc-regions_statmap.dscalar.nii"))
    assert len(set(nib.load(path).get_fdata()[0][signal])) == 1
    assert "those of the same grayordinates" in (out / "logs" / "CITATION.md").read_text()


def test_report_draws_surfaces_and_slices(output):
    page = (output[0] / "sub-01.html").read_text()
    assert "on the surfaces of the left" in page and "in the voxels below the cortex" in page
    assert "below the cortex, on the template MNI152NLin" in page
    assert "only a container" not in page and "No sphere holds both" in page


@pytest.mark.parametrize(("is_same", "code"), [(True, 0), (False, 65)])
def test_a_decoder_reads_the_same_grayordinates_only(output, tmp_path, is_same, code):
    cifti.write_cifti_dataset(tmp_path, n_runs=2, seed=5)
    about = tmp_path / "raw" / "dataset_description.json"
    about.write_text(about.read_text().replace('"grayordinates"', '"later"'))
    for path in tmp_path.glob("prep/sub-01/func/*.dtseries.nii"):
        if not is_same:
            image = nib.load(path)
            axes = image.header.get_axis(0), image.header.get_axis(1)[::-1]
            path.write_bytes(nib.Cifti2Image(image.get_fdata(dtype=np.float32), axes).to_bytes())
    done = call_here(
        tmp_path / "raw", tmp_path / "out", "participant", "--output-spaces", "fsLR:den-91k",
        "-d", f"fmriprep={tmp_path / 'prep'}", "--apply", output[0], "--nprocs", 1,
        "-w", tmp_path / "work", pages=False,
    )
    assert done.code == code, done.text
    assert ("other grayordinates than those that it reads" in done.text) != is_same
