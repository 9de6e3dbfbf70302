"""Low-rank adaptation of the matrices of a trained network, for fine-tuning with few trials."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from bids_decoder.models.seeding import seeded

RANK = 8


class LowRankChange(nn.Module):
    """A matrix plus the product of two thin matrices, which is initially zero.

    Parameters
    ----------
    n_rows, n_columns : int
        Shape of the matrix.
    rank : int

    References
    ----------
    Hu et al. 2022, LoRA: low-rank adaptation of large language models, arXiv 2106.09685.
    """

    def __init__(self, n_rows: int, n_columns: int, rank: int = RANK) -> None:
        super().__init__()
        self.left = nn.Parameter(torch.randn(n_rows, rank) / n_rows**0.5)
        self.right = nn.Parameter(torch.zeros(rank, n_columns))

    def forward(self, matrix: Tensor) -> Tensor:
        """Return the changed matrix."""
        return matrix + self.left @ self.right


def add_low_rank_changes(network: nn.Module, seed: int, rank: int = RANK) -> None:
    """Freeze *network* and add trainable low-rank changes to all its matrices, in place.

    Parameters
    ----------
    network : torch.nn.Module
    seed : int
        Seed of the random factor of the changes.
    rank : int
    """
    network.requires_grad_(False)
    places = [
        (module, name, value.shape)
        for module in network.modules()
        for name, value in module.named_parameters(recurse=False) if value.ndim == 2
    ]
    with seeded(seed):
        for module, name, shape in places:
            change = LowRankChange(*shape, rank).to(getattr(module, name).device)
            parametrize.register_parametrization(module, name, change)


def fold_low_rank_changes(network: nn.Module) -> None:
    """Add the low-rank changes to the matrices and remove them, in place."""
    for module in list(network.modules()):
        if parametrize.is_parametrized(module):
            for name in list(module.parametrizations):
                parametrize.remove_parametrizations(module, name, leave_parametrized=True)
