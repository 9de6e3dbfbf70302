"""Miyawaki et al. 2008 as nilearn has it: responses of trials, pixels as pictures, faults."""

import numpy as np
import pytest
import samples

from bids_decoder.bids.label_files import read_labels
from bids_decoder.bids.stimulus_files import find_stimulus_files
from bids_decoder.released.blocks import read_runs
from bids_decoder.stimuli.images import load_image


def test_responses_are_means_of_the_shifted_volumes_without_trend(place):
    mask, truth = samples.miyawaki(place.folder)
    (person,) = place.dataset().participants
    runs = [run.released for run in person.runs]
    np.testing.assert_array_equal(runs[0].responses.grid.mask, mask)
    assert [(run.session, run.run) for run in runs] == [
        ("figure", "01"), ("figure", "02"), ("random", "01"), ("random", "02")
    ]
    for run, values in read_runs(runs):
        series, responses, _ = truth[run.session, int(run.run)]
        length = 6 if run.session == "figure" else 3
        expected = np.stack([
            series[5 + n * (length + 3):][:length].mean(axis=0) for n in range(len(responses))
        ])
        np.testing.assert_allclose(values, expected, atol=1e-3)


def test_pixels_are_pictures_and_equal_ones_are_one_stimulus(place):
    _, truth = samples.miyawaki(place.folder)
    dataset = place.dataset()
    tables = {
        (run.session, int(run.run)): run.released.table for run in dataset.participants[0].runs
    }
    assert list(tables["figure", 1]["stimulus"]) == list(tables["figure", 2]["stimulus"])
    assert set(tables["figure", 1]["split"]) == {"test"}
    assert set(tables["random", 2]["split"]) == {"train"}
    names = {name for table in tables.values() for name in table["stimulus"]}
    assert len(names) == 2 + 8
    files = find_stimulus_files(dataset.stimuli_dir, names)
    assert set(files.found) == names
    shown = tables["random", 2]["stimulus"].tolist()[1]
    expected = truth["random", 2][2][1].reshape(10, 10, order="F")
    np.testing.assert_array_equal(load_image(files.found[shown])[..., 0], expected)


def test_plan_decodes_figures_after_random_pictures(place):
    samples.miyawaki(place.folder)
    place.set("trials", split_column="split")
    plan = place.plan()
    assert plan.study.targets.kind == "image"
    assert plan.study.split.test_stimuli == (
        "data_figure_run01_label.csv#0", "data_figure_run01_label.csv#1"
    )


@pytest.mark.parametrize(("change", "code", "word"), [
    (lambda folder: (folder / "label/data_random_run01_label.csv").unlink(), 66,
     "pixels that were shown"),
    (lambda folder: (folder / "label/data_random_run01_label.csv").write_text("1,2\n0,1\n"), 65,
     "100 columns"),
    (lambda folder: (folder / "label/data_random_run01_label.csv").write_text("a,b\n"), 65,
     "cannot be read"),
    (lambda folder: np.savetxt(
        folder / "label/data_random_run01_label.csv", np.full((27, 100), -1), "%d", ","), 65,
     "no picture was shown"),
    (lambda folder: np.savetxt(
        folder / "label/data_random_run01_label.csv", np.ones((27, 100)), "%d", ","), 65,
     "fewer than 2 volumes follow"),
    (lambda folder: np.savetxt(
        folder / "label/data_random_run01_label.csv", np.ones((26, 100)), "%d", ","), 65,
     "27 volumes, but"),
    (lambda folder: (folder / "mask/mask.nii.gz").unlink(), 66, "there is no such file"),
])
def test_faults(place, change, code, word):
    samples.miyawaki(place.folder)
    change(place.folder)
    place.set("execution", participant_label=("S1",))
    ((found, text),) = place.errors()
    assert found == code and word in text


def test_masks_of_regions_are_read(place):
    mask, _ = samples.miyawaki(place.folder)
    labels, _ = read_labels(place.folder / "mask/mask.nii.gz")
    np.testing.assert_array_equal(labels, mask)
