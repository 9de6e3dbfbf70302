"""Reconstruction from voxels with receptive fields, beside three controls; five seeds.

    python benchmarks/painter.py patterns             10 x 10 patterns, as Miyawaki et al. 2008
    python benchmarks/painter.py photographs          crops of photographs
    python benchmarks/painter.py photographs --sheet sheet.png    and pictures of the first seed

Half of 1,600 voxels have Gaussian receptive fields that grow with eccentricity; the others hold
noise, and all are given to the painter. For patterns they respond to the square root of the
luminance. For photographs, 60 % of the signal is the logarithm of Gabor energies and 40 %
lightness and colour. Half of the noise is shared by voxels; the median ratio of signal to noise
is about .5 in single trials. Training: 440 random patterns, or 400 crops and painted scenes, once
each. Test: ten figures and 30 random patterns, four times each, or 60 crops and scenes, twice
each; photographs whose crops are tested are in no training set.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
import pandas as pd
from images import EDGE, make_album, table
from PIL import Image
from scipy import stats
from scipy.signal import fftconvolve

from bids_decoder.config import Evaluation
from bids_decoder.evaluation.reconstruction import (
    NEAREST,
    nearest_rows,
    resize,
    score_reconstructions,
)
from bids_decoder.evaluation.ridge import ridge_predict
from bids_decoder.seeds import derive_seed
from bids_decoder.stimuli.pyramid import GaborPyramid
from bids_decoder.stimuli.sheets import Tile, draw_sheet, save_picture, to_picture
from bids_decoder.training.painter import Painter, fit_painter
from bids_decoder.trials import Person, VoxelGrid

SIZE = 64
N_TUNED = N_OTHER = 800
N_SHARED = 40
TRIALS_PER_RUN = 20
ENERGY = {"patterns": None, "photographs": 0.6}
REPEATS = {"patterns": 4, "photographs": 2}
FIGURES = (
    "square", "small frame", "large frame", "plus", "cross", "n", "e", "u", "r", "o",
)
_LETTERS = {
    "n": "c3 c3 e3 f3 db cf c7 c3", "e": "ff ff c0 fc fc c0 ff ff", "u": "c3 c3 c3 c3 c3 c3 ff 7e",
    "r": "fc c6 c6 fc d8 cc c6 c3", "o": "7e ff c3 c3 c3 c3 ff 7e",
}


def figure(name: str) -> np.ndarray:
    """Draw a figure of 10 x 10 pixels."""
    made = np.zeros((10, 10))
    if name in _LETTERS:
        rows = [f"{int(row, 16):08b}" for row in _LETTERS[name].split()]
        made[1:9, 1:9] = [[int(pixel) for pixel in row] for row in rows]
    elif name == "plus":
        made[4:6, 1:9] = made[1:9, 4:6] = 1
    elif name == "cross":
        made[1:9, 1:9] = np.eye(8) + np.eye(8)[::-1] + np.eye(8, k=1) + np.eye(8, k=1)[::-1] > 0
    else:
        edge = 1 if name == "large frame" else 2
        made[edge:10 - edge, edge:10 - edge] = 1
        if name != "square":
            made[3:7, 3:7] = 0
    return made


def make_pictures(kind: str, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Make training and test pictures, float32, shape (n, 128, 128, 3)."""
    if kind == "photographs":
        album = make_album(seed, 1, 400, 60)
        train, test = ([album.pixels[n] for n in names] for names in (album.train[0], album.test))
    else:
        rng = np.random.default_rng(derive_seed(seed, "patterns"))
        shown = rng.random((470, 10, 10)) < 0.5
        train, test = ([
            np.asarray(Image.fromarray((255 * pattern).astype(np.uint8)).convert("RGB")
                       .resize((EDGE, EDGE), Image.Resampling.BICUBIC))
            for pattern in part
        ] for part in (shown[30:], [*map(figure, FIGURES), *shown[:30]]))
    return tuple(np.stack(part).astype(np.float32) / 255 for part in (train, test))


