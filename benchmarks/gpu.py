"""Training on one GPU: steps beside MindEye2's architecture, the one-hour protocol, agreement.

    python benchmarks/gpu.py                   on the first GPU, at the published shapes
    python benchmarks/gpu.py --device cpu --small      everything at shapes that a CPU can do

``steps``: one optimizer step in bf16 of pretraining (7 participants, batch 63) and of fine-tuning
(1 participant, batch 24): of MindEye2 (arXiv 2403.11207: hidden 4,096, 256 tokens of 1,664; the
retrieval branch, with its residual blocks as the paper describes them), of this program's trunk at
the same shapes, and of what this program trains by default (1,024 components). *roofline* is the
share of the card's bf16 peak (dense, from its data sheet) that the matrix products of a step reach.

``protocol``: 7 source participants and 1 hour (750 trials) of a new one, 15,724 voxels each, with
1,000 test images shown three times; responses are simulated. Seconds of each part, and top-1 among
300 images.

``agreement``: the same protocol, smaller, on CPU and GPU.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
import torch
from pretraining import Meter, table
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from bids_decoder.config import Network, Troi
from bids_decoder.evaluation.similarity import cosine_similarity
from bids_decoder.models.losses import Mix, bimixco
from bids_decoder.models.networks import InputLayer, Trunk
from bids_decoder.training.decoders import FitContext
from bids_decoder.training.learners import fresh_weight
from bids_decoder.training.troi import TroiDecoder
from bids_decoder.trials import Person, Targets, VoxelGrid

PEAKS = {"H100": 989e12, "H200": 989e12, "A100": 312e12, "L40S": 362e12, "L4": 121e12}
"""Dense bf16 operations per second, by a part of the card's name."""


@dataclass(frozen=True)
class Shapes:
    """Shapes of one step.

    Parameters
    ----------
    voxels : tuple of int
        Of each participant in the batch.
    batch : int
        Trials in the batch, the same number of each participant.
    hidden, tokens, width, components : int
    """

    voxels: tuple[int, ...]
    batch: int
    hidden: int = 4096
    tokens: int = 256
    width: int = 1664
    components: int = 1024


STEPS = {
    "pretraining": Shapes((14278, 15226, 13153, 13039, 17907, 12682, 14386), 63),
    "fine-tuning": Shapes((15724,), 24),
}
SMALL = {"hidden": 32, "tokens": 4, "width": 16, "components": 24}


class MindEye2(nn.Module):
    """Retrieval branch of MindEye2: linear layers of participants, residual MLP, projector."""

    def __init__(self, shapes: Shapes) -> None:
        super().__init__()
        h, self.width = shapes.hidden, shapes.width
        self.subjects = nn.ModuleList(nn.Linear(v, h) for v in shapes.voxels)
        self.blocks = nn.ModuleList(
            nn.Sequential(
                nn.LayerNorm(h), nn.Linear(h, h), nn.GELU(), nn.Dropout(0.15), nn.Linear(h, h)
            ) for _ in range(4)
        )
        self.out = nn.Linear(h, shapes.tokens * self.width)
        self.projector = nn.Sequential(*(
            layer for _ in range(3)
            for layer in (nn.LayerNorm(self.width), nn.GELU(), nn.Linear(self.width, self.width))
        ))

    def forward(self, betas: list[Tensor]) -> Tensor:
        """Map the betas of each participant to flattened tokens (n, tokens * width)."""
        stream = torch.cat([f(x) for f, x in zip(self.subjects, betas, strict=True)])
        for block in self.blocks:
            stream = stream + block(stream)
        tokens = self.out(stream).view(len(stream), -1, self.width)
        return self.projector(tokens).flatten(1)


class SameShapes(nn.Module):
    """Input layers and residual trunk of this program, with a linear layer to all tokens."""

    def __init__(self, shapes: Shapes) -> None:
        super().__init__()
        h = shapes.hidden
        self.layers = nn.ModuleList(
            InputLayer(fresh_weight(v, h, 0), torch.zeros(h)) for v in shapes.voxels
        )
        self.trunk = Trunk(h, h, "residual", h, 4)
        self.out = nn.Linear(h, shapes.tokens * shapes.width)

    def forward(self, betas: list[Tensor]) -> Tensor:
        """Map the betas of each participant to flattened tokens (n, tokens * width)."""
        latents = torch.cat([f(x) for f, x in zip(self.layers, betas, strict=True)])
        return self.out(self.trunk(latents, latents.new_zeros(len(latents), 1)))


class Default(nn.Module):
    """What this program trains: the trunk on latents, or one input layer through a frozen trunk."""

    def __init__(self, shapes: Shapes) -> None:
        super().__init__()
        n = shapes.components
        self.trunk = Trunk(n, n, "linear")
        self.layer = None
        if len(shapes.voxels) == 1:
            self.layer = InputLayer(fresh_weight(shapes.voxels[0], n, 0), torch.zeros(n))
            self.trunk.requires_grad_(False)

    def forward(self, betas: list[Tensor]) -> Tensor:
        """Map betas of one participant, or latents of several, to components."""
        latents = torch.cat(betas) if self.layer is None else self.layer(betas[0])
        return self.trunk(latents, latents.new_zeros(len(latents), 1))


