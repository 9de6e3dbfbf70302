"""Settings of encoding models; light, so that the command line can read them."""

from __future__ import annotations

from dataclasses import dataclass

from bids_decoder.config import Section


@dataclass(frozen=True)
class Encoding(Section, table="encoding"):
    """The encoding model, from pictures to voxels; without an encoder nothing is encoded."""

    encoder: str | None = None
    image_size: int = 128
    channels: int = 128
    epochs: int = 0
    batch_size: int = 64
    learning_rate: float = 1e-3
    weight_decay: float = 1e-6
    output_noise: float = 1.0
    validation_share: float = 0.2
    max_voxels: int = 2000
    n_selected: int = 300
