"""Reconstructed pictures in nodes: what is asked for, generation, and spaces of comparison."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

import numpy as np

from bids_decoder.evaluation.reconstruction import FeatureSpace, resize
from bids_decoder.seeds import derive_seed
from bids_decoder.stimuli.pyramid import SIZE as PYRAMID_SIZE
from bids_decoder.stimuli.pyramid import GaborPyramid
from bids_decoder.stimuli.weights import Weights

COARSE = 32
"""Edge length of images whose raw pixels are compared by two-way identification."""


@dataclass(frozen=True)
class ReconstructionPlan:
    """Parameters of reconstruction, as plain values for a node.

    Parameters
    ----------
    method : {"ridge", "unclip"}
    size : int
        Edge length of painted images in pixels.
    n_steps : int
        Denoising steps of the generator.
    low_level : float
        Weight of the painted image in the generated one.
    pipeline, pipeline_sha256 : str
        Folder of the generator and the hash of its content.
    networks : dict
        Name -> (path, sha256) of the networks of the metrics.
    """

    method: str
    size: int
    n_steps: int
    low_level: float
    pipeline: str = ""
    pipeline_sha256: str = ""
    networks: Mapping[str, tuple[str, str]] | None = None

    @property
    def content(self) -> dict[str, Any]:
        """Return all parameters that change the images, without the paths of weights."""
        networks = {name: digest for name, (_, digest) in (self.networks or {}).items()}
        fields = {k: v for k, v in asdict(self).items() if k != "pipeline"}
        return {**fields, "networks": networks}


def generate(
    plan: ReconstructionPlan, vectors: np.ndarray, painted: np.ndarray, device: str, seed: int,
    folder: Path | None = None,
) -> np.ndarray:
    """Generate pictures from decoded embeddings.

    Parameters
    ----------
    plan : ReconstructionPlan
    vectors : ndarray, shape (n, n_dims)
        Embeddings in the scale of the image encoder.
    painted : ndarray, shape (n, size, size, 3)
        Coarse pictures, which are mixed in with the weight ``low_level``.
    device : str
    seed : int
    folder : Path or None
        Of a temporary file that holds the pictures; None takes that of the system.

    Returns
    -------
    ndarray of float32, shape (n, height, width, 3)
        sRGB in [0, 1]; mapped from the file, since thousands of them do not fit into memory.
    """
    from bids_decoder.stimuli.unclip import UnclipGenerator

    generator = UnclipGenerator(
        Weights(Path(plan.pipeline), plan.pipeline_sha256, verified=True), device
    )
    pictures = generator.generate(vectors, n_steps=plan.n_steps, seed=derive_seed(seed, "unclip"))
    made = np.empty((0, 0, 0, 3), np.float32)
    with TemporaryFile(dir=folder) as file:
        for row, (picture, coarse) in enumerate(zip(pictures, painted, strict=True)):
            if row == 0:
                made = np.memmap(file, np.float32, "w+", shape=(len(painted), *picture.shape))
            low = resize(coarse, picture.shape[0])
            made[row] = (1 - plan.low_level) * picture + plan.low_level * low
    return made


def feature_spaces(
    networks: Mapping[str, tuple[str, str]] | None, device: str
) -> Iterator[FeatureSpace]:
    """Yield the spaces in which reconstructions are compared with what was seen.

    Parameters
    ----------
    networks : mapping of str to (str, str), optional
        Name -> (path, sha256) of networks, beside pixels and a Gabor pyramid.
    device : str
    """
    yield FeatureSpace("pixels", _coarse_pixels)
    yield FeatureSpace("gabor", _gabor, distance=True)
    if networks:
        from bids_decoder.stimuli.perceptual import load_features

        weights = {
            name: Weights(Path(path), digest, verified=True)
            for name, (path, digest) in networks.items()
        }
        for space in load_features(weights, device):
            yield FeatureSpace(
                space.name, space.extract, space.distance, two_way=not space.distance
            )


def _coarse_pixels(pictures: Sequence[np.ndarray]) -> np.ndarray:
    return np.stack([resize(picture, COARSE).ravel() for picture in pictures])


def _gabor(pictures: Sequence[np.ndarray]) -> np.ndarray:
    pyramid = GaborPyramid()
    return np.stack([pyramid.encode_array(resize(p, PYRAMID_SIZE)) for p in pictures])