MODELS: dict[str, Callable[[Shapes], nn.Module]] = {
    "MindEye2": MindEye2, "this trunk, same shapes": SameShapes, "this program": Default,
}


def measure_step(name: str, shapes: Shapes, device: str, n_steps: int) -> dict[str, float]:
    """Time optimizer steps (AdamW, BiMixCo) in bf16.

    Returns
    -------
    dict
        ``seconds`` (median), ``memory`` (peak in GB), ``parameters`` (trained), ``flops`` of one
        step.
    """
    torch.manual_seed(0)
    with torch.device(device):
        model = MODELS[name](shapes)
    model = model.to(device).train()
    is_default = isinstance(model, Default)
    n_out = shapes.components if is_default else shapes.tokens * shapes.width
    widths = shapes.voxels
    if is_default and model.layer is None:
        widths = (shapes.components,) * len(shapes.voxels)
    betas = [torch.randn(shapes.batch // len(widths), v, device=device) for v in widths]
    n = sum(map(len, betas))
    target = torch.randn(n, n_out, device=device)
    mix = Mix(torch.arange(n, device=device).flip(0), torch.full((n,), 0.8, device=device))
    same, scale = torch.eye(n, dtype=torch.bool, device=device), torch.tensor(100.0, device=device)
    trained = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(trained, 3e-4, weight_decay=1e-2)

    def step() -> None:
        optimizer.zero_grad(set_to_none=True)
        with torch.autocast(torch.device(device).type, torch.bfloat16):
            embedding = model(betas)
        bimixco(embedding.float(), target, same, mix, scale).backward()
        optimizer.step()

    with FlopCounterMode(display=False) as counter:
        step()
    step()
    meters = []
    for _ in range(n_steps):
        with Meter(device) as meter:
            step()
        meters.append(meter)
    return {
        "seconds": float(np.median([m.seconds for m in meters])),
        "memory": max(m.memory for m in meters),
        "parameters": float(sum(p.numel() for p in trained)),
        "flops": float(counter.get_total_flops()),
    }


def card_of(device: str) -> tuple[str, float | None]:
    """Return the name of the device, and its bf16 peak if it is known."""
    if torch.device(device).type != "cuda":
        return "CPU", None
    name = torch.cuda.get_device_name(torch.device(device))
    words = name.replace("-", " ").split()
    return name, next((peak for key, peak in PEAKS.items() if key in words), None)


def bench_steps(options: argparse.Namespace) -> None:
    """Print time, memory and roofline of a step of each model."""
    name, peak = card_of(options.device)
    rows = [(f"step on {name}", "model", "million parameters", "ms", "peak GB", "TFLOP per step",
             "roofline")]
    for stage, published in STEPS.items():
        few = tuple(n_voxels // 200 for n_voxels in published.voxels)
        shapes = replace(published, voxels=few, **SMALL) if options.small else published
        for model in MODELS:
            try:
                found = measure_step(model, shapes, options.device, options.steps)
            except torch.cuda.OutOfMemoryError:
                rows.append((stage, model, "", "out of memory", "", "", ""))
                continue
            share = found["flops"] / found["seconds"] / peak if peak else None
            rows.append((
                stage, model, f"{found['parameters'] / 1e6:.1f}", f"{found['seconds'] * 1e3:.2f}",
                f"{found['memory']:.2f}", f"{found['flops'] / 1e12:.4f}",
                "peak not known" if share is None else f"{share:.1%}",
            ))
    table(rows)


@dataclass(frozen=True)
class World:
    """Shape of a simulated one-hour protocol.

    Parameters
    ----------
    box : tuple of int
        Voxels along each axis.
    n_sources, n_trials, n_test : int
        Source participants, training trials of each participant, test images (shown 3 times).
    n_dims, n_signal : int
        Length of the image vectors, and their dimensions that voxels respond to.
    noise : float
        Standard deviation of the noise of a voxel; signal has 1.
    """

    box: tuple[int, int, int] = (29, 24, 23)
    n_sources: int = 7
    n_trials: int = 750
    n_test: int = 1000
    n_dims: int = 1664
    n_signal: int = 128
    noise: float = 4.0


REDUCED = World((10, 10, 8), 2, 300, 100, 64, 32, 2.0)
TINY = World((6, 5, 4), 2, 90, 40, 24, 12, 1.0)


def make_people(world: World, seed: int) -> tuple[list[Person], Person, Targets]:
    """Simulate the training trials of all participants and the test trials of the last one."""
    rng = np.random.default_rng(seed)
    n_people, n_voxels = world.n_sources + 1, int(np.prod(world.box))
    n_images = n_people * world.n_trials + world.n_test
    latents = rng.standard_normal((n_images, world.n_signal), dtype=np.float32)
    mixing = rng.standard_normal((world.n_signal, world.n_dims), dtype=np.float32)
    ids = tuple(f"{row:06d}" for row in range(n_images))
    targets = Targets(ids, latents @ mixing, "features")
    grid = VoxelGrid(np.ones(world.box, bool), np.diag([1.8, 1.8, 1.8, 1.0]))

    def person(label: int, rows: np.ndarray, tuning: np.ndarray, split: str) -> Person:
        noise = rng.standard_normal((len(rows), n_voxels), dtype=np.float32)
        betas = latents[rows] @ tuning / np.sqrt(world.n_signal) + world.noise * noise
        trials = pd.DataFrame({
            "trial": np.arange(1, len(rows) + 1), "stimulus": np.array(ids)[rows],
            "run_group": [f"run-{row * 12 // len(rows):02d}" for row in range(len(rows))],
            "split": split,
        })
        return Person(f"{label:02d}", grid, betas.astype(np.float32), trials, rows)

    people = []
    for number in range(n_people):
        tuning = rng.standard_normal((world.n_signal, n_voxels), dtype=np.float32)
        # Half of the voxels, one side of the box, have no signal.
        tuning[:, np.arange(n_voxels) >= n_voxels // 2] = 0
        rows = np.arange(number * world.n_trials, (number + 1) * world.n_trials)
        people.append(person(number + 1, rows, tuning, "train"))
    tested = np.repeat(np.arange(n_images - world.n_test, n_images), 3)
    return people, person(n_people, tested, tuning, "test"), targets


@dataclass
class Protocol:
    """Result of a protocol: seconds by part, predictions of test images, top-1 among the pool."""

    seconds: dict[str, float]
    predicted: np.ndarray
    top1: float


def run_protocol(world: World, selector: str, device: str, seed: int = 1) -> Protocol:
    """Pretrain on the sources, fit the last participant, and search the test images."""
    people, test, targets = make_people(world, seed)
    context = FitContext(Network(), Troi(selector=selector), seed, device)
    decoder, seconds = TroiDecoder(), {}
    with timed(seconds, "pretrain"):
        pretrained = decoder.pretrain(people[:-1], targets, context)
    with timed(seconds, "select"):
        selection = decoder.select(people[-1], targets, pretrained, context)
    with timed(seconds, "adapt"):
        model = decoder.adapt(people[-1], targets, selection, pretrained, context)
    with timed(seconds, "predict"):
        single = decoder.predict(model, test.betas)
        gallery = decoder.gallery(model, targets)
    predicted = single.reshape(world.n_test, 3, -1).mean(axis=1)
    pool = min(300, world.n_test)
    found = cosine_similarity(predicted[:pool], gallery[-world.n_test :][:pool]).argmax(axis=1)
    return Protocol(seconds, predicted, float((found == np.arange(pool)).mean()))


@contextmanager
def timed(seconds: dict[str, float], part: str) -> Iterator[None]:
    """Add the seconds of a block."""
    started = time.perf_counter()
    yield
    seconds[part] = time.perf_counter() - started


def bench_protocol(options: argparse.Namespace) -> None:
    """Print seconds of the parts of the one-hour protocol."""
    world, rows = TINY if options.small else World(), []
    for selector in ("graded", "troi-budget"):
        done = run_protocol(world, selector, options.device)
        parts = [f"{value:.1f}" for value in done.seconds.values()]
        rows.append((selector, *parts, f"{sum(done.seconds.values()):.1f}", f"{done.top1:.3f}"))
    table([("one hour, selector", *(f"{part} s" for part in done.seconds), "all s",
            "top-1"), *rows])


def disagreement(one: np.ndarray, other: np.ndarray) -> tuple[float, float]:
    """Return the largest difference of two predictions in their rms, and their correlation."""
    size = float(np.sqrt(np.mean(np.square(one))))
    correlation = np.corrcoef(one.ravel(), other.ravel())[0, 1]
    return float(np.abs(one - other).max()) / size, float(correlation)


def bench_agreement(options: argparse.Namespace) -> None:
    """Print how far predictions on the CPU and on the device are apart."""
    world = TINY if options.small else REDUCED
    rows = [("selector", "largest difference / rms", "correlation", "top-1 CPU", "top-1 device")]
    for selector in ("graded", "troi-budget"):
        one, other = (run_protocol(world, selector, place) for place in ("cpu", options.device))
        largest, correlation = disagreement(one.predicted, other.predicted)
        rows.append((selector, f"{largest:.2e}", f"{correlation:.6f}", f"{one.top1:.3f}",
                     f"{other.top1:.3f}"))
    table(rows)


BENCHES = {"steps": bench_steps, "protocol": bench_protocol, "agreement": bench_agreement}


def main(words: list[str] | None = None) -> None:
    """Run what the command line names."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", nargs="?", choices=BENCHES)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--small", action="store_true")
    parser.add_argument("--steps", type=int, default=10)
    options = parser.parse_args(words)
    for name in [options.name] if options.name else BENCHES:
        print(f"\n{name}")
        BENCHES[name](options)


if __name__ == "__main__":
    main()