def receptive_fields(rng: np.random.Generator) -> np.ndarray:
    """Draw Gaussian receptive fields of sum 1, shape (n_tuned, 64 * 64)."""
    eccentricity, angle = 0.65 * rng.random(N_TUNED) ** 0.8, 2 * np.pi * rng.random(N_TUNED)
    x, y = (
        np.clip(0.5 + eccentricity * turn(angle), 0.02, 0.98)[:, None] for turn in (np.cos, np.sin)
    )
    width = ((0.03 + 0.12 * eccentricity) * rng.lognormal(0, 0.3, N_TUNED))[:, None]
    place = (np.arange(SIZE) + 0.5) / SIZE
    across, down = (np.exp(-0.5 * ((place - centre) / width) ** 2) for centre in (x, y))
    fields = (down[:, :, None] * across[:, None, :]).reshape(N_TUNED, -1)
    return fields / fields.sum(axis=1, keepdims=True)


def gabor_energies(grey: np.ndarray) -> np.ndarray:
    """Filter pictures (n, 64, 64) at two scales and four orientations: (n, 8, 64 * 64)."""
    y, x = np.mgrid[-12:13, -12:13]
    padded, found = np.pad(grey, ((0, 0), (12, 12), (12, 12)), mode="reflect"), []
    for scale in (1.5, 3.0):
        envelope = np.exp(-(x**2 + y**2) / (8 * scale**2))
        for angle in np.arange(4) * np.pi / 4:
            wave = np.exp(0.5j * np.pi * (x * np.cos(angle) + y * np.sin(angle)) / scale)
            kernel = envelope * wave - envelope * (envelope * wave).sum() / envelope.sum()
            kernel /= np.abs(kernel).sum()
            found.append(np.abs(fftconvolve(padded, kernel[None], mode="valid", axes=(1, 2))))
    return np.stack(found, axis=1).reshape(len(grey), 8, -1)


def tuned_signals(
    pictures: np.ndarray, energy: float | None, rng: np.random.Generator
) -> np.ndarray:
    """Compute responses without noise, of variance 1 over pictures, shape (n, n_tuned)."""
    fields = receptive_fields(rng)
    small = np.stack([resize(picture, SIZE) for picture in pictures]).astype(np.float64)
    grey = small @ np.array([0.299, 0.587, 0.114])
    if energy is None:
        return standardised(np.sqrt(grey.reshape(len(grey), -1) @ fields.T + 0.02))
    contrasts = np.stack([
        grey, small[..., 0] - small[..., 1], small[..., 2] - small[..., :2].mean(axis=-1)
    ], axis=1).reshape(len(grey), 3, -1)
    gains = rng.standard_normal((3, N_TUNED)) * np.array([[1], [0.7], [0.7]])
    gains[0] = np.abs(gains[0])
    light = (standardised(contrasts @ fields.T) * gains).sum(axis=1)
    pooled = standardised(np.log(gabor_energies(grey) @ fields.T + 0.005))
    edges = (pooled * np.abs(rng.standard_normal((8, N_TUNED)))).sum(axis=1)
    return standardised(
        np.sqrt(1 - energy) * standardised(light) + np.sqrt(energy) * standardised(edges)
    )


def standardised(values: np.ndarray) -> np.ndarray:
    """Scale over pictures to mean 0 and variance 1."""
    return (values - values.mean(axis=0)) / values.std(axis=0)


def simulate(
    kind: str, train: np.ndarray, test: np.ndarray, seed: int
) -> tuple[Person, np.ndarray]:
    """Simulate training trials and the mean response to each test picture."""
    rng = np.random.default_rng(derive_seed(seed, kind))
    n_train, n_repeats = len(train), REPEATS[kind]
    signals = tuned_signals(np.concatenate([train, test]), ENERGY[kind], rng)
    rows = np.r_[np.arange(n_train), n_train + np.repeat(np.arange(len(test)), n_repeats)]
    n, n_voxels = len(rows), N_TUNED + N_OTHER
    shared = rng.standard_normal((n, N_SHARED)) @ rng.standard_normal((N_SHARED, n_voxels))
    betas = np.sqrt(0.5) * (shared / np.sqrt(N_SHARED) + rng.standard_normal((n, n_voxels)))
    betas[:, :N_TUNED] += signals[rows] * rng.gamma(3, 0.187, N_TUNED)
    betas = (betas - betas[:n_train].mean(axis=0)) / betas[:n_train].std(axis=0)
    trials = pd.DataFrame({
        "run_group": [f"run-{trial // TRIALS_PER_RUN:02d}" for trial in range(n_train)],
        "split": "train",
    })
    grid = VoxelGrid(np.ones((n_voxels, 1, 1), bool), np.eye(4))
    person = Person("1", grid, betas[:n_train].astype(np.float32), trials, np.arange(n_train))
    return person, betas[n_train:].reshape(len(test), n_repeats, -1).mean(axis=1)


