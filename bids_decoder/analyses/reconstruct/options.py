"""Options of reconstruction."""

from __future__ import annotations

from argparse import ArgumentParser
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from bids_decoder.config import Network, Section, Settings
from bids_decoder.options import choices, option, read_path

if TYPE_CHECKING:
    from bids_decoder.analyses.jobs import Notes


@dataclass(frozen=True)
class Reconstruction(Section, table="reconstruction"):
    """Settings of reconstruction from held-out trials."""

    method: Literal["auto", "ridge", "unclip", "none"] = "auto"
    weights: Path | None = None
    metric_weights: Path | None = None
    size: int = 64
    n_steps: int = 20
    low_level: float = 0.0


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
        help="how images are made: ridge paints a coarse image from the voxels and needs no "
        "weights; unclip generates one from the decoded vector; auto: ridge where images are "
        "decoded",
    )
    option(
        group, "--reconstruction-weights", dest="reconstruction.weights",
        section=Reconstruction, type=read_path, metavar="FOLDER",
        help="unCLIP pipeline of diffusers, safetensors only, for unclip",
    )
    option(
        group, "--metric-weights", dest="reconstruction.metric_weights",
        section=Reconstruction, type=read_path, metavar="FOLDER",
        help="networks by which reconstructions are scored besides pixels: "
        "alexnet, inception_v3, efficientnet_b1, swav_resnet50 (.safetensors), clip (folder)",
    )
    option(
        group, "--prior", dest="network.prior", choices=choices(Network, "prior"),
        help="what turns the decoded vector into that of an image, to generate from: regression "
        "shrinks it, diffusion draws one; with unclip, none means regression",
    )
