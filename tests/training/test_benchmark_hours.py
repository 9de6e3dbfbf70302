"""benchmarks/hours.py counts the fits of a decoding, wherever they are made."""

import sys
from importlib import import_module
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"


def test_fits_of_a_decoding_are_counted(monkeypatch):
    monkeypatch.setattr(sys, "path", [str(BENCHMARKS), *sys.path])
    hours = import_module("hours")
    sys.modules.pop("hours")
    n_fits, seconds = hours.count_fits(6, 5)
    # One to all trials, and those of folds: of voxels, share of the trunk, epochs.
    assert 4 < n_fits < 20
    assert seconds > 0


@pytest.mark.parametrize(("n", "n_folds"), [(100, 5), (500, 5), (1000, 3), (5000, 1)])
def test_large_fits_take_fewer_folds(monkeypatch, n, n_folds):
    monkeypatch.setattr(sys, "path", [str(BENCHMARKS), *sys.path])
    hours = import_module("hours")
    sys.modules.pop("hours")
    double, _ = hours.fit_operations(n, 10**6, 0)
    inner = 0.8 * n
    each = hours.EIGEN * inner**3 + 2 * 0.2 * n * inner**2
    assert double == pytest.approx(n_folds * each + hours.CHOLESKY * n**3)
