"""Encoding models: where the gain of the end-to-end network comes from, and how fast it trains.

    python benchmarks/encoding.py gain     accuracy of all encoders on simulated voxels, by seed
    python benchmarks/encoding.py speed    pictures per second in training

``gain`` simulates voxels that follow pictures in one of two ways (see
``bids_decoder.simulate.encoding``): ``energy``, which the Gabor pyramid of the two-step models
holds already, and ``conjunction``, which no weighted sum of it gives. All encoders get the same
trials, voxels, inner split and selection. Beside the encoders of the program there are: the
end-to-end network without output noise, and two-step models on the features of its
convolutions as they were drawn, untrained. Accuracy is the mean correlation with responses to 60
held-out pictures (three repeats) over voxels selected by all encoders together on training
trials. A seed changes pictures, tuning, noise and weights. Intervals are over seeds (t).

``speed`` times training steps on random pictures: the network as published (128 pixels, 128
channels, batches of 64) and a small one. On a CPU processor time over threads counts, which
other work on the machine does not add to.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import scipy.stats
import torch
from printing import table

from bids_decoder.evaluation.voxelwise import (
    Encoded,
    Measured,
    best_voxels,
    common_selection,
    voxel_correlations,
)
from bids_decoder.models.encoding import (
    EncodingNetwork,
    PictureFeatures,
    n_features,
    scale_pictures,
    selective_loss,
)
from bids_decoder.seeds import derive_seed
from bids_decoder.simulate.encoding import make_encoded_world
from bids_decoder.simulate.images import write_scene
from bids_decoder.stimuli.grey import load_grey
from bids_decoder.stimuli.pyramid import GaborPyramid
from bids_decoder.training.encoders import (
    EncodeContext,
    EncodingTask,
    Stimuli,
    fit_encoder,
    load_encoder,
    make_task,
)
from bids_decoder.training.encoding_settings import Encoding
from bids_decoder.trials import Person, Targets, VoxelGrid
from bids_decoder.workflows.worker import keep_memory

SIZE, CHANNELS = 24, 16
N_TEST, N_REPEATS, N_RUNS = 60, 3, 10
N_VOXELS, N_RESPONSIVE = 120, 60
UNTRAINED = " on untrained convolutions"
DIFFERENCES = (
    ("etecrm", "ridge", "all of it"),
    ("etecrm", "twostep-selective", "learned features, selective"),
    ("etecrm-plain", "twostep-plain", "learned features, plain"),
    ("etecrm", f"twostep-selective{UNTRAINED}", "learned against untrained features, selective"),
    ("etecrm", "etecrm-plain", "selective optimisation, end to end"),
    ("etecrm", "etecrm without noise", "output noise alone, end to end"),
    ("twostep-selective", "twostep-plain", "selective optimisation, given features"),
    ("twostep-plain", "ridge", "region by gradient against ridge per voxel"),
)


def draw_stimuli(n_pictures: int, seed: int) -> Stimuli:
    """Draw the held-out pictures, then as many others, and give them their fixed features."""
    names = [f"{seed}-{number:04d}" for number in range(N_TEST + n_pictures)]
    with tempfile.TemporaryDirectory() as folder:
        paths = {name: Path(folder, f"{name}.png") for name in names}
        for name, path in paths.items():
            write_scene(path, name, seed=seed, size=48)
        features = GaborPyramid().encode(list(paths.values()))
        return Stimuli(tuple(names), features, load_grey(paths, SIZE))


class Case:
    """One simulated person: task of the training trials, and the held-out responses."""

    def __init__(
        self, drawn: Stimuli, n_pictures: int, tuning: str, seed: int, settings: Encoding,
        signal_to_noise: float,
    ) -> None:
        kept = np.r_[N_TEST:N_TEST + n_pictures, :N_TEST]
        names = [drawn.ids[row] for row in kept]
        pictures, features = drawn.pictures[kept], drawn.features[kept]
        region = np.arange(N_VOXELS) < N_RESPONSIVE
        world = make_encoded_world(pictures, region, tuning, seed)
        rng = np.random.default_rng(derive_seed(seed, "benchmark"))
        betas = world.respond(np.arange(n_pictures), signal_to_noise, rng)
        betas = (betas - betas.mean(axis=0)) / betas.std(axis=0)
        rows = np.repeat(np.arange(n_pictures, len(names)), N_REPEATS)
        held = world.respond(rows, signal_to_noise, rng)
        trials = pd.DataFrame({
            "run_group": [f"run-{N_RUNS * i // n_pictures}" for i in range(n_pictures)],
            "split": "train",
        })
        grid = VoxelGrid(np.ones((N_VOXELS, 1, 1), bool), np.eye(4))
        person = Person("01", grid, betas, trials, np.arange(n_pictures))
        targets = Targets(tuple(names), features, "image")
        self.task = make_task(person, targets, pictures, settings, seed)
        self.measured = Measured(held, np.array(names)[rows], np.full(len(rows), "r"), None)
        self.rows = targets.rows_of(self.measured.images)
        self.settings, self.seed = settings, seed

    def untrained(self) -> EncodingTask:
        """Return the task with features of convolutions as they were drawn."""
        with torch.random.fork_rng(devices=[]), torch.no_grad():
            torch.manual_seed(derive_seed(self.seed, "untrained"))
            network = PictureFeatures(self.settings.channels)
            features = network(scale_pictures(torch.from_numpy(self.task.stimuli.pictures)))
        stimuli = Stimuli(self.task.stimuli.ids, features.numpy(), None)
        return replace(self.task, stimuli=stimuli)

    def encode(self, name: str, task: EncodingTask, settings: Encoding, device: str) -> Encoded:
        """Fit one encoder and predict the held-out pictures."""
        encoder = load_encoder(name)
        model = fit_encoder(encoder, task, EncodeContext(settings, self.seed, device))
        raw = encoder.predict(model, task.stimuli)[self.rows]
        scores = model.tensors["calibration.score"]
        return Encoded(raw, raw, scores, best_voxels(scores, settings.n_selected))

    def accuracies(self, device: str) -> dict[str, float]:
        """Fit all encoders; mean correlation of each over the common voxels."""
        models = {
            name: self.encode(name, self.task, self.settings, device)
            for name in ("etecrm", *load_encoder("etecrm").comparators)
        }
        quiet = replace(self.settings, output_noise=0.0)
        models["etecrm without noise"] = self.encode("etecrm", self.task, quiet, device)
        untrained = self.untrained()
        for name in ("twostep-selective", "ridge"):
            models[name + UNTRAINED] = self.encode(name, untrained, self.settings, device)
        common = common_selection(models, self.settings.n_selected)
        target = self.measured.averaged()[:, common]
        return {
            name: float(voxel_correlations(model.raw[:, common], target).mean())
            for name, model in models.items()
        }


def interval(values: np.ndarray) -> str:
    """Mean and half the 95 % interval over seeds."""
    half = scipy.stats.t.ppf(0.975, len(values) - 1) * values.std(ddof=1) / len(values) ** 0.5
    return f"{values.mean():+.3f} ± {half:.3f}"


def gain(arguments: argparse.Namespace) -> None:
    """Print accuracies and differences for each world and number of pictures."""
    settings = Encoding(image_size=SIZE, channels=CHANNELS, n_selected=N_RESPONSIVE)
    cases = [(tuning, n) for tuning in arguments.tuning for n in arguments.pictures]
    rows: dict[tuple[str, int], list[dict[str, float]]] = {case: [] for case in cases}
    for seed in range(1, arguments.seeds + 1):
        drawn = draw_stimuli(max(arguments.pictures), seed)
        for tuning, n_pictures in cases:
            case = Case(drawn, n_pictures, tuning, seed, settings, arguments.snr)
            accuracies = case.accuracies(arguments.device)
            rows[tuning, n_pictures].append(accuracies)
            print(f"# {tuning}, {n_pictures} pictures, seed {seed}: "
                  + ", ".join(f"{k} {v:.3f}" for k, v in accuracies.items()), flush=True)
    found = {case: pd.DataFrame(entries) for case, entries in rows.items()}
    heads = [f"{tuning}, {n}" for tuning, n in cases]
    print(f"\nMean correlation over {N_RESPONSIVE} selected voxels, mean ± SD over "
          f"{arguments.seeds} seeds\n")
    names = next(iter(found.values())).columns
    table([("encoder", *heads)] + [
        (name, *(f"{found[c][name].mean():.3f} ± {found[c][name].std():.3f}" for c in cases))
        for name in names
    ])
    print("\nPaired differences, mean ± half the 95 % interval over seeds\n")
    table([("difference", "what it isolates", *heads)] + [
        (f"{first} − {second}", text,
         *(interval((found[c][first] - found[c][second]).to_numpy()) for c in cases))
        for first, second, text in DIFFERENCES
    ])


def speed(arguments: argparse.Namespace) -> None:
    """Print training throughput of the network."""
    device, batch = torch.device(arguments.device), 64
    rows = [("network", "voxels", "weights", "threads", "pictures / s")]
    for size, channels, n_voxels in ((128, 128, 300), (128, 128, 2000), (32, 32, 300)):
        n_inputs = n_features(size, channels)
        network = EncodingNetwork(PictureFeatures(channels), n_inputs, n_voxels, True).to(device)
        optimizer = torch.optim.AdamW(network.parameters(), 1e-3)
        pictures = torch.randint(0, 256, (batch, size, size), dtype=torch.uint8, device=device)
        betas = torch.randn(batch, n_voxels, device=device)

        def step() -> None:
            optimizer.zero_grad(set_to_none=True)  # noqa: B023
            selective_loss(network(scale_pictures(pictures)), betas, 1.0).backward()  # noqa: B023
            optimizer.step()  # noqa: B023
            if device.type == "cuda":
                torch.cuda.synchronize()

        step()
        on_cpu = device.type == "cpu"
        clock = time.process_time if on_cpu else time.perf_counter
        n_threads = torch.get_num_threads() if on_cpu else 1
        times = []
        for _ in range(arguments.steps):
            started = clock()
            step()
            times.append((clock() - started) / n_threads)
        weights = sum(p.numel() for p in network.parameters())
        rows.append((f"{size} px, {channels} channels", n_voxels, f"{weights:,}",
                     n_threads if on_cpu else arguments.device,
                     f"{batch / min(times):.0f}"))
    table(rows)


def main() -> None:
    """Read the command line and run one part."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n", maxsplit=1)[0])
    parser.add_argument("what", choices=("gain", "speed"))
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--pictures", type=int, nargs="+", default=[400])
    parser.add_argument("--tuning", nargs="+", default=["energy", "conjunction"])
    parser.add_argument("--snr", type=float, default=1.5, help="signal to noise of a single trial")
    parser.add_argument("--steps", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", default="cpu")
    parser.add_argument(
        "--no-kept-memory", dest="keep", action="store_false",
        help="large arrays take new pages, as they do outside of the program",
    )
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    if arguments.keep:
        keep_memory()
    {"gain": gain, "speed": speed}[arguments.what](arguments)


if __name__ == "__main__":
    main()
