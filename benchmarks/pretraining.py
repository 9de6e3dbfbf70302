"""Cost of training: stage 1 with and without compaction, a pretraining step, many participants.

    python benchmarks/pretraining.py           all tables, each measurement in its own process
    python benchmarks/pretraining.py stage1    96,000 voxels, 1,024 latents, 15 epochs, 750 trials
    python benchmarks/pretraining.py step      one optimizer step at the shapes of MindEye2
    python benchmarks/pretraining.py people    memory of pretraining on 4 and on 64 participants

    --device cuda runs ``step`` and ``stage1`` on a GPU. ``--epochs`` and ``--trials`` shorten
    ``stage1``, the same for both variants. A step that does not fit into the free memory is
    skipped with a message.

Memory is the peak of the process above its memory before the measured part (peak of the
allocator on a GPU), so that imports and data do not affect ratios.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from bids_decoder.config import Network, Troi
from bids_decoder.models.losses import Mix, bimixco
from bids_decoder.models.networks import InputLayer, Trunk
from bids_decoder.training.adaptation import Adaptation, SharedModel
from bids_decoder.training.decoders import FitContext
from bids_decoder.training.gates import learn_gates
from bids_decoder.training.learners import fresh_weight
from bids_decoder.training.pretrain import LatentScale, build_trunk
from bids_decoder.training.selection.learned import budget_schedule
from bids_decoder.training.troi import TroiDecoder
from bids_decoder.trials import Person, Targets, VoxelGrid

BOX = (60, 40, 40)
BUDGET = 3000
STAGE1 = ("half", "compacted", "dense")
STEPS = ("18000x1", "13000x1", "15724x1", "15724x256")
PEOPLE = (4, 64)
BATCH = 63
TOKEN_WIDTH = 1664
TRUNK_WIDTH = 4096


def table(rows: list[tuple]) -> None:
    """Print rows as a Markdown table; the first row is the head."""
    for number, row in enumerate(rows):
        print("| " + " | ".join(map(str, row)) + " |", flush=True)
        if number == 0:
            print("|" + " --- |" * len(row))


class Meter:
    """Seconds and peak memory, in GB, of a block of code."""

    def __init__(self, device: str) -> None:
        self.device = torch.device(device)
        self.seconds = self.memory = 0.0

    def __enter__(self) -> Meter:
        self._before, self._stop = _resident(), threading.Event()
        self._peak = self._before
        self._watch = threading.Thread(target=self._sample, daemon=True)
        self._watch.start()
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
            torch.cuda.reset_peak_memory_stats(self.device)
        self._started = time.perf_counter()
        return self

    def __exit__(self, *_: object) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
            self.memory = torch.cuda.max_memory_allocated(self.device) / 1e9
        self.seconds = time.perf_counter() - self._started
        self._stop.set()
        self._watch.join()
        if self.device.type == "cpu":
            self.memory = self._peak - self._before

    def _sample(self) -> None:
        while not self._stop.wait(0.02):
            self._peak = max(self._peak, _resident())


def _resident() -> float:
    """Memory of this process that is not backed by files, in GB."""
    for line in Path("/proc/self/status").read_text(encoding="utf-8").splitlines():
        if line.startswith("RssAnon:"):
            return int(line.split()[1]) / 1e6
    raise OSError("no RssAnon in /proc/self/status: this benchmark needs Linux")


def make_person(
    n_trials: int, shape: tuple[int, int, int], label: str, folder: Path | None = None
) -> Person:
    """Draw responses without signal; in a memory map below *folder* if given."""
    n_voxels = int(np.prod(shape))
    rng = np.random.default_rng(int(label))
    if folder is None:
        betas = rng.standard_normal((n_trials, n_voxels), dtype=np.float32)
    else:
        path = folder / f"{label}.npy"
        np.save(path, rng.standard_normal((n_trials, n_voxels), dtype=np.float32))
        betas = np.load(path, mmap_mode="r")
    trials = pd.DataFrame({
        "trial": np.arange(1, n_trials + 1),
        "run_group": [f"run-{i // 62:02d}" for i in range(n_trials)],
        "stimulus": [f"{label}-{i}" for i in range(n_trials)], "split": "train",
    })
    grid = VoxelGrid(np.ones(shape, bool), np.diag([1.8, 1.8, 1.8, 1.0]))
    return Person(label, grid, betas, trials, np.arange(n_trials))


def measure_stage1(variant: str, options: argparse.Namespace) -> dict[str, float]:
    """Run stage 1 on the box: the layer made smaller, the same from half the voxels, or dense.

    Half is what a prior from encoding scores leaves of voxels without signal.
    """
    person = make_person(options.trials, BOX, "1")
    rng = np.random.default_rng(0)
    vectors = rng.standard_normal((options.trials, options.latents), dtype=np.float32)
    settings = Network(batch_size=24)
    shared = SharedModel(
        build_trunk(options.latents, settings, 0).eval(), LatentScale(1.0, 9.0, 1.0), vectors,
        False,
    )
    adaptation = Adaptation(person, shared, settings, seed=1, device=options.device)
    n_voxels = person.grid.n_voxels
    weights = np.ones(n_voxels)
    if variant == "half":
        weights[::2] = 0
    budgets = budget_schedule(int(weights.sum()), BUDGET, options.epochs)
    if variant == "dense":
        budgets = [n_voxels] * options.epochs
    with Meter(options.device) as meter:
        learned = learn_gates(adaptation, weights, budgets, 3.0)
    return {"seconds": meter.seconds, "memory": meter.memory, "left": float(len(learned.kept))}


def bench_stage1(options: argparse.Namespace) -> None:
    """Print time and memory of all variants and their ratio to the dense layer."""
    results = [alone("stage1", variant, options) for variant in STAGE1]
    rows = [("stage 1", "s", "peak GB", "voxels left", "s / dense", "GB / dense")]
    for variant, result in zip(STAGE1, results, strict=True):
        ratio = [result[key] / results[-1][key] for key in ("seconds", "memory")]
        rows.append((variant, f"{result['seconds']:.1f}", f"{result['memory']:.2f}",
                     int(result["left"]), f"{ratio[0]:.2f}", f"{ratio[1]:.2f}"))
    table(rows)


def step_gigabytes(n_voxels: int, n_tokens: int) -> float:
    """Weights, gradients and two moments of every parameter, and the trunk's constant."""
    n_out = TOKEN_WIDTH * n_tokens
    trained = n_voxels * TRUNK_WIDTH + 2 * 4 * TRUNK_WIDTH**2 + 2 * TRUNK_WIDTH * n_out
    return (16 * trained + 4 * TRUNK_WIDTH * n_out) / 1e9


