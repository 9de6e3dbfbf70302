"""Settings of decoding in regions; read by the command line: nothing heavy is imported here."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from bids_decoder.config import Section

Estimator = Literal["lda", "ridge"]


@dataclass(frozen=True)
class Regions(Section, table="regions"):
    """Where regions come from, and what decodes labels in each; no analysis without an atlas.

    Parameters
    ----------
    atlases : tuple of str
        Label files or masks (``{participant}`` stands for the label), ``aparcaseg`` or ``aseg`` of
        the derivatives, atlases of TemplateFlow as ``NAME:DESC``.
    estimator : {"lda", "ridge"}
        For labels; images and features are retrieved through ridge regression.
    """

    atlases: tuple[str, ...] = ()
    estimator: Estimator = "lda"
