"""Options of searchlights."""

from __future__ import annotations

import re
from argparse import ArgumentParser
from typing import Any

from bids_decoder.config import Settings
from bids_decoder.options import bad_value, choices, option
from bids_decoder.training.searchlight_settings import LEAST_VOXELS, Searchlight

SECTION = Searchlight

_SIZE = re.compile(r"(\d+\.?\d*|\.\d+)\s*(mm|vox)")


def is_wanted(settings: Settings) -> bool:
    """Return whether labels are searched, or a size is missing when this stage is requested."""
    own = settings.section(Searchlight)
    return (own.is_wanted and not own.maps_models) or "searchlight" in settings.execution.stage


def add_options(parser: ArgumentParser) -> None:
    """Add the options of this analysis."""
    group = parser.add_argument_group("Specific options for searchlights")
    option(
        group, "--searchlight", dest="searchlight.*", section=Searchlight, type=_read_size,
        metavar="SIZE", default="`none`",
        help="also decode labels from the voxels around every voxel: those within a radius, as "
        "`8mm`, or the nearest ones, as `100vox`",
    )
    option(
        group, "--searchlight-estimator", dest="searchlight.estimator", section=Searchlight,
        choices=choices(Searchlight, "estimator"), default="`lda`",
        help="what decodes in each sphere: `lda` (discriminant analysis with shrinkage), `ridge` "
        "(ridge regression), `gnb` (Gaussian naive Bayes); `crossnobis` maps the mean "
        "cross-validated Mahalanobis distance of labels instead of accuracy; `rsa` maps how well "
        "the models of `--rsa` fit these distances",
    )


def _read_size(text: str) -> dict[str, Any]:
    """Read the size of the spheres.

    Examples
    --------
    >>> _read_size("8mm")
    {'radius_mm': 8.0, 'n_voxels': None}
    >>> _read_size("100vox")
    {'radius_mm': None, 'n_voxels': 100}
    """
    match = _SIZE.fullmatch(text.strip().lower())
    value = float(match[1]) if match else 0.0
    if not match or value <= 0 or (match[2] == "vox" and not value.is_integer()):
        raise bad_value(
            f"{text!r} is no size of a searchlight", "give a radius as 8mm, or voxels as 100vox"
        )
    if match[2] == "mm":
        return {"radius_mm": value, "n_voxels": None}
    if value < LEAST_VOXELS:
        raise bad_value("a searchlight of one voxel has no pattern", "give more, as 100vox")
    return {"radius_mm": None, "n_voxels": int(value)}
