"""Options of decoding: the decoder, and the voxels that it reads."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from bids_decoder.config import Network
from bids_decoder.options import (
    bad_value,
    choices,
    option,
    read_budget,
    read_number,
    read_registered,
)


def add_options(parser: ArgumentParser) -> None:
    """Add the options of this analysis."""
    group = parser.add_argument_group("Specific options for decoding")
    option(
        group, "--decoder", dest="network.decoder", metavar="NAME",
        type=read_registered("training.decoders:DECODERS"),
        help="the decoder: troi, deeplight, cnn3d",
    )
    option(
        group, "--trunk", dest="network.trunk", choices=choices(Network, "trunk"),
        help="part of the network that all participants share",
    )
    option(
        group, "--hidden", dest="network.hidden", type=read_number(int, 1), metavar="N",
        default="decided from the data", help="width of the shared part of the network",
    )
    option(
        group, "--n-seeds", dest="network.n_seeds", type=read_number(int, 1), metavar="N",
        help="fit the decoder under so many seeds and average the predictions; voxels are those "
        "that most seeds choose",
    )
    option(
        group, "--precision", dest="network.precision", choices=choices(Network, "precision"),
        help="numbers that the network is trained with: bf16-mixed is faster on recent GPUs",
    )
    option(
        group, "--troi", dest="troi.selector", metavar="NAME",
        type=read_registered("training.selectors:SELECTORS"),
        help="how voxels are selected: graded, troi-budget, encoding, soft, random, all, paper, "
        "paper-guarded, group-lasso, hard-concrete, univariate, ridge-norm",
    )
    option(
        group, "--budget", dest="troi.*", type=read_budget, metavar="SIZE",
        default="chosen on the training trials",
        help="size of the selection, as 3000vox or 17500mm3",
    )
    option(
        group, "--region", dest="troi.region", metavar="REGION",
        help="where voxels may be selected: brain, occipital, or a mask image",
    )
    option(
        group, "--n-permutations", dest="evaluation.*", type=_read_permutations, metavar="N",
        default="1000 on one test set, 20 where cross-validation is fitted again each time",
        help="permutations of the labels behind each p value; 0 leaves p values under "
        "cross-validation out",
    )
    option(
        group, "--ablations", dest="evaluation.ablations", action="store_true",
        help="also decode without each part: pretraining, prior of the group, selection, low-pass "
        "filter, second stage; takes several times as long",
    )


def _read_permutations(text: str) -> dict[str, Any]:
    """Read a number of permutations, for fixed predictions and for refits.

    Examples
    --------
    >>> _read_permutations("20")
    {'n_permutations': 20, 'n_refits': 20}
    """
    if not text.strip().isdigit():
        raise bad_value(
            f"{text!r} is no number of permutations", "give a whole number, as 100"
        )
    return {"n_permutations": int(text), "n_refits": int(text)}
