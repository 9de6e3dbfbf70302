"""Options of decoding in regions."""

from __future__ import annotations

from argparse import ArgumentParser
from pathlib import Path

from bids_decoder.config import Settings
from bids_decoder.options import bad_value, choices, option, several
from bids_decoder.training.region_settings import Regions

SECTION = Regions


def is_wanted(settings: Settings) -> bool:
    """Return whether an atlas is given, or missing when only this stage is requested."""
    return bool(settings.section(Regions).atlases) or "regions" in settings.execution.stage


def add_options(parser: ArgumentParser) -> None:
    """Add the options of this analysis."""
    group = parser.add_argument_group("Specific options for regions")
    several(
        group, "--regions", dest="regions.atlases", metavar="ATLAS|FILE", type=_read_atlas,
        help="also decode from the voxels of each region: of label files or masks (whole numbers; "
        "names in a TSV beside with `index` and `name`; `{participant}` in the path stands for the "
        "label), of annotations on surfaces (`lh.NAME.annot`, `*.label.gii`, `*.dlabel.nii`), of "
        "`aparcaseg` or `aseg` in the derivatives, or of an atlas of TemplateFlow, as "
        "`Schaefer2018:400Parcels7Networks`. See [regions.md](regions.md)",
    )
    option(
        group, "--regions-estimator", dest="regions.estimator", section=Regions,
        choices=choices(Regions, "estimator"), default="`lda`",
        help="what decodes labels in each region: `lda` (discriminant analysis with shrinkage) or "
        "`ridge` (ridge regression). Images and features are retrieved through ridge regression",
    )


def _read_atlas(text: str) -> str:
    """Read the name of an atlas, or a path, which becomes absolute.

    Examples
    --------
    >>> _read_atlas("aparcaseg"), _read_atlas("/roi/V1.nii.gz")
    ('aparcaseg', '/roi/V1.nii.gz')
    """
    if not text.strip():
        raise bad_value("the name of an atlas is empty", "give a name or a path")
    if "/" in text or text.endswith((".nii", ".nii.gz", ".gii", ".annot")):
        return str(Path(text).expanduser().absolute())
    return text
