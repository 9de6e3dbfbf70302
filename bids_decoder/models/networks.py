"""Trunk shared between participants, and the input layer of one participant."""

from __future__ import annotations

import math
from collections.abc import Mapping
from copy import deepcopy
from typing import Literal, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

AnyNetwork = TypeVar("AnyNetwork", bound=nn.Module)


def weights_of(network: nn.Module, prefix: str) -> dict[str, np.ndarray]:
    """Return the state of a network as arrays, named as in a model file with this prefix."""
    return {f"{prefix}.{k}": v.detach().cpu().numpy() for k, v in network.state_dict().items()}


def load_weights(network: AnyNetwork, weights: Mapping[str, np.ndarray]) -> AnyNetwork:
    """Load the arrays of :func:`weights_of`, without prefix, and set evaluation mode."""
    network.load_state_dict({k: torch.from_numpy(np.array(v)) for k, v in weights.items()})
    return network.eval()


class ResidualBlock(nn.Module):
    """Residual block ``x + MLP(LayerNorm([x, context]))``, initially the identity.

    Parameters
    ----------
    width : int
        Width of the stream.
    hidden : int
        Width of the hidden layer.
    dropout : float
        Dropout after the activation.
    n_context : int
        Number of context values appended to the normalised stream.
    """

    def __init__(self, width: int, hidden: int, dropout: float, n_context: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.widen = nn.Linear(width + n_context, hidden)
        self.drop = nn.Dropout(dropout)
        self.narrow = nn.Linear(hidden, width)
        nn.init.zeros_(self.narrow.weight)
        nn.init.zeros_(self.narrow.bias)

    def forward(self, stream: Tensor, context: Tensor) -> Tensor:
        """Apply the block; *stream* (n, width), *context* (n, n_context)."""
        inner = torch.cat([self.norm(stream), context], dim=1)
        return stream + self.narrow(self.drop(nn.functional.gelu(self.widen(inner))))


class Trunk(nn.Module):
    """Shared trunk and projector from latents of any participant to the target space.

    The untrained trunk passes the first ``n_out`` latents through unchanged, so that a decoder
    with a closed-form input layer is as accurate as ridge regression before any training.
    The context is the number of training trials of the input layer: with fewer trials the
    latents are noisier.

    Parameters
    ----------
    n_latents, n_out : int
        Width of the latents and of the embedding; ``n_latents >= n_out``.
    kind : {"residual", "linear"}
        With or without residual blocks before the linear projector.
    hidden, n_blocks, dropout
        Of the residual blocks.

    Notes
    -----
    All blocks share one residual stream. In MindEye2's released code a second mixer overwrites
    the stream of the first, so that the blocks of the first have no effect.
    """

    n_context = 1

    def __init__(
        self, n_latents: int, n_out: int, kind: Literal["residual", "linear"] = "residual",
        hidden: int = 256, n_blocks: int = 2, dropout: float = 0.15,
    ) -> None:
        super().__init__()
        depth = n_blocks if kind == "residual" else 0
        self.blocks = nn.ModuleList(
            ResidualBlock(n_latents, hidden, dropout, self.n_context) for _ in range(depth)
        )
        # Deviations from the identity: weight decay pulls towards the identity, not to zero.
        self.projector = nn.Parameter(torch.zeros(n_latents, n_out))
        self.projector_context = nn.Parameter(torch.zeros(n_latents, n_out))
        self.bias = nn.Parameter(torch.zeros(n_out))
        self.log_scale = nn.Parameter(torch.tensor(2.3))
        self.register_buffer("identity", torch.eye(n_latents, n_out), persistent=False)

    def forward(self, latents: Tensor, context: Tensor) -> Tensor:
        """Map latents (n, n_latents) with context (n, 1) to embeddings (n, n_out)."""
        stream = latents
        for block in self.blocks:
            stream = block(stream, context)
        straight = stream @ (self.identity + self.projector)
        return straight + context * (stream @ self.projector_context) + self.bias

    def shrunk(self, share: float) -> Trunk:
        """Return a copy that is *share* (0 to 1) of the way from the identity to this trunk.

        All parameters that are zero in an untrained trunk are multiplied by *share*. The output
        of a linear trunk is then the weighted mean of its input and of its output before.
        """
        copied = deepcopy(self)
        narrow = [part for block in copied.blocks for part in block.narrow.parameters()]
        with torch.no_grad():
            for part in (copied.projector, copied.projector_context, copied.bias, *narrow):
                part.mul_(share)
        return copied

    @property
    def scale(self) -> Tensor:
        """Inverse temperature of the contrastive loss, at most 100."""
        return self.log_scale.clamp(max=4.605).exp()


class InputLayer(nn.Module):
    """Linear layer from the voxels of one participant to latents.

    Parameters
    ----------
    weight : Tensor, shape (n_voxels, n_latents)
    bias : Tensor, shape (n_latents,)
    """

    def __init__(self, weight: Tensor, bias: Tensor) -> None:
        super().__init__()
        self.weight = nn.Parameter(weight.clone())
        self.bias = nn.Parameter(bias.clone())

    def forward(self, betas: Tensor) -> Tensor:
        """Map betas (n, n_voxels) to latents (n, n_latents)."""
        return betas @ self.weight + self.bias

    @property
    def per_voxel(self) -> tuple[nn.Parameter, ...]:
        """Parameters whose first axis is voxels; they are cut when voxels are dropped."""
        return (self.weight,)

    def importance(self) -> Tensor:
        """Return the norm of each voxel's row of the weights, shape (n_voxels left,)."""
        return self.weight.norm(dim=1).detach()

    def folded_weight(self) -> Tensor:
        """Return the weights of an equivalent linear layer, shape (n_voxels left, n_latents)."""
        return self.weight.detach()


class GatedInputLayer(InputLayer):
    """Input layer with one gate per voxel: ``(gate * betas) @ weight + bias``.

    Parameters
    ----------
    weight, bias
        As for :class:`InputLayer`.
    gate : Tensor, shape (n_voxels,)
        Starting gates.
    """

    def __init__(self, weight: Tensor, bias: Tensor, gate: Tensor) -> None:
        super().__init__(weight, bias)
        self.gate = nn.Parameter(gate.clone())

    def forward(self, betas: Tensor) -> Tensor:
        """Map betas (n, n_voxels left) to latents."""
        return (betas * self.gate) @ self.weight + self.bias

    @property
    def per_voxel(self) -> tuple[nn.Parameter, ...]:
        """Weights and gates; see :class:`InputLayer`."""
        return self.weight, self.gate

    def importance(self) -> Tensor:
        """Return ``|gate| * ||row of weight||``, shape (n_voxels left,).

        Only this product is identifiable, not its two factors.
        """
        return (self.gate.abs() * self.weight.norm(dim=1)).detach()

    def folded_weight(self) -> Tensor:
        """Return the weights times the gates, shape (n_voxels left, n_latents)."""
        return (self.gate[:, None] * self.weight).detach()


class HardConcreteInputLayer(GatedInputLayer):
    """Input layer whose gates are drawn at each training step and can be exactly 0 or 1.

    ``gate`` holds the location of each gate's hard-concrete distribution. In evaluation mode
    the gates are without noise, as the paper estimates them at test time.

    References
    ----------
    Louizos, Welling and Kingma 2018, Learning sparse neural networks through L0
    regularization, arXiv 1712.01312 (temperature 2/3, stretched to -0.1 ... 1.1).
    """

    temperature = 2 / 3
    low, high = -0.1, 1.1

    def forward(self, betas: Tensor) -> Tensor:
        """Map betas (n, n_voxels left) to latents."""
        return (betas * self._gates()) @ self.weight + self.bias

    def _gates(self) -> Tensor:
        if not self.training:
            return self._stretched(self.gate)
        share = torch.rand_like(self.gate).clamp(1e-6, 1 - 1e-6)
        return self._stretched((self.gate + share.logit()) / self.temperature)

    def _stretched(self, location: Tensor) -> Tensor:
        return (location.sigmoid() * (self.high - self.low) + self.low).clamp(0, 1)

    def chance_open(self) -> Tensor:
        """Compute the probability that each gate is not exactly zero, shape (n_voxels left,)."""
        shift = self.temperature * math.log(-self.low / self.high)
        return (self.gate - shift).sigmoid()

    def importance(self) -> Tensor:
        """Return the probability that the gate is open, times the row norm."""
        return (self.chance_open() * self.weight.norm(dim=1)).detach()

    def folded_weight(self) -> Tensor:
        """Return the weights times the gates of evaluation mode."""
        return (self._stretched(self.gate)[:, None] * self.weight).detach()
