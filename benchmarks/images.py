"""Retrieval and reconstruction of photographs by simulated people.

    python benchmarks/images.py                       all tables, seeds 1 to 3
    python benchmarks/images.py --sheet sheet.png     and the pictures of the first seed
    python benchmarks/images.py --prior               and the diffusion prior beside regression
    python benchmarks/images.py throughput            images per second of the built-in encoder

Photographs that scikit-image, scikit-learn and matplotlib ship are cut into crops, and painted
scenes are added. Photographs whose crops are tested are in no training set. Voxels respond to the
principal components of Gabor and colour features of what is seen; two people are pretrained on, a
third is decoded.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from PIL import Image

from bids_decoder.seeds import derive_seed
from bids_decoder.simulate.images import make_scene
from bids_decoder.simulate.responses import (
    ResponseSettings,
)

EDGE = 128
RESPONSES = ResponseSettings(
    shape=(24, 24, 20), n_roi=800, median_ncsnr=0.5, n_features=48, n_embedding=48, own=0.0
)
FOLDERS = {"skimage": "data", "sklearn": "datasets/images", "matplotlib": "mpl-data/sample_data"}
PHOTOGRAPHS = (
    "astronaut.png", "camera.png", "cell.png", "chelsea.png", "coffee.png", "coins.png",
    "grass.png", "gravel.png", "brick.png", "hubble_deep_field.jpg", "ihc.png", "moon.png",
    "motorcycle_left.png", "retina.jpg", "rocket.jpg", "china.jpg", "flower.jpg",
    "grace_hopper.jpg",
)
N_TEST_PHOTOGRAPHS = 6


def photographs() -> dict[str, Image.Image]:
    """Find the photographs that the installed packages ship."""
    roots = [
        Path(find_spec(name).origin).parent / folder for name, folder in FOLDERS.items()
        if find_spec(name) is not None
    ]
    paths = [root / name for name in PHOTOGRAPHS for root in roots if (root / name).is_file()]
    return {path.name: Image.open(path).convert("RGB") for path in paths}


def crops(photograph: Image.Image, n: int, rng: np.random.Generator) -> Iterator[np.ndarray]:
    """Cut squares of 30 to 60 % of the shorter edge at random places."""
    for _ in range(n):
        edge = int(min(photograph.size) * rng.uniform(0.3, 0.6))
        left, top = (int(rng.integers(size - edge + 1)) for size in photograph.size)
        part = photograph.crop((left, top, left + edge, top + edge))
        yield np.asarray(part.resize((EDGE, EDGE), Image.Resampling.BICUBIC))


@dataclass(frozen=True, eq=False)
class Album:
    """All pictures of one seed.

    Parameters
    ----------
    pixels : dict of str to ndarray of uint8, shape (128, 128, 3)
    train : list of list of str
        Names by person.
    test : list of str
    """

    pixels: dict[str, np.ndarray]
    train: list[list[str]]
    test: list[str]


def make_album(seed: int, n_people: int, n_train: int, n_test: int) -> Album:
    """Draw pictures: half of the training and two thirds of the test pictures are crops."""
    rng = np.random.default_rng(derive_seed(seed, "album"))
    found = photographs()
    names = rng.permutation(list(found))
    held, rest = names[:N_TEST_PHOTOGRAPHS], names[N_TEST_PHOTOGRAPHS:]
    pixels: dict[str, np.ndarray] = {}

    def add(prefix: str, sources: np.ndarray, n_crops: int, n_scenes: int) -> list[str]:
        added = []
        for number in range(n_crops):
            name = f"{prefix}-{number:04d}-{sources[number % len(sources)]}"
            pixels[name] = next(crops(found[sources[number % len(sources)]], 1, rng))
            added.append(name)
        for number in range(n_scenes):
            name = f"{prefix}-{number:04d}-scene"
            pixels[name] = make_scene(derive_seed(seed, name), EDGE)
            added.append(name)
        return added

    n_crops = 2 * n_test // 3
    test = add("test", held, n_crops, n_test - n_crops)
    half = n_train // 2
    train = [add(f"p{person}", rest, half, n_train - half) for person in range(1, n_people + 1)]
    return Album(pixels, [list(rng.permutation(part)) for part in train], test)
