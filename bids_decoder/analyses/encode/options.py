"""Options of encoding models."""

from __future__ import annotations

from argparse import ArgumentParser

from bids_decoder.config import Settings
from bids_decoder.options import option, read_registered
from bids_decoder.training.encoding_settings import Encoding

SECTION = Encoding


def is_wanted(settings: Settings) -> bool:
    """Return whether an encoder is chosen, or missing when only this stage is requested."""
    chosen = settings.section(Encoding).encoder is not None
    return chosen or "encode" in settings.execution.stage


def add_options(parser: ArgumentParser) -> None:
    """Add the options of this analysis."""
    group = parser.add_argument_group("Specific options for encoding models")
    option(
        group, "--encoder", dest="encoding.encoder", section=Encoding, metavar="NAME",
        type=read_registered("training.encoders:ENCODERS"), default="`none`",
        help="also predict the responses of the region's voxels (`--region`) from the stimuli: "
        "`etecrm` (end to end from the image, together with all that follow), `ridge` "
        "(features of `--image-encoder` or `--features`, then ridge of each voxel), or one "
        "of the models between the two: `etecrm-plain`, `twostep-selective`, "
        "`twostep-plain`. Needs images or features, and no pretraining. See "
        "[encoding.md](encoding.md)",
    )
