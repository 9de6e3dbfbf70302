"""Stage 1 of TROI: learn which voxels to keep, through the shared trunk."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from bids_decoder.models.networks import InputLayer
from bids_decoder.training.adaptation import Adaptation
from bids_decoder.training.learners import GateLearner, fresh_weight
from bids_decoder.training.smoothing import smooth_within


@dataclass(frozen=True, eq=False)
class LearnedGates:
    """Result of stage 1.

    Parameters
    ----------
    kept : ndarray of int, shape (budget,)
        Voxels left at the end.
    score : ndarray of float32, shape (n_voxels,)
        Filtered importance of each voxel when it was last judged; voxels that were dropped
        earlier rank lower.
    weight : ndarray of float32, shape (n_voxels, n_latents)
        Input layer with the gates multiplied in; zero for voxels dropped.
    history : list of dict
        epoch, loss, n_voxels.
    """

    kept: np.ndarray
    score: np.ndarray
    weight: np.ndarray
    history: list[dict[str, float]]


def learn_gates(
    adaptation: Adaptation, voxel_weights: np.ndarray, budgets: list[int], fwhm_mm: float,
    learner: GateLearner | None = None,
) -> LearnedGates:
    """Learn which voxels matter while their number shrinks (stage 1).

    Parameters
    ----------
    adaptation : Adaptation
    voxel_weights : ndarray, shape (n_voxels,)
        Prior scale; voxels with zero take no part.
    budgets : list of int
        Number of voxels to keep after each epoch.
    fwhm_mm : float
        Low-pass filter on the importance before voxels are judged.
    learner : GateLearner, optional
        What is trained and which voxels stay; by default one gate per voxel.

    Returns
    -------
    LearnedGates

    Notes
    -----
    After Wang et al. 2025 (TROI, arXiv 2502.00412). Dropped voxels are removed from the layer
    after each epoch.
    """
    person, learner = adaptation.person, learner or GateLearner()
    kept = np.flatnonzero(voxel_weights)
    layer = _first_layer(adaptation, learner, voxel_weights, kept)
    data = adaptation.tensors(person.betas[:, kept], person.target_rows)
    score = np.zeros(len(voxel_weights), dtype=np.float32)
    history: list[dict[str, float]] = []

    def judge(epoch: int, optimizer: torch.optim.Optimizer) -> bool:
        nonlocal kept
        importance = np.zeros(len(voxel_weights))
        importance[kept] = learner.importance(layer).cpu().numpy()
        smooth = smooth_within(importance, person.grid, fwhm_mm)
        # Voxels that are left rank above all that were dropped before.
        score[kept] = epoch + smooth[kept] / max(smooth.max(), 1e-12)
        stay = learner.stays(smooth[kept], budgets[epoch])
        history.append({"epoch": epoch + 1, "n_voxels": len(stay)})
        if 0 < len(stay) < len(kept):
            kept = kept[stay]
            rows = torch.from_numpy(stay).to(adaptation.device)
            _compact(layer, optimizer, rows)
            data["betas"] = data["betas"][:, rows]
        return learner.ends(len(stay), budgets[epoch])

    losses = adaptation.train(
        layer, data, len(budgets), len(person.betas), groups=learner.groups(layer),
        penalty=lambda epoch: learner.penalty(layer, budgets[epoch]),
        after_step=lambda epoch: learner.after_step(layer, budgets[epoch]), after_epoch=judge,
    )
    for entry, loss in zip(history, losses, strict=True):
        entry["loss"] = loss
    weight = np.zeros((len(voxel_weights), layer.weight.shape[1]), dtype=np.float32)
    weight[kept] = layer.folded_weight().cpu().numpy()
    return LearnedGates(kept, score, weight * adaptation.shared.scale.latent_sd, history)


def _first_layer(
    adaptation: Adaptation, learner: GateLearner, voxel_weights: np.ndarray, kept: np.ndarray
) -> InputLayer:
    if not learner.fresh:
        return adaptation.layer(adaptation.closed_form(voxel_weights), kept, learner.layer)
    weight = fresh_weight(len(kept), adaptation.wanted.shape[1], adaptation.seed)
    return learner.layer(weight, torch.zeros(weight.shape[1])).to(adaptation.device)


def _compact(layer: InputLayer, optimizer: torch.optim.Optimizer, keep: Tensor) -> None:
    """Cut the layer and the state of the optimizer down to the voxels *keep*, in place."""
    for parameter in layer.per_voxel:
        parameter.data = parameter.data[keep].clone()
        parameter.grad = None
        state = optimizer.state[parameter]
        for name in ("exp_avg", "exp_avg_sq"):
            state[name] = state[name][keep].clone()