def free_gigabytes(device: str) -> float:
    """Memory that may be used, in GB."""
    if torch.device(device).type == "cuda":
        return torch.cuda.mem_get_info()[0] / 1e9
    return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 1e9


def measure_step(variant: str, options: argparse.Namespace) -> dict[str, float]:
    """Time steps through input layer and trunk: forward, loss, backward, AdamW."""
    n_voxels, n_tokens = (int(part) for part in variant.split("x"))
    needed, free = step_gigabytes(n_voxels, n_tokens), free_gigabytes(options.device)
    if needed > 0.7 * free:
        return {"needed": needed, "free": free}
    device = torch.device(options.device)
    generator = torch.Generator().manual_seed(0)
    n_out = TOKEN_WIDTH * n_tokens
    layer = InputLayer(fresh_weight(n_voxels, TRUNK_WIDTH, 0), torch.zeros(TRUNK_WIDTH)).to(device)
    with torch.device(device):
        trunk = WideTrunk(n_out)
    betas = torch.randn(BATCH, n_voxels, generator=generator).to(device)
    target = torch.randn(BATCH, n_out, generator=generator).to(device)
    mix = Mix(torch.arange(BATCH, device=device).flip(0), torch.full((BATCH,), 0.8, device=device))
    same = torch.eye(BATCH, dtype=torch.bool, device=device)
    parameters = [*layer.parameters(), *trunk.parameters()]
    optimizer = torch.optim.AdamW(parameters, 3e-4)

    def step() -> None:
        optimizer.zero_grad(set_to_none=True)
        embedding = trunk(layer(mix.apply(betas)))
        bimixco(embedding, target, same, mix, torch.tensor(100.0, device=device)).backward()
        optimizer.step()

    with Meter(options.device) as meter:
        step()
    times = []
    for _ in range(options.steps):
        with Meter(options.device) as one:
            step()
        times.append(one.seconds)
        meter.memory = max(meter.memory, one.memory)
    return {"seconds": float(np.median(times)), "memory": meter.memory,
            "parameters": float(sum(p.numel() for p in parameters))}


