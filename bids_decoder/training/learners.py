"""How stage 1 learns which voxels to keep: what is trained, what it costs, what stays."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from bids_decoder.models.networks import (
    GatedInputLayer,
    HardConcreteInputLayer,
    InputLayer,
)
from bids_decoder.seeds import derive_seed
from bids_decoder.training.loop import ParameterGroup

GATE_RATE_FACTOR = 30.0
"""Gates move faster than weights: 1e-2 where the weights have 3e-4."""


class GateLearner:
    """One gate per voxel; after each epoch the best of the budget stay.

    Three changes to TROI as printed: the number of voxels follows a schedule instead of a
    threshold on weights that an L1 penalty shrinks (which collapses under Adam), importance is
    gate times row norm (they are not identifiable apart), and it starts from the closed-form
    input layer.
    """

    fresh: bool = False
    """Start from random weights instead of the closed form."""

    def layer(self, weight: Tensor, bias: Tensor) -> InputLayer:
        """Make the layer to train from weights (n_voxels, n_latents) and bias (n_latents,)."""
        return GatedInputLayer(weight, bias, torch.ones(len(weight)))

    def groups(self, layer: InputLayer) -> list[ParameterGroup]:
        """Say which parameters are trained and how fast."""
        weight, *gates = layer.per_voxel
        fast = [ParameterGroup(tuple(gates), GATE_RATE_FACTOR, decays=False)] if gates else []
        return [ParameterGroup((weight, layer.bias)), *fast]

    def penalty(self, layer: InputLayer, budget: int) -> Tensor | float:
        """Give what is added to the loss of a batch."""
        return 0.0

    def after_step(self, layer: InputLayer, budget: int) -> None:
        """Change the layer after a step of the optimizer."""

    def importance(self, layer: InputLayer) -> Tensor:
        """Give the importance of each voxel left, before the low-pass filter."""
        return layer.importance()

    def stays(self, importance: np.ndarray, budget: int) -> np.ndarray:
        """Say which voxels stay after an epoch.

        Parameters
        ----------
        importance : ndarray, shape (n_voxels left,)
            After the low-pass filter.
        budget : int

        Returns
        -------
        ndarray of int
            Their positions, in order.
        """
        return np.sort(np.argsort(-importance, kind="stable")[:budget])

    def ends(self, n_left: int, budget: int) -> bool:
        """Say whether learning is over although the schedule has epochs left."""
        return False


class LiteralGates(GateLearner):
    """Gates as TROI prints them: L1 on the gates, a threshold, no control of the budget.

    Parameters
    ----------
    guarded : bool
        Never drop more than 30 % of the voxels at once, nor go below the budget.

    Notes
    -----
    Wang et al. 2025, arXiv 2502.00412. Strength of the penalty and threshold are not
    printed; the threshold is a share of the largest filtered gate.
    """

    fresh = True
    strength = 3e-3
    threshold = 0.05
    most_dropped = 0.3

    def __init__(self, guarded: bool = False) -> None:
        self.guarded = guarded

    def penalty(self, layer: InputLayer, budget: int) -> Tensor:
        """Give the L1 norm of the gates, times the strength."""
        return self.strength * _gate(layer).abs().sum()

    def importance(self, layer: InputLayer) -> Tensor:
        """Give the signed gates: a negative one falls below any threshold."""
        return _gate(layer).detach()

    def stays(self, importance: np.ndarray, budget: int) -> np.ndarray:
        """Keep voxels at or above the threshold; none when no gate is positive."""
        above = np.flatnonzero((importance >= self.threshold * importance.max()) & (importance > 0))
        if not self.guarded:
            return above
        fewest = max(math.ceil((1 - self.most_dropped) * len(importance)), budget)
        return above if len(above) > fewest else super().stays(importance, fewest)

    def ends(self, n_left: int, budget: int) -> bool:
        """End at the budget, or with nothing left."""
        return n_left <= budget


class RowGroupLasso(GateLearner):
    """Group lasso on the rows of the input layer, its strength set by the budget.

    After each step of the optimizer comes a proximal step, which shortens all rows by the same
    length and zeroes those that are shorter. The length is chosen so that a tenth of the rows
    in excess of the budget go; rows that go may come back within the epoch.

    References
    ----------
    Yuan and Lin 2006, J R Stat Soc B 68:49.
    """

    share_per_step = 0.1

    def layer(self, weight: Tensor, bias: Tensor) -> InputLayer:
        """Make a plain input layer: the rows themselves are sparse."""
        return InputLayer(weight, bias)

    def after_step(self, layer: InputLayer, budget: int) -> None:
        """Take the proximal step of the group lasso."""
        with torch.no_grad():
            length = layer.weight.norm(dim=1)
            n_alive = int((length > 0).sum())
            surplus = n_alive - budget
            if surplus <= 0:
                return
            n_zero = len(length) - n_alive + math.ceil(self.share_per_step * surplus)
            step = length.kthvalue(n_zero).values
            layer.weight *= (1 - step / length.clamp_min(1e-12)).clamp_min(0)[:, None]


class HardConcreteGates(GateLearner):
    """Gates that are exactly open or shut, under a budget on their expected number.

    The multiplier of the budget rises while more gates are expected to be open than wanted and
    falls otherwise (dual ascent), so that there is no strength to tune.
    """

    first_location = 2.0
    gate_rate_factor = 100.0
    ascent = 0.1

    def __init__(self) -> None:
        self.multiplier = 0.0

    def layer(self, weight: Tensor, bias: Tensor) -> InputLayer:
        """Make a layer with nearly all gates open."""
        return HardConcreteInputLayer(weight, bias, torch.full((len(weight),), self.first_location))

    def groups(self, layer: InputLayer) -> list[ParameterGroup]:
        """Say which parameters are trained and how fast."""
        gates = ParameterGroup((_gate(layer),), self.gate_rate_factor, decays=False)
        return [ParameterGroup((layer.weight, layer.bias)), gates]

    def penalty(self, layer: InputLayer, budget: int) -> Tensor:
        """Give the expected number of open gates over the budget, times the multiplier."""
        if not isinstance(layer, HardConcreteInputLayer):
            raise TypeError("hard-concrete gates need their own layer")
        surplus = layer.chance_open().sum() / budget - 1
        self.multiplier = max(0.0, self.multiplier + self.ascent * float(surplus.detach()))
        return self.multiplier * surplus


def _gate(layer: InputLayer) -> torch.nn.Parameter:
    return layer.per_voxel[1]


def fresh_weight(n_voxels: int, n_latents: int, seed: int) -> Tensor:
    """Draw random weights (n_voxels, n_latents) as a new ``torch.nn.Linear`` has them."""
    rng = np.random.default_rng(derive_seed(seed, "fresh input layer"))
    bound = n_voxels**-0.5
    drawn = rng.uniform(-bound, bound, (n_voxels, n_latents))
    return torch.from_numpy(drawn.astype(np.float32))
