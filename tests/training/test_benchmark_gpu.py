"""benchmarks/gpu.py on the CPU at reduced shapes, so that it works on the first try on a card."""

import sys
from dataclasses import replace
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
import torch

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"


@pytest.fixture(scope="module")
def bench():
    sys.path.insert(0, str(BENCHMARKS))
    try:
        yield import_module("gpu")
    finally:
        sys.path.remove(str(BENCHMARKS))
        for name in ("gpu", "one_hour", "printing"):
            sys.modules.pop(name, None)


def test_steps_are_measured_for_each_model(bench, capsys):
    bench.main(["steps", "--device", "cpu", "--small", "--steps", "1"])
    rows = [line.split("|")[1:-1] for line in capsys.readouterr().out.splitlines() if "|" in line]
    assert len(rows) == 2 + 2 * len(bench.MODELS)
    assert all(float(row[3]) > 0 and float(row[5]) >= 0 for row in rows[2:])
    assert {row[6].strip() for row in rows[2:]} == {row[7].strip() for row in rows[2:]} == {
        "not known"
    }
    assert [row[8].strip() for row in rows[2:] if "MindEye2" in row[1]] == ["1.000"] * 2


@pytest.mark.parametrize(("card", "key"), [
    ("NVIDIA H100 80GB HBM3", "H100"), ("NVIDIA H100 PCIe", "H100 PCIe"),
    ("NVIDIA A100-SXM4-40GB", "A100 40GB"), ("NVIDIA A100 80GB PCIe", "A100"),
    ("NVIDIA L40S", "L40S"), ("NVIDIA H200", "H200"),
])
def test_cards_are_known_by_their_name(bench, card, key):
    assert bench.rates_of(card) == bench.CARDS[key]
    assert bench.rates_of("NVIDIA GeForce GTX 1080") is None


def test_the_limit_is_the_longer_of_products_and_memory(bench):
    step = {"seconds": 0.1, "flops": 4e12, "bytes": 1e9}
    assert bench.shares_of(step, (1e14, 1e12)) == ("40.0%", "40.0% (products)")
    assert bench.shares_of({**step, "bytes": 5e10}, (1e14, 1e12)) == ("40.0%", "50.0% (memory)")


def test_a_model_that_does_not_fit_leaves_a_row(bench, monkeypatch, capsys):
    def fail(*_):
        raise torch.OutOfMemoryError

    monkeypatch.setattr(bench, "measure_step", fail)
    bench.main(["steps", "--device", "cpu", "--small"])
    assert capsys.readouterr().out.count("out of memory") == 2 * len(bench.MODELS)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu_the_command_for_the_cpu_is_named(bench, capsys):
    with pytest.raises(SystemExit):
        bench.main([])
    assert "--device cpu --small" in capsys.readouterr().err


@pytest.mark.parametrize(("stage", "voxels"), [("pretraining", (5, 7, 6)), ("fine-tuning", (9,))])
def test_operations_are_those_of_the_matrix_products(bench, stage, voxels):
    shapes = bench.Shapes(voxels, 6, hidden=8, tokens=2, width=4, components=10)
    found = bench.measure_step("MindEye2", shapes, "cpu", 1)
    n, h, out = 6, 8, 8
    first = 2 * n // len(voxels) * h * sum(voxels)
    # Forward, gradient of the weights, gradient of the input (the betas have none).
    expected = 2 * first + 3 * 2 * n * (8 * h * h + h * out) + 3 * 2 * n * 2 * 3 * 4 * 4
    logits = 3 * 2 * n * n * out - 2 * n * n * out  # the target has no gradient
    assert found["flops"] == expected + logits
    assert bench.STEPS[stage].hidden == 4096 and bench.STEPS[stage].tokens == 256


def test_published_parameters(bench):
    with torch.device("meta"):
        model = bench.MindEye2(bench.STEPS["fine-tuning"])
    sizes = [sum(p.numel() for p in part.parameters()) / 1e6
             for part in (model.subjects, model.blocks, model.out, model.projector)]
    assert np.allclose(sizes, [64.4, 134, 1745, 8.3], rtol=0.01)


def test_protocol_decodes(bench, monkeypatch, capsys):
    monkeypatch.setattr(bench, "TINY", bench.World((5, 4, 3), 1, 60, 20, 8, 6, 0.5))
    done = bench.run_protocols(bench.TINY, "cpu", selectors=("graded",))["graded"]
    assert set(done.seconds) == {"pretrain", "select", "adapt", "predict"}
    assert done.predicted.shape[0] == 20 and done.top1 > 0.3
    # The tables call the same, once for each device.
    both = {name: replace(done, top1=0.625) for name in ("graded", "troi-budget")}
    monkeypatch.setattr(bench, "run_protocols", lambda *options: both)
    bench.main(["protocol", "--device", "cpu", "--small"])
    bench.main(["agreement", "--device", "cpu", "--small"])
    printed = capsys.readouterr().out
    assert printed.count("0.625") == 6 and "0.00e+00 | 1.000000" in printed


def test_disagreement_is_in_units_of_the_predictions(bench):
    one = np.random.default_rng(0).standard_normal((9, 4))
    largest, correlation = bench.disagreement(2 * one, 2 * one + np.eye(9, 4))
    assert largest == pytest.approx(1 / np.sqrt(np.mean((2 * one) ** 2))) and correlation < 1
