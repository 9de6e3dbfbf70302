"""A small version of benchmarks/calibration.py: datasets through split, fit, exchange, scores."""

import sys
from importlib import import_module
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"
PARTS = ("calibration_labels", "calibration_others", "calibration_folds", "calibration_volumes",
         "calibration_values")
FREQUENT = {10: 0.3, 20: 0.25, 200: 0.11}
"""Share of p <= .05 that so many datasets exceed less than 1 time in 1000 at a true rate of .05."""


@pytest.fixture(scope="module")
def bench():
    sys.path.insert(0, str(BENCHMARKS))
    try:
        import_module("calibration_values")
        yield import_module("calibration")
    finally:
        sys.path.remove(str(BENCHMARKS))
        for name in (*PARTS, "calibration"):
            sys.modules.pop(name, None)


@pytest.fixture(autouse=True)
def few_permutations(bench, monkeypatch):
    for name in PARTS:
        monkeypatch.setattr(sys.modules[name], "N_PERMUTATIONS", 19)


@pytest.mark.parametrize(("name", "n_datasets"), [
    ("labels, 4 runs", 20), ("runs of one label, 8 runs", 20), ("participants", 20),
    ("participants, area under the curve", 20), ("stimuli in folds, 12", 10),
    ("encoding, 20 images", 20), ("one test set", 20), ("prevalence, nobody", 200),
    ("effect over 12 participants", 200), ("two groups, 3 sites", 200),
])
def test_p_values_are_not_too_small_and_find_signal(bench, name, n_datasets):
    found = bench.calibrate(name, n_datasets, 8, pd.DataFrame())
    assert found["false_05"] <= FREQUENT[n_datasets]
    assert found["power_05"] > 0.2
    assert found.get("coverage", 1) >= 0.6


@pytest.mark.parametrize("corrected", ["p_max", "p_tfce"])
def test_searchlights_find_strong_signal_and_little_without(bench, monkeypatch, corrected):
    volumes = sys.modules["calibration_volumes"]
    monkeypatch.setattr(volumes, "SEARCHED", (5, 4, 3))
    null = [volumes.searchlight(0.0, seed, corrected)["p"] for seed in range(10)]
    assert np.mean(np.array(null) <= 0.05) <= FREQUENT[10]
    assert volumes.searchlight(2.0, 1, corrected)["p"] == pytest.approx(0.05)


@pytest.mark.parametrize("name", ["decoder, 4 runs", "cnn3d, 3 runs", "deeplight, 3 runs"])
def test_decoders_are_fitted_again_with_each_labelling(bench, monkeypatch, name):
    for part in ("calibration_labels", "calibration_volumes"):
        monkeypatch.setattr(sys.modules[part], "FEW", 1)
    fitted, study = [], bench.ROWS[name][0]
    labels, refit = sys.modules["calibration_labels"], sys.modules["calibration_labels"].refit_fold

    def spy(decoder, fold, targets, pretrained, context):
        fitted.append((decoder.name, context.network.decoder, len(fold.train_rows)))
        return refit(decoder, fold, targets, pretrained, context)

    monkeypatch.setattr(labels, "refit_fold", spy)
    found = study(3.0, 1)
    decoder, n_folds = name.split(", ")[0].replace("decoder", "troi"), int(name[-6])
    assert fitted == [(decoder, decoder, 1)] * 2 * n_folds
    assert found["p"] in (0.5, 1.0) and 0 <= found["value"] <= 1


@pytest.mark.parametrize("name", ["6 runs, stronger signal", "one test set"])
def test_numbers_are_found_and_their_intervals_contain_the_mean(bench, name):
    numbers = sys.modules["calibration_values"]
    found = numbers.calibrate(name, 10, 6, bench.read_outcomes(None))
    for metric in ("r", "r2", "mae"):
        one = found[metric]
        assert one["p05_null"] <= FREQUENT[10] and one["p05_signal"] > 0.3, metric
        assert one["cover_null"] >= 0.6 and one["cover_signal"] >= 0.5, metric
    assert "p05_null" not in found["slope"]
    assert ("cover_null" in found["slope"]) == (name == "one test set")


def test_a_second_call_continues(bench, tmp_path):
    path, name = tmp_path / "found.tsv", "comparison of encoders"
    for n_datasets in (3, 5):
        known = bench.read_outcomes(path)
        row = bench.calibrate(name, n_datasets, 0, known,
                              lambda outcome: bench.append_outcome(path, outcome))
        assert row["n"] == n_datasets
    table = bench.read_outcomes(path)
    assert table["seed"].tolist() == [0, 1, 2, 3, 4] and table["p"].notna().all()
