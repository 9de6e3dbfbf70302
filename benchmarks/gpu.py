"""Training on one GPU: steps beside MindEye2's architecture, the one-hour protocol, agreement.

    python benchmarks/gpu.py                   on the first GPU, at the published shapes
    python benchmarks/gpu.py --device cpu --small      everything at shapes that a CPU can do

``steps``: one optimizer step in bf16 of pretraining (7 participants, batch 63) and of fine-tuning
(1 participant, batch 24): of MindEye2 (arXiv 2403.11207: hidden 4,096, 256 tokens of 1,664; the
retrieval branch, with its residual blocks as the paper describes them), of this program's trunk at
the same shapes, and of what this program trains by default (1,024 components). *peak* is the
share of the card's bf16 peak (dense, from its data sheet) that the matrix products of a step reach.
*limit* is the share of the limit that binds: the longer of the time of these products at that peak,
and of the time to move what a step moves at least, at the bandwidth of the memory: 36 bytes for
each parameter that is trained (forward pass 4, gradient 4, AdamW 28, in single precision) and 4 for
each other one. Activations are not counted, so that the share is too small rather than too large.

``protocol``: 7 source participants and 1 hour (750 trials) of a new one, 15,724 voxels each, with
1,000 test images shown three times; responses are simulated. Seconds of each part, and top-1 among
300 images. Selectors share the pretrained model.

``agreement``: the same protocol, smaller, on CPU and GPU.
"""

from __future__ import annotations

import argparse
import gc
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from one_hour import REDUCED, TINY, World, run_protocols
from printing import table
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from bids_decoder.models.losses import Mix, bimixco
from bids_decoder.models.networks import InputLayer, Trunk
from bids_decoder.training.learners import fresh_weight

CARDS: dict[str, tuple[float, float]] = {
    "H100 PCIe": (756e12, 2.0e12), "H100 NVL": (835e12, 3.9e12), "H100": (989e12, 3.35e12),
    "H200 NVL": (835e12, 4.8e12), "H200": (989e12, 4.8e12), "A100 40GB": (312e12, 1.555e12),
    "A100": (312e12, 2.039e12), "L40S": (362e12, 0.864e12), "L4": (121e12, 0.3e12),
}
"""Dense bf16 operations and bytes of memory per second, by words of the card's name; the first
whose words are all there."""

BYTES_TRAINED, BYTES_FROZEN = 36, 4
"""Of each parameter that a step moves at least."""


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
        ``seconds`` (median), ``memory`` (peak in GB), ``parameters`` (trained), ``flops`` and
        ``bytes`` (least) of one step.
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
    n_trained, n_all = (
        sum(p.numel() for p in some) for some in (trained, model.parameters())
    )
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
        "parameters": float(n_trained), "flops": float(counter.get_total_flops()),
        "bytes": float(BYTES_TRAINED * n_trained + BYTES_FROZEN * (n_all - n_trained)),
    }


def name_of(device: str) -> str:
    """Return the name of the card, or of the processor."""
    if torch.device(device).type != "cuda":
        return "CPU"
    return torch.cuda.get_device_name(torch.device(device))


def rates_of(card: str) -> tuple[float, float] | None:
    """Return operations and bytes per second of a card with this name, if they are known."""
    words = set(card.replace("-", " ").split())
    return next((rates for key, rates in CARDS.items() if words.issuperset(key.split())), None)


def shares_of(found: dict[str, float], rates: tuple[float, float] | None) -> tuple[str, str]:
    """Say which share a step reaches of the peak of bf16, and of the limit that binds."""
    if rates is None:
        return "not known", "not known"
    computing, moving = found["flops"] / rates[0], found["bytes"] / rates[1]
    name = "memory" if moving > computing else "products"
    return (f"{computing / found['seconds']:.1%}",
            f"{max(computing, moving) / found['seconds']:.1%} ({name})")


def clear(device: str) -> None:
    """Give memory of the model before back to the device."""
    gc.collect()
    if torch.device(device).type == "cuda":
        torch.cuda.empty_cache()


def bench_steps(options: argparse.Namespace) -> None:
    """Print time, memory and shares of the limits of a step of each model."""
    name = name_of(options.device)
    rows = [(f"step on {name}", "model", "million parameters", "ms", "peak GB", "TFLOP per step",
             "peak", "limit", "time / MindEye2's", "memory / MindEye2's")]
    for stage, published in STEPS.items():
        few = tuple(n_voxels // 200 for n_voxels in published.voxels)
        shapes = replace(published, voxels=few, **SMALL) if options.small else published
        theirs: dict[str, float] | None = None
        for model in MODELS:
            clear(options.device)
            try:
                found = measure_step(model, shapes, options.device, options.steps)
            except torch.OutOfMemoryError:
                rows.append((stage, model, "", "out of memory", *[""] * 6))
                continue
            theirs = found if model == "MindEye2" else theirs
            ratios = ["", ""] if theirs is None else [
                f"{found[key] / theirs[key]:.3f}" if theirs[key] else ""
                for key in ("seconds", "memory")
            ]
            rows.append((
                stage, model, f"{found['parameters'] / 1e6:.1f}", f"{found['seconds'] * 1e3:.2f}",
                f"{found['memory']:.2f}", f"{found['flops'] / 1e12:.4f}",
                *shares_of(found, rates_of(name)), *ratios,
            ))
    table(rows)


def bench_protocol(options: argparse.Namespace) -> None:
    """Print seconds of the parts of the one-hour protocol."""
    done = run_protocols(TINY if options.small else World(), options.device)
    parts = list(next(iter(done.values())).seconds)
    rows = [("one hour, selector", *(f"{part} s" for part in parts), "all s", "top-1")]
    for selector, one in done.items():
        seconds = [*one.seconds.values(), sum(one.seconds.values())]
        rows.append((selector, *(f"{value:.1f}" for value in seconds), f"{one.top1:.3f}"))
    table(rows)


def disagreement(one: np.ndarray, other: np.ndarray) -> tuple[float, float]:
    """Return the largest difference of two predictions in their rms, and their correlation."""
    size = float(np.sqrt(np.mean(np.square(one))))
    correlation = np.corrcoef(one.ravel(), other.ravel())[0, 1]
    return float(np.abs(one - other).max()) / size, float(correlation)


def bench_agreement(options: argparse.Namespace) -> None:
    """Print how far predictions on the CPU and on the device are apart."""
    world = TINY if options.small else REDUCED
    rows = [("selector", "largest difference / rms", "correlation", "top-1 CPU", "top-1 device")]
    here, there = (run_protocols(world, place) for place in ("cpu", options.device))
    for selector, one in here.items():
        other = there[selector]
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
    if torch.device(options.device).type == "cuda" and not torch.cuda.is_available():
        parser.error("no GPU is usable here; --device cpu --small runs everything on the CPU")
    for name in [options.name] if options.name else BENCHES:
        print(f"\n{name}", flush=True)
        started = time.perf_counter()
        BENCHES[name](options)
        print(f"{name}: {time.perf_counter() - started:.0f} s", flush=True)


if __name__ == "__main__":
    main()