def nearest_training(train: Person, betas: np.ndarray, pictures: np.ndarray) -> np.ndarray:
    """Find the training picture nearest to Gabor features that ridge regression decodes."""
    pyramid = GaborPyramid()
    vectors = np.stack([pyramid.encode_array(picture) for picture in pictures])
    decoded = ridge_predict(train.betas, vectors, betas, train.run_groups)
    mean = vectors.mean(axis=0)
    return nearest_rows(decoded - mean, vectors - mean, np.arange(len(vectors)))


def bench(kind: str, seed: int, sheet: Path | None) -> tuple[pd.DataFrame, Painter, float]:
    """Reconstruct the test pictures of one seed and score them."""
    pictures, test = make_pictures(kind, seed)
    train, betas = simulate(kind, pictures, test, seed)
    small = np.stack([resize(picture, SIZE) for picture in pictures])
    started = time.process_time()
    painter = fit_painter(
        train, np.ones(train.betas.shape[1]), small, np.arange(len(small))
    )
    seconds = time.process_time() - started
    made = painter.paint(betas)
    dull = painter.paint(train.betas.mean(axis=0, dtype=np.float64)[None])[0]
    painted = {
        "reconstruction": list(made), "mean-brain": [dull] * len(test),
        NEAREST: list(pictures[nearest_training(train, betas, pictures)]),
    }
    if sheet is not None:
        rows = [
            [Tile(to_picture(test[i])), *(Tile(to_picture(part[i])) for part in painted.values())]
            for i in range(0, len(test), 4)
        ]
        save_picture(sheet, draw_sheet(rows, ("seen", *painted), 140))
    metrics, _ = score_reconstructions(
        list(test), painted, [], settings=Evaluation(n_permutations=199),
        rng=np.random.default_rng(seed),
    )
    return metrics.assign(seed=seed), painter, seconds


def interval(values: pd.Series) -> str:
    """Return the mean over seeds with its 95 % interval (t)."""
    half = stats.t.ppf(0.975, len(values) - 1) * stats.sem(values)
    return f"{values.mean():+.3f} ({values.mean() - half:+.3f} to {values.mean() + half:+.3f})"


def main() -> None:
    """Run what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("kind", choices=tuple(ENERGY))
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--sheet", type=Path)
    options = parser.parse_args()
    found, chosen = [], []
    for seed in range(1, options.seeds + 1):
        metrics, painter, seconds = bench(
            options.kind, seed, options.sheet if seed == 1 else None
        )
        found.append(metrics)
        chosen.append((seed, painter.noise, painter.contrast, f"{painter.error.mean():.3f}",
                       f"{painter.spread.mean():.3f}", f"{seconds:.1f}"))
    scores, rows = pd.concat(found), []
    for (metric, model), part in scores.groupby(["metric", "model"], sort=False):
        own = model == "reconstruction"
        rows.append((
            metric, model, " ".join(f"{value:.3f}" for value in part["value"]),
            f"{part['value'].mean():.3f}", "" if own else interval(part["ahead"]),
            "" if own else f"{(part['ahead_low'] > 0).sum()} of {len(part)}",
        ))
    table(("measure", "model", "seeds", "mean", "reconstruction ahead (over seeds)",
           "ahead within a seed"), rows)
    table(("seed", "noise", "contrast", "error", "spread of pictures", "CPU s"), chosen)


if __name__ == "__main__":
    main()
