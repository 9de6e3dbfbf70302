"""Learning rules of stage 1: trained parameters, penalty, and which voxels stay."""

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
"""Learning rate of gates relative to that of weights."""


class GateLearner:
    """One gate per voxel; after each epoch the most important voxels stay.

    Three changes to TROI as published: the number of voxels follows a schedule instead of a
    threshold on gates with an L1 penalty (which collapses with Adam), the importance is gate
    times row norm (only their product is identifiable), and training starts from the
    closed-form input layer.
    """

    fresh: bool = False
    """Whether to start from random weights instead of the closed form."""

    def layer(self, weight: Tensor, bias: Tensor) -> InputLayer:
        """Make the trainable layer from weights (n_voxels, n_latents) and bias (n_latents,)."""
        return GatedInputLayer(weight, bias, torch.ones(len(weight)))

    def groups(self, layer: InputLayer) -> list[ParameterGroup]:
        """Return the trained parameters and their learning rates."""
        weight, *gates = layer.per_voxel
        fast = [ParameterGroup(tuple(gates), GATE_RATE_FACTOR, decays=False)] if gates else []
        return [ParameterGroup((weight, layer.bias)), *fast]

    def penalty(self, layer: InputLayer, budget: int) -> Tensor | float:
        """Return the term that is added to the loss of a batch."""
        return 0.0

    def after_step(self, layer: InputLayer, budget: int) -> None:
        """Change the layer after a step of the optimizer."""

    def importance(self, layer: InputLayer) -> Tensor:
        """Return the importance of each voxel left, before the low-pass filter."""
        return layer.importance()

    def stays(self, importance: np.ndarray, budget: int) -> np.ndarray:
        """Select the voxels that stay after an epoch.

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
        """Return whether to stop before the last epoch of the schedule."""
        return False


class LiteralGates(GateLearner):
    """Gates as in the TROI paper: L1 penalty, a threshold, no control of the budget.

    Parameters
    ----------
    guarded : bool
        Drop at most 30 % of the voxels per epoch, and not below the budget.

    Notes
    -----
    Wang et al. 2025, arXiv 2502.00412. The paper gives neither the strength of the penalty nor
    the threshold; here the threshold is a share of the largest filtered gate.
    """

    fresh = True
    strength = 3e-3
    threshold = 0.05
    most_dropped = 0.3

    def __init__(self, guarded: bool = False) -> None:
        self.guarded = guarded

    def penalty(self, layer: InputLayer, budget: int) -> Tensor:
        """Return the L1 norm of the gates, times the strength."""
        return self.strength * _gate(layer).abs().sum()

    def importance(self, layer: InputLayer) -> Tensor:
        """Return the signed gates; negative ones are below any threshold."""
        return _gate(layer).detach()

    def stays(self, importance: np.ndarray, budget: int) -> np.ndarray:
        """Select voxels at or above the threshold; none if no gate is positive.

        Parameters
        ----------
        importance : ndarray, shape (n_voxels,)
        budget : int
            At least so many stay, where the guard of the rule is on.

        Returns
        -------
        ndarray of int, shape (n_left,)
        """
        above = np.flatnonzero((importance >= self.threshold * importance.max()) & (importance > 0))
        if not self.guarded:
            return above
        fewest = max(math.ceil((1 - self.most_dropped) * len(importance)), budget)
        return above if len(above) > fewest else super().stays(importance, fewest)

    def ends(self, n_left: int, budget: int) -> bool:
        """Return whether the budget is met or no voxel is left."""
        return n_left <= budget


class RowGroupLasso(GateLearner):
    """Group lasso on the rows of the input layer, with its strength set by the budget.

    Each step of the optimizer is followed by a proximal step, which reduces the norm of all
    rows by the same amount and sets shorter rows to zero. The amount is chosen so that a tenth
    of the rows in excess of the budget become zero; they may grow again within the epoch.

    References
    ----------
    Yuan and Lin 2006, J R Stat Soc B 68:49.
    """

    share_per_step = 0.1

    def layer(self, weight: Tensor, bias: Tensor) -> InputLayer:
        """Make a plain input layer, whose rows become sparse."""
        return InputLayer(weight, bias)

    def after_step(self, layer: InputLayer, budget: int) -> None:
        """Apply the proximal step of the group lasso."""
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
    """Hard-concrete gates with a budget on the expected number of open gates.

    The multiplier of the constraint increases while the expected number exceeds the budget and
    decreases otherwise (dual ascent), so that no penalty needs tuning.
    """

    first_location = 2.0
    gate_rate_factor = 100.0
    ascent = 0.1

    def __init__(self) -> None:
        self.multiplier = 0.0

    def layer(self, weight: Tensor, bias: Tensor) -> InputLayer:
        """Make a layer whose gates are nearly all open."""
        return HardConcreteInputLayer(weight, bias, torch.full((len(weight),), self.first_location))

    def groups(self, layer: InputLayer) -> list[ParameterGroup]:
        """Return the trained parameters and their learning rates."""
        gates = ParameterGroup((_gate(layer),), self.gate_rate_factor, decays=False)
        return [ParameterGroup((layer.weight, layer.bias)), gates]

    def penalty(self, layer: InputLayer, budget: int) -> Tensor:
        """Return the relative excess of open gates over the budget, times the multiplier."""
        if not isinstance(layer, HardConcreteInputLayer):
            raise TypeError("hard-concrete gates need their own layer")
        surplus = layer.chance_open().sum() / budget - 1
        self.multiplier = max(0.0, self.multiplier + self.ascent * float(surplus.detach()))
        return self.multiplier * surplus


def _gate(layer: InputLayer) -> torch.nn.Parameter:
    return layer.per_voxel[1]


def fresh_weight(n_voxels: int, n_latents: int, seed: int) -> Tensor:
    """Draw random weights (n_voxels, n_latents) as in a new ``torch.nn.Linear``."""
    rng = np.random.default_rng(derive_seed(seed, "fresh input layer"))
    bound = n_voxels**-0.5
    drawn = rng.uniform(-bound, bound, (n_voxels, n_latents))
    return torch.from_numpy(drawn.astype(np.float32))
