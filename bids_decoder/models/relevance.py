"""Explanations of decisions by voxels: layer-wise relevance propagation, and occlusion.

Relevance starts at the logit of the decoded class and is propagated down layer by layer, to each
unit in proportion to its contribution. The sum is conserved from layer to layer, except for the
small part that biases and the stabiliser absorb.

References
----------
Bach et al. 2015, On pixel-wise explanations for non-linear classifier decisions by layer-wise
relevance propagation, PLoS ONE 10:e0130140. Arras et al. 2017, Explaining recurrent neural network
predictions in sentiment analysis, arXiv 1706.07206 (gates of an LSTM get no relevance).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn

from bids_decoder.models.volumes import SliceNetwork, VolumeNetwork, as_slices

SLICE_EPSILON = 1e-3
VOLUME_EPSILON = 1e-6


def evenly_spaced(rows: np.ndarray, most: int) -> np.ndarray:
    """Choose at most *most* of the volumes with these row numbers, (n,), to be explained."""
    if len(rows) <= most:
        return rows
    return rows[np.linspace(0, len(rows) - 1, most).round().astype(int)]


def relevance_of(network: nn.Module, volumes: Tensor, classes: Tensor) -> Tensor:
    """Propagate the logits of *classes* down to the voxels.

    Parameters
    ----------
    network : SliceNetwork or VolumeNetwork
        In evaluation mode.
    volumes : Tensor, shape (n, i, j, k)
    classes : Tensor of int, shape (n,)
        Class whose logit is explained, for instance the decoded one.

    Returns
    -------
    Tensor, shape (n, i, j, k)
    """
    if isinstance(network, SliceNetwork):
        return _slice_relevance(network, volumes, classes)
    if isinstance(network, VolumeNetwork):
        return _volume_relevance(network, volumes, classes)
    raise TypeError(f"no relevance rules for {type(network).__name__}")


def stabilised(values: Tensor, epsilon: float) -> Tensor:
    """Move *values* away from zero by *epsilon*, keeping their sign."""
    return values + epsilon * torch.where(values < 0, -1.0, 1.0)


def epsilon_rule(
    layer: Callable[[Tensor], Tensor], inputs: Tensor, relevance: Tensor, epsilon: float
) -> Tensor:
    """Propagate relevance through a linear layer in proportion to contributions.

    Parameters
    ----------
    layer : callable
        Linear in its input, except for a bias.
    inputs : Tensor
    relevance : Tensor
        Relevance of the outputs.
    epsilon : float

    Returns
    -------
    Tensor
        Relevance of *inputs*, with the same shape.
    """
    with torch.enable_grad():
        start = inputs.detach().requires_grad_()
        outputs = layer(start)
        share = (relevance / stabilised(outputs, epsilon)).detach()
        (slope,) = torch.autograd.grad((outputs * share).sum(), start)
    return inputs.detach() * slope


def alpha_beta_rule(
    layer: nn.Conv3d, inputs: Tensor, relevance: Tensor, epsilon: float
) -> Tensor:
    """Propagate relevance with weight 2 to positive and -1 to negative inputs.

    A unit whose contributions all have the same sign passes its entire relevance to them, so
    that the sum is conserved; biases are ignored.
    """
    positive, negative = layer.weight.clamp(min=0), layer.weight.clamp(max=0)

    def parts(first: Tensor, second: Tensor) -> Callable[[Tensor], Tensor]:
        # Contributions are positive for factors of the same sign, negative for opposite signs.
        return lambda x: (
            layer._conv_forward(x.clamp(min=0), first, None)
            + layer._conv_forward(x.clamp(max=0), second, None)
        )

    helping, hindering = parts(positive, negative), parts(negative, positive)
    has_help, has_hindrance = helping(inputs) > epsilon, hindering(inputs) < -epsilon
    up = torch.where(has_hindrance, 2.0, 1.0) * has_help
    down = torch.where(has_help, -1.0, 1.0) * has_hindrance
    return epsilon_rule(helping, inputs, up * relevance, epsilon) + epsilon_rule(
        hindering, inputs, down * relevance, epsilon
    )


def flat_rule(layer: nn.Conv3d, inputs: Tensor, relevance: Tensor) -> Tensor:
    """Distribute the relevance of each unit equally over all inputs in its receptive field."""
    ones = torch.ones_like(layer.weight)
    return epsilon_rule(
        lambda x: layer._conv_forward(x, ones, None), torch.ones_like(inputs), relevance, 0.0
    )


def lstm_rule(lstm: nn.LSTM, inputs: Tensor, relevance: Tensor, epsilon: float) -> Tensor:
    """Propagate the relevance of the last hidden states of an LSTM to its inputs.

    Relevance follows the summands: that of a cell is divided between the previous cell times
    the forget gate and the candidate times the input gate; the candidate passes its part on to
    the input and the previous hidden state. Gates are treated as constants without relevance.

    Parameters
    ----------
    lstm : torch.nn.LSTM
        One layer, both directions, batch first.
    inputs : Tensor, shape (n, n_steps, n_features)
    relevance : Tensor, shape (n, 2 * hidden_size)
        Relevance of the last states, forward then backward.
    epsilon : float

    Returns
    -------
    Tensor, shape (n, n_steps, n_features)
    """
    forward, backward = relevance.split(lstm.hidden_size, dim=1)
    ahead = _one_direction(lstm, "", inputs, forward, epsilon)
    back = _one_direction(lstm, "_reverse", inputs.flip(1), backward, epsilon)
    return ahead + back.flip(1)


def _one_direction(
    lstm: nn.LSTM, suffix: str, inputs: Tensor, relevance: Tensor, epsilon: float
) -> Tensor:
    weights = tuple(
        getattr(lstm, f"{name}_l0{suffix}").detach()
        for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
    )
    steps = _run_steps(weights, inputs, lstm.hidden_size)
    candidate = slice(2 * lstm.hidden_size, 3 * lstm.hidden_size)
    from_input, from_hidden = weights[0][candidate], weights[1][candidate]
    found = torch.zeros_like(inputs)
    of_hidden, of_cell = relevance, torch.zeros_like(relevance)
    for number in reversed(range(inputs.shape[1])):
        step = steps[number]
        cell = of_hidden + of_cell
        share = cell / stabilised(step["kept"] + step["added"], epsilon)
        of_cell = step["kept"] * share
        part = step["added"] * share / stabilised(step["drive"], epsilon)
        found[:, number] = inputs[:, number] * (part @ from_input)
        of_hidden = step["hidden"] * (part @ from_hidden)
    return found


def _run_steps(
    weights: tuple[Tensor, ...], inputs: Tensor, n_hidden: int
) -> list[dict[str, Tensor]]:
    """Run one direction and return the values of each step that the rule needs."""
    hidden = cell = inputs.new_zeros(len(inputs), n_hidden)
    steps = []
    for values in inputs.unbind(1):
        gates = values @ weights[0].T + hidden @ weights[1].T + weights[2] + weights[3]
        entry, forget, drive, exit_ = gates.chunk(4, dim=1)
        kept, added = forget.sigmoid() * cell, entry.sigmoid() * drive.tanh()
        steps.append({"hidden": hidden, "kept": kept, "added": added, "drive": drive})
        cell = kept + added
        hidden = exit_.sigmoid() * cell.tanh()
    return steps


def _start(logits: Tensor, classes: Tensor) -> Tensor:
    """Set all logits to zero except that of the given class."""
    return logits * nn.functional.one_hot(classes, logits.shape[1])


@torch.no_grad()
def _slice_relevance(network: SliceNetwork, volumes: Tensor, classes: Tensor) -> Tensor:
    slices = as_slices(volumes)
    inputs = []
    for convolution in network.convolutions:
        inputs.append(slices)
        slices = torch.relu(convolution(slices))
    sequence = slices.flatten(1).view(len(volumes), volumes.shape[3], -1)
    _, (hidden, _) = network.lstm(sequence)
    states = torch.cat([hidden[0], hidden[1]], dim=1)
    relevance = epsilon_rule(
        network.output, states, _start(network.output(states), classes), SLICE_EPSILON
    )
    relevance = lstm_rule(network.lstm, sequence, relevance, SLICE_EPSILON).view_as(slices)
    for convolution, entered in zip(reversed(network.convolutions), reversed(inputs), strict=True):
        relevance = epsilon_rule(convolution, entered, relevance, SLICE_EPSILON)
    n, i, j, k = volumes.shape
    return relevance.view(n, k, i, j).permute(0, 2, 3, 1)


@torch.no_grad()
def _volume_relevance(network: VolumeNetwork, volumes: Tensor, classes: Tensor) -> Tensor:
    maps = volumes.unsqueeze(1)
    inputs = []
    for convolution, norm in zip(network.convolutions, network.norms, strict=True):
        inputs.append(maps)
        maps = norm(torch.relu(convolution(maps)))
    pooled = torch.relu(network.output(maps))
    relevance = epsilon_rule(
        lambda x: x.mean(dim=(2, 3, 4)), pooled, _start(pooled.mean(dim=(2, 3, 4)), classes),
        VOLUME_EPSILON,
    )
    relevance = epsilon_rule(network.output, maps, relevance, VOLUME_EPSILON)
    for number in reversed(range(len(inputs))):
        convolution = network.convolutions[number]
        # Normalisation layers need no rule: each unit has a single input.
        if number:
            relevance = alpha_beta_rule(convolution, inputs[number], relevance, VOLUME_EPSILON)
        else:
            relevance = flat_rule(convolution, inputs[0], relevance)
    return relevance.squeeze(1)


_MAX_WINDOWS = 600
Window = tuple[int, ...]


def choose_window(shape: Window, kind: str) -> tuple[Window, Window]:
    """Choose window and stride of the occlusion for volumes of the given size.

    Parameters
    ----------
    shape : tuple of int
        (i, j, k).
    kind : {"2d", "3d"}
        The published window of 6 x 5 voxels in one slice, or a cube of 5 voxels; stride 2, and
        1 across the slices of the flat window. Both are doubled until the volume has at most 600
        windows.

    Returns
    -------
    window, stride : tuple of int
    """
    window, stride = ((6, 5, 1), (2, 2, 1)) if kind == "2d" else ((5, 5, 5), (2, 2, 2))
    window = tuple(map(min, window, shape))
    while len(_corners(shape, window, stride)) > _MAX_WINDOWS:
        window = tuple(min(2 * width, size) for width, size in zip(window, shape, strict=True))
        stride = tuple(min(2 * s, width) for s, width in zip(stride, window, strict=True))
    return window, stride


@torch.no_grad()
def occlusion_map(
    network: nn.Module, volumes: Tensor, classes: Tensor, *, fill: Tensor,
    window: Window, stride: Window,
) -> Tensor:
    """Map the increase of the cross-entropy when a window of the volume is occluded.

    Parameters
    ----------
    network : torch.nn.Module
        In evaluation mode.
    volumes : Tensor, shape (n, i, j, k)
    classes : Tensor of int, shape (n,)
        True classes.
    fill : Tensor, shape (i, j, k)
        Content of the window: a volume without information on the class, such as the mean.
    window, stride : tuple of int
        From :func:`choose_window`.

    Returns
    -------
    Tensor, shape (i, j, k)
        Cross-entropy with the window minus that without, averaged over volumes and over the
        windows that cover a voxel.

    References
    ----------
    Zeiler and Fergus 2014, Visualizing and understanding convolutional networks, arXiv 1311.2901.
    """
    shape = tuple(volumes.shape[1:])
    loss = nn.functional.cross_entropy
    intact = loss(network(volumes), classes)
    total, count = torch.zeros(shape), torch.zeros(shape)
    for corner in _corners(shape, window, stride):
        place = tuple(slice(c, c + w) for c, w in zip(corner, window, strict=True))
        hidden = volumes.clone()
        hidden[(slice(None), *place)] = fill[place]
        total[place] += float(loss(network(hidden), classes) - intact)
        count[place] += 1
    return total / count


def _corners(shape: Window, window: Window, stride: Window) -> list[Window]:
    """Return the corners of windows that together cover all voxels."""
    axes = [
        sorted({*range(0, size - width, step), size - width})
        for size, width, step in zip(shape, window, stride, strict=True)
    ]
    return [(a, b, c) for a in axes[0] for b in axes[1] for c in axes[2]]
