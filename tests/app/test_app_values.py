"""Numbers as targets, end to end: scores, predictions, units, confounds, report and methods."""

import json

import pytest
from value_data import N_RUNS, N_TRIALS, write_values_dataset

from bids_decoder.bids.names import sidecar_path
from bids_decoder.bids.writer import read_table
from bids_decoder.evaluation.tables import VALUE_COLUMNS

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def output(main, tmp_path_factory):
    folder = tmp_path_factory.mktemp("values")
    data = write_values_dataset(folder / "data")
    done = main(
        data, folder / "out", "participant", "-d", f"betas={data}", "--value-column", "rating",
        "response_time", "--n-permutations", "19", "--device", "cpu", "--nprocs", 1,
    )
    assert done.code == 0, done.text
    return folder / "out"


def table_of(output, name):
    (path,) = (output / "sub-01").glob(f"func/*_desc-{name}.tsv")
    return read_table(path), json.loads(sidecar_path(path).read_text())


def test_the_rating_is_decoded_and_the_reaction_time_is_not(output):
    table, sidecar = table_of(output, "decoder_metrics")
    assert list(table) == list(VALUE_COLUMNS)
    assert sidecar["Units"] == {"rating": "points", "response_time": "s"}
    rows = table[table["model"] == "decoder"].set_index(["target", "metric"])
    rating, time = rows.loc[("rating", "r")], rows.loc[("response_time", "r")]
    assert float(rating["value"]) > 0.7 and float(rating["p"]) == pytest.approx(1 / 20)
    assert rating["p_holm"] is None and time["p_holm"] is not None
    assert abs(float(time["value"])) < 0.4
    assert float(rows.loc[("rating", "r2"), "value"]) > 0.4
    assert int(rating["n"]) == N_RUNS * (N_TRIALS - 1)
    assert {"mean", "ridge-all", "ridge-random"} <= set(table["model"])


def test_predictions_hold_true_and_predicted_values_with_units(output):
    table, sidecar = table_of(output, "decoder_predictions")
    assert len(table) == N_RUNS * (N_TRIALS - 1)
    assert sidecar["predicted_rating"]["Units"] == "points"
    true, predicted = (table[f"{part}_rating"].astype(float) for part in ("true", "predicted"))
    assert true.corr(predicted) > 0.7 and 40 < predicted.mean() < 60
    assert set(sidecar) >= set(table)


def test_tests_and_confounds_know_the_column(output):
    nulls, _ = table_of(output, "null_metrics")
    assert set(nulls["target"]) == {"rating", "response_time"}
    compared, _ = table_of(output, "decoder_comparisons")
    ahead = compared[(compared["second"] == "mean") & (compared["target"] == "rating")]
    assert ahead["metric"].tolist() == ["r2"] and float(ahead["value"].iloc[0]) > 0.4
    controls, _ = table_of(output, "controls_metrics")
    assert "trial_order" in set(controls["model"])
    assert not {"rating", "response_time"} & set(controls["model"])


def test_the_report_and_the_methods_say_it(output):
    page = (output / "sub-01.html").read_text()
    assert "predicted “rating”" in page and "Right: calibration" in page
    assert "correlation r" in page and "points" in page
    methods = (output / "logs" / "CITATION.md").read_text()
    assert "numbers of each trial (rating, response_time)" in methods
    assert "decoder of values" in methods and "Poldrack" in methods


def test_wrong_options_are_refused_together(main, output, tmp_path):
    data = output.parent / "data"
    done = main(
        data, tmp_path / "out", "group", "participant", "-d", f"betas={data}", "--value-column",
        "rating", "--troi", "troi-budget", "--searchlight", "8mm", "--device", "cpu", "--dry-run",
    )
    assert done.code == 64, done.text
    for said in ("no model is pretrained on them", "--troi troi-budget", "--searchlight"):
        assert said in done.text
