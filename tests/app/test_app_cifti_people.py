"""CIFTI series of several participants: pretraining, its prior, maps of the group, new people."""

import shutil

import cifti_derivatives as cifti
import nibabel as nib
import pytest
from app_calls import SHORT, call_here

from bids_decoder.bids.writer import read_table
from bids_decoder.reports.results import Results

pytestmark = pytest.mark.slow


def call(folder, out, *words, **how):
    return call_here(
        folder / "raw", out, *words, "-d", f"fmriprep={folder / 'prep'}",
        "--output-spaces", "fsLR:den-91k", "--nprocs", 1, "--config-file", SHORT,
        # Labels are decoded again for each permutation, and no p-value is looked at.
        "--n-permutations", 3,
        "-w", folder / "work", **how,
    ).code


@pytest.fixture(scope="module")
def output(tmp_path_factory):
    folder = tmp_path_factory.mktemp("people")
    signal = cifti.write_cifti_dataset(folder, n_runs=2)
    for label in ("02", "03", "04"):
        cifti.copy_person(folder, label)
    words = ("group", "participant", "--holdout-label", "03", "04")
    assert call(folder, folder / "out", *words) == 0
    return folder, folder / "out", signal


def test_grayordinates_of_source_participants_are_a_prior(output):
    _, out, _ = output
    card = Results(out).card("pretrained_model")
    assert sorted(card["participants"]) == ["01", "02"]
    assert card["common"]["space"] == "fsLR" and card["common"]["rows_key"]
    for label in ("03", "04"):
        own = Results(out, label).card("decoder_model")
        assert own["group_prior"] == "fsLR" and not own["group_prior_resampled"]
    page = (out / "group.html").read_text(encoding="utf-8")
    assert "in the space fsLR are a prior for the voxels of new participants" in page


def test_maps_of_the_group_are_cifti(output):
    _, out, signal = output
    path = next((out / "group").glob("*label-TROI*_desc-group_statmap.dscalar.nii"))
    image = nib.load(path)
    assert image.header.get_axis(1) == cifti.brain_models()
    values = image.get_fdata()[0]
    assert values[signal].mean() > 2 * values[~signal].mean()


def test_a_new_person_is_decoded_without_training(output, tmp_path):
    _, out, _ = output
    cifti.write_cifti_dataset(tmp_path, n_runs=2, seed=5)
    cifti.copy_person(tmp_path, "09")
    for place in ("raw", "prep"):
        shutil.rmtree(tmp_path / place / "sub-01")
    assert call(tmp_path, tmp_path / "out", "participant", "--apply", out, pages=False) == 0
    metrics = read_table(next((tmp_path / "out").glob("sub-09/func/*_desc-applied_metrics.tsv")))
    (own,) = metrics[metrics["metric"] == "balanced_accuracy"].to_dict("records")
    assert own["model"] == "decoder" and float(own["value"]) > 0.65
