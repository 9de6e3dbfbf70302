"""Small versions of benchmarks/exchange.py and benchmarks/value_variance.py."""

import sys
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"
PARTS = ("calibration", "calibration_folds", "calibration_labels", "calibration_others",
         "calibration_values", "calibration_volumes", "exchange", "value_variance")


@pytest.fixture(scope="module")
def load():
    sys.path.insert(0, str(BENCHMARKS))
    try:
        yield import_module
    finally:
        sys.path.remove(str(BENCHMARKS))
        for name in PARTS:
            sys.modules.pop(name, None)


def test_blocks_of_two_trials_are_exchanged_as_blocks_and_p_values_are_not_too_small(load):
    quick = load("exchange")
    for name in ("blocks of two", "blocks of two, trials missing"):
        found = [quick.one_dataset(*quick.ROWS[name], seed) for seed in range(200)]
        assert {kind for _, kind in found} == {"blocks within runs"}
        # Exceeded less than once in 1000 at a true rate of .05; of single trials it is .075.
        assert np.mean([p <= 0.05 for p, _ in found]) <= 0.11
    p, kind = quick.one_dataset(*quick.ROWS["blocks of two"], 0, singly=True)
    assert kind == "trials within runs" and 0.01 <= p <= 1


def test_correlations_over_folds_vary_more_than_those_of_independent_trials(load):
    quick = load("value_variance")
    row = quick.DESIGNS["6 runs"]
    found = [quick.one_dataset(row, seed, 9 * (seed < 3)) for seed in range(20)]
    table = quick.describe(row, found)
    assert table["n"] == 20 and table["z"] > 1 and table["null z"] > 1
    assert table["used"] >= table["trials"]
