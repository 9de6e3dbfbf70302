"""Reading an output folder: tables typed, images by participant, clear refusals."""

import numpy as np
import pandas as pd
import pytest

import bids_decoder
from bids_decoder.bids.names import OutputName, derivative_path
from bids_decoder.bids.writer import save_nifti, save_table
from bids_decoder.errors import InputError, MissingInputError, UsageError
from bids_decoder.files import write_json


def describe(folder, name="bids_decoder"):
    write_json(folder / "dataset_description.json", {"GeneratedBy": [{"Name": name}]})


@pytest.fixture
def output(tmp_path):
    """Two participants as the app writes them, one of them with two kinds of maps."""
    describe(tmp_path)
    for label, value in (("01", 0.75), ("02", 0.5)):
        entities = {"sub": label, "task": "see"}
        metrics = {"model": ["decoder", "ridge"], "value": [value, 0.4], "p": [0.01, np.nan],
                   "metric": "accuracy"}
        save_table(derivative_path(tmp_path, "metrics", **entities), pd.DataFrame(metrics))
        save_table(derivative_path(tmp_path, "gallery_metrics", **entities),
                   pd.DataFrame({"model": ["decoder"], "value": [0.1], "extra": ["x"]}))
        save_table(derivative_path(tmp_path, "nulls", **entities),
                   pd.DataFrame({"model": "decoder", "permutation": [1, 2], "value": [0.4, 0.6]}))
        save_table(derivative_path(tmp_path, "predictions", **entities), pd.DataFrame({
            "run_group": "task-see_run-1", "trial": [1, 2], "label": ["1", "2"],
            "stimulus": ["007", "008"], "correct": [True, False], "fold": [1, None],
        }))
        save_nifti(derivative_path(tmp_path, "statmap", stat="pattern", label="TROI", **entities),
                   np.full((2, 2, 2), value, np.float32), np.eye(4))
    for label in ("TROI", "other"):
        save_nifti(derivative_path(tmp_path, "statmap", sub="02", stat="weight", label=label),
                   np.ones((2, 2, 2), np.float32), np.eye(4))
    return tmp_path


def test_tables_are_joined_over_participants(output):
    results = bids_decoder.load_results(output)
    assert results.participants == ["01", "02"]
    decoder = results.metrics.query("analysis == 'decoder' and model == 'decoder'")
    assert decoder.set_index("participant")["value"].to_dict() == {"01": 0.75, "02": 0.5}
    assert set(results.metrics["analysis"]) == {"decoder", "gallery"}
    assert results.metrics["p"].dtype == float
    assert results.metrics["task"].unique().tolist() == ["see"]
    assert results.nulls["value"].tolist() == [0.4, 0.6] * 2
    assert set(results.nulls["analysis"]) == {"null"}


def test_ids_stay_text_and_flags_become_flags(output):
    predictions = bids_decoder.load_results(output).predictions
    assert predictions["stimulus"].tolist()[:2] == ["007", "008"]
    assert predictions["label"].tolist()[:2] == ["1", "2"]
    assert predictions["correct"].tolist()[:2] == [True, False]
    assert np.isnan(predictions["fold"].iloc[1])
    assert predictions["participant"].tolist() == ["01", "01", "02", "02"]


def test_images_are_found_by_participant(output):
    maps = bids_decoder.load_results(output).maps("pattern")
    assert {name: float(image.get_fdata()[0, 0, 0]) for name, image in maps.items()} == {
        "01": 0.75, "02": 0.5,
    }


def test_several_images_of_a_participant_need_a_choice(output):
    results = bids_decoder.load_results(output)
    with pytest.raises(UsageError, match=r"label-TROI stat-weight, label-other stat-weight"):
        results.maps("weight")
    assert list(results.maps("weight", label="TROI")) == ["02"]


def test_absent_images_name_those_that_are_there(output):
    with pytest.raises(MissingInputError, match="stat-pattern"):
        bids_decoder.load_results(output).maps("reliability")


def test_group_tables(output):
    results = bids_decoder.load_results(output)
    assert results.group_metrics.empty
    save_table(derivative_path(output, "group_metrics"), pd.DataFrame({"value": [0.6], "n": [2]}))
    table = bids_decoder.load_results(output).group_metrics
    assert table[["analysis", "value", "n"]].to_numpy().tolist() == [["group", 0.6, 2]]


def test_models_are_decoders(output, trials):
    X, y, runs = trials
    decoder = bids_decoder.TROIDecoder(calibration_folds=0, random_state=0).fit(X, y, groups=runs)
    path = decoder.save(derivative_path(output, "decoder_model", sub="02", task="see"))
    models = bids_decoder.load_results(output).models
    assert list(models) == ["02"]
    assert models["02"].score(X, y) > 0.9
    decoder.save(derivative_path(output, "decoder_model", sub="02", task="hear"))
    with pytest.raises(UsageError, match="task-hear"):
        _ = bids_decoder.load_results(output).models
    path.unlink()
    assert list(bids_decoder.load_results(output).models) == ["02"]


def test_nothing_of_a_kind_is_an_empty_table(output):
    assert bids_decoder.load_results(output).table("peaks").empty


def test_tables_of_another_kind(output):
    name = OutputName("peaks", ".tsv", "func", {"desc": "searchlight"})
    save_table(derivative_path(output, name, sub="01"), pd.DataFrame({"x": [1.5], "n_voxels": [3]}))
    table = bids_decoder.load_results(output).table("peaks", analysis="searchlight")
    assert table[["participant", "x"]].to_numpy().tolist() == [["01", 1.5]]


@pytest.mark.parametrize(("prepare", "error", "why"), [
    (lambda folder: folder.rmdir(), MissingInputError, "no such folder"),
    (lambda folder: None, InputError, "no dataset_description.json"),
    (lambda folder: describe(folder, "fMRIPrep"), InputError, "made by fMRIPrep"),
    (describe, InputError, "no participant and no group"),
])
def test_folders_that_are_no_output_are_refused(tmp_path, prepare, error, why):
    folder = tmp_path / "other"
    folder.mkdir()
    prepare(folder)
    with pytest.raises(error, match=why):
        bids_decoder.load_results(folder)
