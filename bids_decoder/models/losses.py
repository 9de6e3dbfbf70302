"""Contrastive losses for decoding: BiMixCo, SoftCLIP and class prototypes.

They differ from the public MindEye2 code in two points: the partner indices of a mixed batch
refer to rows of that batch, and the target matrix accumulates, so that a sample mixed with
itself keeps its full weight.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import log_softmax, normalize, softmax


@dataclass(frozen=True)
class Mix:
    """Partners and shares of the mixed samples of one batch (MixCo).

    Parameters
    ----------
    partner : Tensor of int64, shape (n,)
        Row of the batch that is mixed into each row.
    share : Tensor, shape (n,)
        Weight of the row itself; ``1 - share`` is the weight of the partner.
    """

    partner: Tensor
    share: Tensor

    def apply(self, samples: Tensor) -> Tensor:
        """Mix the rows of *samples* (n, d)."""
        share = self.share[:, None].to(samples.dtype)
        return share * samples + (1 - share) * samples[self.partner]


def draw_mix(
    groups: np.ndarray, alpha: float, probability: float, rng: np.random.Generator
) -> Mix:
    """Draw partners within participants and shares from Beta(alpha, alpha).

    Parameters
    ----------
    groups : ndarray, shape (n,)
        Participant of each sample; samples are mixed only within a group.
    alpha : float
        Shape of the Beta distribution (MindEye2: 0.15).
    probability : float
        Probability that a sample is mixed (MindEye2: 0.5).
    rng : numpy.random.Generator
    """
    partner = np.arange(len(groups))
    for group in np.unique(groups):
        rows = np.flatnonzero(groups == group)
        partner[rows] = rng.permutation(rows)
    share = np.where(
        rng.random(len(groups)) < probability, rng.beta(alpha, alpha, len(groups)), 1.0
    )
    return Mix(torch.from_numpy(partner), torch.from_numpy(share.astype(np.float32)))


def mixed_targets(same: Tensor, mix: Mix) -> Tensor:
    """Build the target distribution of every mixed row over the batch.

    Parameters
    ----------
    same : Tensor of bool, shape (n, n)
        True where two rows show the same stimulus, which are equally correct.
    mix : Mix

    Returns
    -------
    Tensor, shape (n, n)
        Rows sum to one.
    """
    spread = same.float() / same.float().sum(dim=1, keepdim=True)
    return mix.apply(spread)


def bimixco(embedding: Tensor, target: Tensor, same: Tensor, mix: Mix, scale: Tensor) -> Tensor:
    """Compute the mixed-sample contrastive loss in both directions (BiMixCo).

    Parameters
    ----------
    embedding : Tensor, shape (n, d)
        Output of the network for the mixed samples.
    target : Tensor, shape (n, d)
        Embeddings of the stimuli of the unmixed rows.
    same : Tensor of bool, shape (n, n)
        Rows that show the same stimulus.
    mix : Mix
    scale : Tensor
        Inverse temperature.

    References
    ----------
    Kim et al. 2020 (MixCo), arXiv 2010.06300; Scotti et al. 2024 (MindEye2), arXiv 2403.11207.
    """
    logits = scale * normalize(embedding, dim=1) @ normalize(target, dim=1).T
    wanted = mixed_targets(same, mix)
    return _both_directions(logits, wanted)


def softclip(
    embedding: Tensor, target: Tensor, scale: Tensor, temperature: float = 0.1
) -> Tensor:
    """Compute the contrastive loss with soft targets from the similarity of the stimuli.

    Parameters
    ----------
    embedding, target : Tensor, shape (n, d)
    scale : Tensor
        Inverse temperature of the predictions.
    temperature : float
        Of the targets, ``softmax(q q^T / temperature)``.
    """
    target = normalize(target, dim=1)
    logits = scale * normalize(embedding, dim=1) @ target.T
    return _both_directions(logits, softmax(target @ target.T / temperature, dim=1))


def _both_directions(logits: Tensor, wanted: Tensor) -> Tensor:
    columns = wanted / wanted.sum(dim=0, keepdim=True).clamp_min(1e-12)
    # A stimulus that no mixture contains has no column loss.
    weight = (wanted.sum(dim=0) > 0).float()
    forward = -(wanted * log_softmax(logits, dim=1)).sum(dim=1).mean()
    backward = -(columns * log_softmax(logits, dim=0)).sum(dim=0) * weight
    return (forward + backward.sum() / weight.sum()) / 2


def prototype_loss(
    embedding: Tensor, rows: Tensor, prototypes: Tensor, mix: Mix | None, scale: Tensor
) -> Tensor:
    """Compute the cross-entropy against class prototypes, with mixed labels for mixed samples.

    Parameters
    ----------
    embedding : Tensor, shape (n, d)
    rows : Tensor of int64, shape (n,)
        Class of each sample, a row of *prototypes*.
    prototypes : Tensor, shape (n_classes, d)
    mix : Mix or None
    scale : Tensor
        Inverse temperature.
    """
    logits = scale * embedding @ normalize(prototypes, dim=1).T
    wanted = torch.nn.functional.one_hot(rows, len(prototypes)).float()
    if mix is not None:
        wanted = mix.apply(wanted)
    return -(wanted * log_softmax(logits, dim=1)).sum(dim=1).mean()