class WideTrunk(torch.nn.Module):
    """Our trunk from latents to a narrower or wider output: residual blocks, one linear layer."""

    def __init__(self, n_out: int) -> None:
        super().__init__()
        self.trunk = Trunk(TRUNK_WIDTH, TRUNK_WIDTH, "residual", TRUNK_WIDTH, 4)
        self.out = torch.nn.Linear(TRUNK_WIDTH, n_out)

    def forward(self, latents: torch.Tensor) -> torch.Tensor:
        """Map latents (n, width) to embeddings (n, n_out)."""
        context = torch.zeros(len(latents), 1, device=latents.device)
        return self.out(self.trunk(latents, context))


def bench_step(options: argparse.Namespace) -> None:
    """Print time and memory of a pretraining step, batch 63."""
    rows = [("voxels x tokens", "million parameters", "s per step", "peak GB beyond the weights")]
    for variant in STEPS:
        result = alone("step", variant, options)
        if "needed" in result:
            rows.append((variant, "left out", f"needs {result['needed']:.0f} GB",
                         f"{result['free']:.0f} GB are free"))
        else:
            rows.append((variant, f"{result['parameters'] / 1e6:.0f}",
                         f"{result['seconds']:.2f}", f"{result['memory']:.2f}"))
    table(rows)


def measure_people(variant: str, options: argparse.Namespace) -> dict[str, float]:
    """Pretrain on so many participants whose responses lie on disk."""
    count, n_trials, shape = int(variant), 310, (20, 20, 10)
    rng = np.random.default_rng(0)
    vectors = rng.standard_normal((n_trials, 128), dtype=np.float32)
    targets = Targets(tuple(f"s{i}" for i in range(n_trials)), vectors, "features")
    context = FitContext(Network(pretrain_epochs=2), Troi(), 1, "cpu")

    class People:
        """Made one after the other at each iteration."""

        def __iter__(self) -> Iterator[Person]:
            for number in range(count):
                yield make_person(n_trials, shape, str(number + 1), Path(name))

    with tempfile.TemporaryDirectory() as name, Meter("cpu") as meter:
        TroiDecoder().pretrain(People(), targets, context)
    whole = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    return {"seconds": meter.seconds, "memory": meter.memory, "whole": whole}


def bench_people(options: argparse.Namespace) -> None:
    """Print memory of pretraining for few and many participants, and the ratio."""
    results = [alone("people", str(count), options) for count in PEOPLE]
    rows = [("source people", "s", "peak GB above the start", "peak GB of the process")]
    for count, result in zip(PEOPLE, results, strict=True):
        rows.append((count, f"{result['seconds']:.1f}", f"{result['memory']:.3f}",
                     f"{result['whole']:.3f}"))
    ratio = [results[1][key] / results[0][key] for key in ("memory", "whole")]
    rows.append(("ratio", "", f"{ratio[0]:.2f}", f"{ratio[1]:.2f}"))
    table(rows)


MEASURES = {"stage1": measure_stage1, "step": measure_step, "people": measure_people}
BENCHES = {"stage1": bench_stage1, "step": bench_step, "people": bench_people}


def alone(name: str, variant: str, options: argparse.Namespace) -> dict[str, float]:
    """Measure in a process of its own, so that peaks of memory do not mix."""
    arguments = [
        f"--{key}={getattr(options, key)}"
        for key in ("device", "epochs", "trials", "latents", "steps")
    ]
    command = [sys.executable, __file__, name, "--variant", variant, *arguments]
    return json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)


def main() -> None:
    """Run what the command line names."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", nargs="?", choices=BENCHES)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--epochs", type=int, default=15)
    parser.add_argument("--trials", type=int, default=750)
    parser.add_argument("--latents", type=int, default=1024)
    parser.add_argument("--steps", type=int, default=3)
    parser.add_argument("--variant", help="one measurement, printed as JSON")
    options = parser.parse_args()
    if options.variant:
        print(json.dumps(MEASURES[options.name](options.variant, options)))
        return
    for name in [options.name] if options.name else BENCHES:
        print(f"\n{name}")
        BENCHES[name](options)


if __name__ == "__main__":
    main()
