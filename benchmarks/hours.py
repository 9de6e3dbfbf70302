"""Hours of one NSD participant after one hour of data, computed from operations and rates.

    python benchmarks/hours.py            prints the tables of docs/benchmarks.md
    python benchmarks/hours.py --quick    smaller measurements

Two things are measured, in processor time of one core: the rate of the fit of an input layer, and
how many such fits the decoding of a participant makes. All else is computed: operations of a
step times its shapes at the size of NSD, divided by a rate. The fits run on the processor whatever
the device is; encoding of pictures and training by gradients run on the device.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from unittest.mock import patch

import numpy as np
import pandas as pd
import torch

from bids_decoder.config import Network, Troi
from bids_decoder.evaluation.folds import MOST_TRIALS_TO_CHOOSE
from bids_decoder.training.decoders import FitContext
from bids_decoder.training.input_layer import fit_input_layer
from bids_decoder.training.penalties import ENOUGH_TO_CHOOSE, N_FOLDS, RELATIVE_PENALTIES
from bids_decoder.training.shared_models import LEAST_TRIALS_OF_EACH
from bids_decoder.training.troi import TroiDecoder
from bids_decoder.trials import Person, Targets, VoxelGrid

N_SOURCES, N_TRAIN, N_CALIBRATION = 7, 27_000, 712
"""Source participants, their training trials, those of one hour: 750 less 5 % of test images."""

N_VOXELS, N_LATENTS, N_PICTURES = 15_724, 300, 73_000
EPISODE_SIZES, SETS_PER_SIZE = (62, 125, 250, 500, 1000), 4
INNER_FOLDS, WHITENINGS = 3, 3
EIGEN, CHOLESKY = 9.0, 1 / 3
"""Operations of decompositions per cube of the side."""

MODELS = {"ViT-L/14": (304e6, 24, 1024), "ViT-bigG/14": (1845e6, 48, 1664)}
"""Parameters, layers and width of image encoders; 257 tokens per picture."""

RATES = {"H100": 0.4 * 67e12, "A100": 0.4 * 19.5e12, "16 cores": 0.5e12}
"""Operations per second in single precision: 40 % of the peak of the data sheets."""

N_CORES, PARALLEL_SHARE = 16, 0.5


def fit_operations(
    n: float, n_voxels: int = N_VOXELS, n_latents: int = N_LATENTS
) -> tuple[float, float]:
    """Return double and single precision operations of an input layer fitted to *n* trials."""
    inner, outer = 0.8 * n, 0.2 * n
    n_folds = min(N_FOLDS, np.ceil(ENOUGH_TO_CHOOSE / outer))
    if n > n_voxels:
        solving = CHOLESKY * n_voxels**3 + 2 * n_voxels**2 * n_latents
        each = solving + 2 * outer * n_voxels * n_latents
        folds = n_folds * (inner * n_voxels**2 + len(RELATIVE_PENALTIES) * each)
        return folds + n * n_voxels**2 + solving, 0.0
    folds = n_folds * (EIGEN * inner**3 + 2 * outer * inner**2)
    double = folds + CHOLESKY * n**3 + 2 * n**2 * n_latents
    return double, n**2 * n_voxels + 2 * n * n_voxels * n_latents


def encoder_operations(name: str) -> float:
    """Return the operations of one picture: two per parameter and token, and the attention."""
    n_parameters, n_layers, width = MODELS[name]
    return 257 * 2 * n_parameters + n_layers * 4 * 257**2 * width


def make_person(n_runs: int, per_run: int, n_voxels: int) -> tuple[Person, Targets]:
    """Simulate a participant whose voxels are linear in the vectors of the stimuli."""
    rng, n_trials = np.random.default_rng(0), n_runs * per_run
    vectors = rng.standard_normal((n_trials, 20)).astype(np.float32)
    betas = 0.3 * vectors @ rng.standard_normal((20, n_voxels))
    betas = (betas + rng.standard_normal(betas.shape)).astype(np.float32)
    names = tuple(f"s{number:04d}" for number in range(n_trials))
    trials = pd.DataFrame({
        "run_group": np.repeat([f"run-{run:02d}" for run in range(n_runs)], per_run),
        "split": "train", "stimulus": names, "fold": None,
    })
    edge = round(n_voxels ** (1 / 3))
    grid = VoxelGrid(np.ones((edge, edge, edge), bool), np.diag([2.0, 2.0, 2.0, 1.0]))
    person = Person("1", grid, betas, trials, np.arange(n_trials))
    return person, Targets(names, vectors, "features")


def measure_rate(n: int, n_voxels: int) -> float:
    """Return operations per second of one core in the fit of an input layer."""
    person, targets = make_person(12, n // 12, n_voxels)
    start = time.process_time()
    fit_input_layer(person.betas, targets.vectors, person.run_groups)
    seconds = time.process_time() - start
    return fit_operations(len(person.betas), n_voxels, targets.vectors.shape[1])[0] / seconds


def count_fits(per_run: int, edge: int) -> tuple[float, float]:
    """Return fits of a decoding, in fits to all trials by cubes, and seconds of one core."""
    person, targets = make_person(12, per_run, edge**3)
    context = FitContext(Network(pretrain_epochs=1), Troi(), 1, "cpu")
    model = TroiDecoder().pretrain([person], targets, context)
    sizes: list[int] = []

    def counted(betas: np.ndarray, *given: object, **more: object) -> object:
        sizes.append(len(betas))
        return fit_input_layer(betas, *given, **more)

    start = time.process_time()
    with ExitStack() as stack:
        # Wherever the program took it from its own module.
        for name, module in list(sys.modules.items()):
            if name.startswith("bids_decoder") and hasattr(module, "fit_input_layer"):
                stack.enter_context(patch.object(module, "fit_input_layer", counted))
        TroiDecoder().fit(person, targets, model, context)
    share = (np.array(sizes) / len(person.betas)) ** 3
    return float(share.sum()), time.process_time() - start


def rows(rate: float, streamed: float, n_fits: float) -> Iterator[tuple[str, str, list[float]]]:
    """Yield step, formula and hours on each of :data:`RATES`.

    The rates are those of one core, with fewer trials than voxels and with more (*streamed*).
    """
    host = rate * N_CORES * PARALLEL_SHARE
    for name in MODELS:
        total = N_PICTURES * encoder_operations(name)
        yield (
            f"vectors of pictures, {name}", f"{N_PICTURES:,} × {encoder_operations(name):.2g}",
            [total / each / 3600 for each in RATES.values()],
        )
    chosen = max(LEAST_TRIALS_OF_EACH, MOST_TRIALS_TO_CHOOSE // N_SOURCES) * 2 // 3
    whitening = N_SOURCES * INNER_FOLDS * WHITENINGS * sum(fit_operations(chosen))
    yield ("pretraining, whitening of the targets",
           f"{N_SOURCES} × {INNER_FOLDS * WHITENINGS} fits to {chosen:,} trials",
           [whitening / host / 3600] * len(RATES))
    drawn = N_SOURCES * SETS_PER_SIZE * sum(sum(fit_operations(n)) for n in EPISODE_SIZES)
    yield ("pretraining, episodes", f"{N_SOURCES} × {SETS_PER_SIZE} fits to each of "
           f"{', '.join(map(str, EPISODE_SIZES))} trials", [drawn / host / 3600] * len(RATES))
    decoding = n_fits * sum(fit_operations(N_CALIBRATION))
    yield ("decoding of one participant, fits", f"{n_fits:.0f} fits to {N_CALIBRATION} trials",
           [decoding / host / 3600] * len(RATES))
    hours = fit_operations(N_TRAIN)[0] / (streamed * N_CORES * PARALLEL_SHARE) / 3600
    yield ("one fit to all sessions", f"{N_TRAIN:,} trials", [hours] * len(RATES))


def main() -> None:
    """Measure, compute, and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true")
    is_quick = parser.parse_args().quick
    torch.set_num_threads(1)
    rate = measure_rate(*((300, 500) if is_quick else (1200, 2000)))
    streamed = measure_rate(*((600, 216) if is_quick else (3600, 1728)))
    n_fits, seconds = count_fits(*((12, 6) if is_quick else (30, 10)))
    print(f"rates of one core: {rate / 1e9:.1f} and {streamed / 1e9:.1f} GFLOPS; "
          f"decoding: {n_fits:.1f} fits to all trials, {seconds:.0f} s of one core")
    print(f"| step | operations | {' | '.join(RATES)} |\n| --- | --- |{' --- |' * len(RATES)}")
    for step, formula, hours in rows(rate, streamed, n_fits):
        print(f"| {step} | {formula} | {' | '.join(f'{each:.2g} h' for each in hours)} |")


if __name__ == "__main__":
    main()
