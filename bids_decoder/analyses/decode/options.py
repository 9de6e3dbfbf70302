"""Options of decoding: the decoder, and the voxels that it reads."""

from __future__ import annotations

from argparse import ArgumentParser
from argparse import _ArgumentGroup as Group

from bids_decoder.config import Network
from bids_decoder.options import (
    NumberReader,
    choices,
    option,
    read_budget,
    read_number,
    read_registered,
)


def add_options(parser: ArgumentParser) -> None:
    """Add the options of this analysis."""
    group = parser.add_argument_group("Specific options for decoding")
    _add_network(group)
    _add_selection(group)
    _add_evaluation(group)


def _add_network(group: Group) -> None:
    option(
        group, "--decoder", dest="network.decoder", metavar="NAME",
        type=read_registered("training.decoders:DECODERS"),
        help="the decoder: `troi` (a network with a trainable region of interest), `deeplight` "
        "(a network on whole volumes, see [deeplight.md](deeplight.md)), `cnn3d` (a shallow "
        "3-D network, for trials and for one volume per participant, see "
        "[cnn3d.md](cnn3d.md)). The last two decode labels only",
    )
    option(
        group, "--trunk", dest="network.trunk", choices=choices(Network, "trunk"),
        help="part of the network that all participants share: `residual` blocks or one `linear` "
        "map",
    )
    option(
        group, "--hidden", dest="network.hidden", type=read_number(int, 1), metavar="N",
        default="decided from the data", help="width of the trunk",
    )
    option(
        group, "--n-seeds", dest="network.n_seeds", type=read_number(int, 1), metavar="N",
        help="number of seeds under which to fit the decoder; predictions are averaged. The mask "
        "holds the voxels that most seeds choose, and `stat-seedstability` shows the share "
        "of seeds. A pretrained model of several seeds is used with all of them",
    )
    option(
        group, "--precision", dest="network.precision", choices=choices(Network, "precision"),
        help="numerical precision of training: `32-true`, or `bf16-mixed`, which is faster on "
        "recent GPUs",
    )


def _add_selection(group: Group) -> None:
    option(
        group, "--troi", dest="troi.selector", metavar="NAME",
        type=read_registered("training.selectors:SELECTORS"),
        help="how voxels are selected, always on training trials: `graded` (the voxels with the "
        "largest share of signal, weighted by it, where neighbouring voxels also indicate "
        "signal; of labels after pretraining on voxels without known neighbours, all voxels, "
        "weighted by it), `troi-budget` (trainable gates, shrinking to the budget), `encoding` "
        "(voxels that the targets predict best), `soft` (all voxels, with weights), "
        "`random`, `all`. For comparison: `paper` (TROI as printed: L1 on gates and a "
        "threshold; may collapse, which the sidecar of the mask reports), `paper-guarded` "
        "(the same, dropping 30 % an epoch at most), `group-lasso` (rows of the input "
        "layer), `hard-concrete` (L0 gates), `univariate` (F test of each voxel), "
        "`ridge-norm` (row norm of ridge)",
    )
    option(
        group, "--budget", dest="troi.*", type=read_budget, metavar="SIZE",
        default="chosen on the training trials",
        help="size of the selection: `3000vox`, or `17500mm3`, which means the same at every "
        "voxel size. By default it is the number of voxels that are likely to carry signal "
        "(`graded`, `troi-budget`), unless another number predicts held-out training runs "
        "clearly better; for the other selectors it is chosen by cross-validation",
    )
    option(
        group, "--region", dest="troi.region", metavar="REGION",
        help="where voxels may be selected: `brain`, `occipital` (a coarse box at the back of "
        "the brain, found through the registration), or the path of a mask image on the "
        "grid of the responses ([spaces](#spaces))",
    )


def _add_evaluation(group: Group) -> None:
    option(
        group, "--n-permutations", dest="evaluation.*", type=_Permutations(int, 0), metavar="N",
        default="1000 on one test set; under cross-validation 1000 where refits are in closed form "
        "and 100 elsewhere; 20 with one volume per participant",
        help="permutations of the labels behind each p-value: on one test set with fixed "
        "predictions; under cross-validation everything is fitted again for each "
        "permutation ([statistics.md](statistics.md)): together, in closed form, for values, and "
        "for labels without pretraining; elsewhere one after the other, which takes about as many "
        "times as long as decoding itself. `0` skips p-values under cross-validation",
    )
    option(
        group, "--ablations", dest="evaluation.ablations", action="store_true",
        help="also decode without each part of the decoder: pretraining, the prior of the group, "
        "the selection of voxels, the low-pass filter of the selection, the spatial "
        "prior (of labels and values: the filter of responses), the second stage. Adds a table "
        "to the report; takes several times as long",
    )


class _Permutations(NumberReader):
    """Read a number of permutations, for fixed predictions and for refits.

    Examples
    --------
    >>> _Permutations(int, 0)("20")
    {'n_permutations': 20, 'n_refits': 20}
    """

    def __call__(self, text: str) -> dict[str, int]:
        number = super().__call__(text)
        return {"n_permutations": number, "n_refits": number}
