"""A small version of benchmarks/calibration.py: datasets through split, fit, exchange, scores."""

import importlib.util
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

PATH = Path(__file__).resolve().parents[2] / "benchmarks" / "calibration.py"


@pytest.fixture(scope="module")
def bench():
    spec = importlib.util.spec_from_file_location("calibration", PATH)
    module = importlib.util.module_from_spec(spec)
    sys.modules["calibration"] = module
    spec.loader.exec_module(module)
    module.N_PERMUTATIONS = 19
    yield module
    del sys.modules["calibration"]


@pytest.mark.parametrize(("name", "n_datasets"), [
    ("labels, 4 runs", 60), ("one test set", 100), ("retrieval", 60), ("participants", 100),
])
def test_p_values_are_not_too_small_and_find_signal(bench, name, n_datasets):
    study, signal = bench.ROWS[name]
    found = bench.calibrate(study, signal, n_datasets, 12)
    # With a true rate of .05, more than this happens 1 time in 1000.
    assert found["false_05"] <= {60: 0.17, 100: 0.13}[n_datasets]
    assert found["power_05"] > 0.2
    if "coverage" in found:
        assert found["coverage"] >= 0.6


def test_the_default_decoder_takes_part(bench):
    study, _ = bench.ROWS["decoder, 4 runs"]
    bench.N_PERMUTATIONS, before = 3, bench.N_PERMUTATIONS
    try:
        found = study(3.0, 1)
    finally:
        bench.N_PERMUTATIONS = before
    assert found["p"] == 0.25 and found["value"] > 0.8
