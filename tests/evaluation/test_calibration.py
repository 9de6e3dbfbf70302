"""A small version of benchmarks/calibration.py: datasets through split, fit, exchange, scores."""

import sys
from importlib import import_module
from pathlib import Path

import pandas as pd
import pytest

pytestmark = pytest.mark.slow

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"
MODULES = ("calibration_labels", "calibration_others", "calibration")


@pytest.fixture(scope="module")
def bench():
    sys.path.insert(0, str(BENCHMARKS))
    try:
        yield [import_module(name) for name in MODULES][-1]
    finally:
        sys.path.remove(str(BENCHMARKS))
        for name in MODULES:
            sys.modules.pop(name, None)


@pytest.fixture(autouse=True)
def few_permutations(bench, monkeypatch):
    for name in MODULES[:2]:
        monkeypatch.setattr(sys.modules[name], "N_PERMUTATIONS", 19)


@pytest.mark.parametrize(("name", "n_datasets"), [
    ("labels, 4 runs", 40), ("runs of one label, 12 runs", 40), ("one test set", 60),
    ("retrieval, 20 images", 60), ("participants", 40), ("encoding, 20 images", 40),
    ("comparison of encoders", 200), ("comparison, retrieval", 100),
    ("confound alone, 8 runs", 40), ("comparison, one test set", 60),
    ("prevalence, nobody", 200), ("effect over 12 participants", 200), ("two groups, 3 sites", 200),
])
def test_p_values_are_not_too_small_and_find_signal(bench, name, n_datasets):
    found = bench.calibrate(name, n_datasets, 12, pd.DataFrame())
    # With a true rate of .05, more than this happens less than 1 time in 1000.
    assert found["false_05"] <= {40: 0.2, 60: 0.17, 100: 0.13, 200: 0.11}[n_datasets]
    assert found.get("power_05", 1) > 0.2
    assert found.get("coverage", 1) >= 0.6


def test_the_default_decoder_takes_part(bench, monkeypatch):
    monkeypatch.setattr(sys.modules["calibration_labels"], "FEW", 3)
    study, _ = bench.ROWS["decoder, 4 runs"]
    found = study(3.0, 1)
    assert found["p"] == 0.25 and found["value"] > 0.8


def test_a_second_call_continues(bench, tmp_path):
    path, name = tmp_path / "found.tsv", "comparison of encoders"
    for n_datasets in (3, 5):
        known = bench.read_outcomes(path)
        row = bench.calibrate(name, n_datasets, 0, known,
                              lambda outcome: bench.append_outcome(path, outcome))
        assert row["n"] == n_datasets
    table = bench.read_outcomes(path)
    assert table["seed"].tolist() == [0, 1, 2, 3, 4] and table["p"].notna().all()
