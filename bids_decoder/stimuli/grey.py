"""Pictures as small grey arrays, for networks that learn their own features."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from bids_decoder.errors import Finding, FindingsError, InputError, MissingInputError
from bids_decoder.stimuli.images import load_image

LUMA = np.array([0.299, 0.587, 0.114], dtype=np.float32)
"""Weights of red, green and blue in grey (ITU-R BT.601)."""


def load_grey(paths: Mapping[str, Path], size: int) -> np.ndarray:
    """Read many pictures in grey, reporting all problems at once.

    Parameters
    ----------
    paths : mapping of str to Path
        Stimulus id to file.
    size : int
        Edge in pixels; see :func:`.images.load_image`.

    Returns
    -------
    ndarray of uint8, shape (n_images, size, size)
        In the order of *paths*.

    Raises
    ------
    FindingsError
        With one finding for each stimulus that cannot be used.
    """
    pictures = np.empty((len(paths), size, size), dtype=np.uint8)
    findings: list[Finding] = []
    for row, path in enumerate(paths.values()):
        try:
            pictures[row] = np.rint(255 * (load_image(path, size) @ LUMA))
        except (InputError, MissingInputError) as error:
            findings.append(error.finding)
    if findings:
        raise FindingsError(findings)
    return pictures
