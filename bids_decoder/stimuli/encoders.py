"""The registry of image encoders."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np

from bids_decoder.errors import UsageError

ENCODERS: dict[str, str] = {
    "gabor": "bids_decoder.stimuli.pyramid:GaborPyramid",
}
"""Name -> ``module:Class``; a module is imported only when its encoder is asked for."""


@runtime_checkable
class ImageEncoder(Protocol):
    """Turns pictures into vectors.

    Attributes
    ----------
    name : str
        As in the registry.
    version : str
        Changes whenever the same picture would give another vector.
    """

    name: str
    version: str

    def encode(self, paths: Sequence[Path]) -> np.ndarray:
        """Encode pictures.

        Parameters
        ----------
        paths : sequence of Path

        Returns
        -------
        ndarray of float32, shape (n_images, n_dims)

        Raises
        ------
        FindingsError
            With one finding for each picture that cannot be used.
        """
        ...


def load_encoder(name: str, **options: Any) -> ImageEncoder:
    """Make the encoder called *name*.

    Parameters
    ----------
    name : str
        Key of :data:`ENCODERS`.
    **options : Any
        Passed to the class, for encoders that need weights or a device.

    Raises
    ------
    UsageError
        For names that are not in the registry.
    """
    if name not in ENCODERS:
        raise UsageError(
            f"--image-encoder {name}", "no such encoder",
            f"use one of: {', '.join(sorted(ENCODERS))}",
        )
    module, _, kind = ENCODERS[name].partition(":")
    return getattr(import_module(module), kind)(**options)
