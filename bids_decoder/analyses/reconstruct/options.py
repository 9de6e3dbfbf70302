"""Options of reconstruction."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import TYPE_CHECKING

from bids_decoder.config import Network, Settings
from bids_decoder.options import choices, option, read_path
from bids_decoder.training.reconstruction_settings import Reconstruction

if TYPE_CHECKING:
    from bids_decoder.analyses.jobs import Notes


SECTION = Reconstruction


def is_wanted(settings: Settings) -> bool:
    """Return whether images may be reconstructed."""
    return settings.section(Reconstruction).method != "none"


def resolve(settings: Settings, notes: Notes) -> Settings:
    """Choose the prior that maps decoded vectors to vectors of the generator."""
    if settings.section(Reconstruction).method != "unclip" or settings.network.prior != "none":
        return settings
    # The command line imports this module, which must stay fast.
    from bids_decoder.trials import Decision

    notes.decisions.append(Decision(
        "prior", "regression", "the generator needs vectors of the right scale; in "
        "simulations regression was closer to the true vectors than a diffusion prior",
    ))
    return settings.replaced(network={"prior": "regression"})


def add_options(parser: ArgumentParser) -> None:
    """Add the options of this analysis."""
    group = parser.add_argument_group("Specific options for reconstructing what was seen")
    option(
        group, "--reconstruction", dest="reconstruction.method", section=Reconstruction,
        choices=choices(Reconstruction, "method"),
        help="how images are made: `ridge` paints a coarse image from the decoder's voxels, in "
        "closed form and without weights; `unclip` generates one from the decoded CLIP "
        "embedding; `none`. `auto` is `ridge` where images are decoded and three or more "
        "are held out",
    )
    option(
        group, "--reconstruction-weights", dest="reconstruction.weights", section=Reconstruction,
        type=read_path, metavar="FOLDER",
        help="for `unclip`: the folder of a Stable unCLIP pipeline of diffusers, safetensors "
        "only. Its CLIP model must be the image encoder (`--image-encoder clip`)",
    )
    option(
        group, "--metric-weights", dest="reconstruction.metric_weights", section=Reconstruction,
        type=read_path, metavar="FOLDER",
        help="folder with any of `alexnet.safetensors`, `inception_v3.safetensors`, "
        "`efficientnet_b1.safetensors`, `swav_resnet50.safetensors` and a CLIP model in "
        "`clip/`: reconstructions are then scored by them too. All but AlexNet and CLIP "
        "need torchvision",
    )
    option(
        group, "--prior", dest="network.prior", choices=choices(Network, "prior"),
        help="how the decoded vector is mapped to an image embedding to generate from. "
        "`regression` shrinks each dimension, by how well held-out training trials predict "
        "it; `diffusion` trains a diffusion prior in pretraining, continues in each "
        "participant, and draws samples; `none` leaves the vector as it is, but means "
        "`regression` with `unclip`. Retrieval does not use it. See [images.md](images.md)",
    )
