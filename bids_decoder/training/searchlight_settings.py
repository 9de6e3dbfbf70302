"""Settings of searchlights; read by the command line, so that nothing heavy is imported here."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from bids_decoder.config import Section

LEAST_SHRINKAGE = 1e-3
"""Below it, the covariance of more voxels than trials is singular in single precision."""

LEAST_VOXELS = 2

Estimator = Literal["lda", "ridge", "gnb", "crossnobis", "rsa"]


@dataclass(frozen=True)
class Searchlight(Section, table="searchlight"):
    """Size of the spheres, and what decodes within each; no analysis without a size.

    Parameters
    ----------
    radius_mm : float or None
        Voxels at most this far from the centre, in millimetres.
    n_voxels : int or None
        Instead of a radius: so many voxels that are nearest to the centre.
    estimator : {"lda", "ridge", "gnb", "crossnobis", "rsa"}
        ``crossnobis`` measures distances of patterns instead of accuracy; ``rsa`` compares models
        with distances.
    shrinkage : float or None
        Weight of the identity in the covariance, 0.001 to 1; naive Bayes has none, and ``rsa``
        estimates its own in each sphere. None estimates it from the training trials of each
        fold, without labels.
    """

    radius_mm: float | None = None
    n_voxels: int | None = None
    estimator: Estimator = "lda"
    shrinkage: float | None = None

    @property
    def is_wanted(self) -> bool:
        """Whether a size is given."""
        return self.radius_mm is not None or self.n_voxels is not None

    @property
    def maps_models(self) -> bool:
        """Whether models of distances are mapped in place of labels."""
        return self.estimator == "rsa"

    @property
    def measure(self) -> str:
        """What a map shows."""
        return {
            "crossnobis": "crossnobis distance", "rsa": "whitened correlation",
        }.get(self.estimator, "balanced accuracy")

    @property
    def word(self) -> str:
        """Size of a sphere as it is given to the option."""
        return f"{self.n_voxels}vox" if self.radius_mm is None else f"{self.radius_mm:g}mm"

    @property
    def size(self) -> str:
        """Size of a sphere in words."""
        if self.radius_mm is not None:
            return f"{self.radius_mm:g} mm radius"
        return f"{self.n_voxels} voxels"
