"""Few pictures, end to end: folds of stimuli, identification, reconstruction, gallery, report."""

import json
import shutil

import numpy as np
import pytest
from picture_data import N_PICTURES, N_RUNS, NAMES, write_pictures, write_pictures_dataset

from bids_decoder.bids.writer import read_table

pytestmark = pytest.mark.slow
N_OTHERS, N_PERMUTATIONS = 5, 9


@pytest.fixture(scope="module")
def words(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pictures")
    data = write_pictures_dataset(folder / "data")
    others = np.random.default_rng(1).uniform(0, 255, (N_OTHERS, 3, 3, 3))
    write_pictures(folder / "others", [f"other{k}.png" for k in range(N_OTHERS)], others)
    return [
        data, folder / "out", "participant", "-d", f"betas={data}", "--target", "image",
        "--stimuli-dir", data / "stimuli", "--image-encoder", "gabor", "--reconstruction", "ridge",
        "--gallery", folder / "others", "--n-permutations", N_PERMUTATIONS, "--device", "cpu",
        "--nprocs", 1,
    ]


@pytest.fixture(scope="module")
def output(main, words):
    done = main(*words)
    assert done.code == 0, done.text
    assert "test set of gallery: the first fold of stimuli" in done.text
    return words[1]


def table_of(output, name):
    (path,) = (output / "sub-01").glob(f"func/*_desc-{name}.tsv")
    return read_table(path)


@pytest.fixture(scope="module")
def fold_of(output):
    split = json.loads((output / "plan.json").read_text())["split"]
    assert split["kind"] == "stimulus-folds" and split["test_stimuli"] == []
    return {name: k for k, fold in enumerate(split["stimulus_folds"], 1) for name in fold}


def test_each_picture_is_test_once_and_compared_with_those_of_its_fold(output, fold_of):
    assert sorted(fold_of) == NAMES
    table = table_of(output, "decoder_predictions")
    assert len(table) == N_PICTURES * N_RUNS
    own = table["stimulus"].map(fold_of)
    assert (own == table["fold"].astype(int)).all() and (own == table["top1"].map(fold_of)).all()


def test_pictures_are_identified_in_pairs(output):
    table = table_of(output, "decoder_metrics")
    rows = table[table["metric"] == "two_way"].set_index(["model", "unit"])
    best = rows.loc[("decoder", "averaged")]
    assert float(best["value"]) > 0.8 and float(best["p"]) <= 0.2
    assert best["null"] == "refitted" and int(best["n_null"]) == N_PERMUTATIONS
    assert best["p_holm"] is None and float(best["p_min"]) == pytest.approx(0.1)
    assert {"ridge-all", "ridge-mask", "ridge-random"} <= set(table["model"])
    compared = table_of(output, "decoder_comparisons")
    assert set(compared["metric"]) == {"two_way"} and set(compared["n"]) == {"3"}
    controls = table_of(output, "controls_metrics")
    assert "trial_order" in set(controls["model"]) and "two_way" in set(controls["metric"])


def test_pictures_are_made_by_the_model_that_has_not_seen_them(output, fold_of):
    table = table_of(output, "reconstruction_predictions")
    assert sorted(table["stimulus"]) == NAMES
    nearest = table["nearest_training_stimulus"]
    assert (nearest.map(fold_of) != table["stimulus"].map(fold_of)).all()
    errors = table_of(output, "reconstruction_errormap")[["error", "spread"]].astype(float)
    assert len(errors) == 64 * 64 and (errors > 0).all(axis=None)
    assert errors["error"].mean() < errors["spread"].mean()


def test_the_gallery_has_the_pictures_of_the_first_fold(output, fold_of):
    found = table_of(output, "gallery_predictions")
    first = [name for name, fold in fold_of.items() if fold == 1]
    assert sorted(found["stimulus"]) == sorted(first)
    assert set(found["pool_size"]) == {str(len(first) + N_OTHERS)}


def test_report_and_methods_say_what_was_held_out(output):
    page = (output / "sub-01.html").read_text()
    assert "two-way identification" in page and "what is held out are stimuli" in page
    methods = (output / "logs" / "CITATION.md").read_text()
    assert f"{N_PICTURES} stimuli in 3 folds" in methods and "Mitchell" in methods
    assert "decoder of stimulus vectors" in methods


def test_learning_curves_need_a_test_set(main, words, tmp_path):
    done = main(words[0], tmp_path / "out", *words[2:], "--learning-curve", "--dry-run")
    assert done.code == 64 and "training and test share runs" in done.text, done.text


# ------------------------------------------------------------------------------------- new runs


@pytest.fixture(scope="module")
def applied(main, output, words, tmp_path_factory):
    """The decoder applied to two further runs, with a gallery of the pictures and of others."""
    folder = tmp_path_factory.mktemp("later")
    data = write_pictures_dataset(folder / "data", runs=range(N_RUNS + 1, N_RUNS + 3))
    shutil.copytree(words[0].parent / "others", folder / "gallery")
    for name in NAMES:
        shutil.copy(data / "stimuli" / name, folder / "gallery" / name)
    done = main(
        data, folder / "out", "participant", "-d", f"betas={data}", "--image-encoder", "gabor",
        "--apply", output, "--apply-gallery", folder / "gallery", "--device", "cpu",
        "--nprocs", 1, "--n-permutations", 99,
    )
    assert done.code == 0, done.text
    return folder / "out"


def test_new_runs_are_decoded_and_scored(applied):
    table = table_of(applied, "applied_predictions")
    assert len(table) == 2 * N_PICTURES and (table["was_trained"] == "True").all()
    assert (table["top1"] == table["stimulus"]).mean() > 0.5
    metrics = table_of(applied, "applied_metrics")
    row = metrics.query("metric == 'top1' and direction == 'b2i' and unit == 'single' "
                        "and similarity == 'cosine'").iloc[0]
    assert float(row["value"]) > 0.5 and float(row["p"]) <= 0.05
    page = (applied / "sub-01.html").read_text(encoding="utf-8")
    assert "12 of 12 stimuli that are scored were shown in training trials" in page


def test_new_runs_find_their_pictures_in_a_gallery(applied):
    table = table_of(applied, "appliedgallery_predictions")
    assert (table["top1"] == table["stimulus"]).mean() > 0.5
    metrics = table_of(applied, "appliedgallery_metrics")
    # The copies of what was shown are no further images.
    assert set(metrics["pool_size"].astype(int)) == {N_PICTURES + N_OTHERS}
    assert len(table_of(applied, "appliedgallerynull_metrics"))
    assert list((applied / "sub-01").glob("func/*_desc-appliedgallery_sheet.png"))
    assert "Nearest images" in (applied / "sub-01.html").read_text(encoding="utf-8")


def test_new_runs_are_reconstructed_and_scored(output, applied):
    (painter,) = (output / "sub-01" / "model").glob("*_desc-painter_model.json")
    about = json.loads(painter.read_text())
    assert about["n_training_trials"] == N_RUNS * N_PICTURES
    assert sorted(about["training_images"]) == NAMES
    table = table_of(applied, "appliedreconstruction_predictions")
    assert sorted(table["stimulus"]) == NAMES and set(table["n_trials"]) == {"2"}
    assert all((applied / "sub-01" / name).is_file() for name in table["picture"])
    metrics = table_of(applied, "appliedreconstruction_metrics")
    row = metrics.query("model == 'reconstruction' and metric == 'two_way'").iloc[0]
    assert float(row["value"]) > 0.7
    # All pictures were shown in training, and mostly are the nearest ones.
    assert (table["nearest_training_stimulus"] == table["stimulus"]).mean() > 0.5
    near = metrics.query("model == 'nearest-training-image' and metric == 'pixcorr'").iloc[0]
    assert float(near["value"]) > 0.5
    page = (applied / "sub-01.html").read_text(encoding="utf-8")
    assert "Reconstruction of new trials" in page and "ahead of all three controls" in page
    assert "the very image that was shown" in page
    methods = (applied / "logs" / "CITATION.md").read_text(encoding="utf-8")
    assert f"{N_PICTURES} images were reconstructed" in methods
    assert "nearest to the decoded vector was a further control" in methods
