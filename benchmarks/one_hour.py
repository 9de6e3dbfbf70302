"""A simulated one-hour protocol: several source participants, and an hour of a new one."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import pandas as pd

from bids_decoder.config import Network, Troi
from bids_decoder.evaluation.similarity import cosine_similarity
from bids_decoder.training.decoders import FitContext
from bids_decoder.training.troi import TroiDecoder
from bids_decoder.trials import Person, Targets, VoxelGrid


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


SELECTORS = ("graded", "troi-budget")
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


@dataclass(frozen=True, eq=False)
class Protocol:
    """Result of a protocol: seconds by part, predictions of test images, top-1 among the pool."""

    seconds: dict[str, float]
    predicted: np.ndarray
    top1: float


def run_protocols(
    world: World, device: str, seed: int = 1, selectors: Sequence[str] = SELECTORS
) -> dict[str, Protocol]:
    """Pretrain on the sources; by each selector fit the last participant, and search the images."""
    people, test, targets = make_people(world, seed)
    decoder, pretraining, found = TroiDecoder(), {}, {}
    with timed(pretraining, "pretrain"):
        pretrained = decoder.pretrain(
            people[:-1], targets, FitContext(Network(), Troi(), seed, device)
        )
    for selector in selectors:
        context = FitContext(Network(), Troi(selector=selector), seed, device)
        seconds = dict(pretraining)
        with timed(seconds, "select"):
            selection = decoder.select(people[-1], targets, pretrained, context)
        with timed(seconds, "adapt"):
            model = decoder.adapt(people[-1], targets, selection, pretrained, context)
        with timed(seconds, "predict"):
            single = decoder.predict(model, test.betas)
            gallery = decoder.gallery(model, targets)
        predicted = single.reshape(world.n_test, 3, -1).mean(axis=1)
        pool = min(300, world.n_test)
        nearest = cosine_similarity(
            predicted[:pool], gallery[-world.n_test :][:pool]
        ).argmax(axis=1)
        top1 = float((nearest == np.arange(pool)).mean())
        found[selector] = Protocol(seconds, predicted, top1)
    return found


@contextmanager
def timed(seconds: dict[str, float], part: str) -> Iterator[None]:
    """Add the seconds of a block."""
    started = time.perf_counter()
    yield
    seconds[part] = time.perf_counter() - started
