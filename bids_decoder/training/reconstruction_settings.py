"""Settings of reconstruction; read by the command line: nothing heavy is imported here."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from bids_decoder.config import Section


@dataclass(frozen=True)
class Reconstruction(Section, table="reconstruction"):
    """How images are reconstructed from trials.

    Parameters
    ----------
    method : {"auto", "ridge", "unclip", "none"}
    weights : Path or None
        Folder of the generator.
    metric_weights : Path or None
        Folder of networks by which images are scored.
    size : int
        Edge length of painted images in pixels.
    n_steps : int
        Denoising steps of the generator.
    low_level : float
        Weight of the painted image in the generated one.
    """

    method: Literal["auto", "ridge", "unclip", "none"] = "auto"
    weights: Path | None = None
    metric_weights: Path | None = None
    size: int = 64
    n_steps: int = 20
    low_level: float = 0.0
