"""Training one person's input layer through the shared trunk: gates (stage 1), weights (stage 2).

Both start from the closed-form input layer. The trunk is frozen, unless stage 2 is asked to
train it along.
"""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from bids_decoder.config import Network, Troi
from bids_decoder.evaluation.splits import inner_folds
from bids_decoder.models.lora import add_low_rank_changes, fold_low_rank_changes
from bids_decoder.models.networks import InputLayer, Trunk
from bids_decoder.seeds import derive_seed
from bids_decoder.training.common_space import CommonMaps
from bids_decoder.training.input_layer import InputFit, fit_input_layer
from bids_decoder.training.learners import GateLearner, fresh_weight
from bids_decoder.training.loop import (
    History,
    Schedule,
    make_fabric,
    shuffled_batches,
    train,
)
from bids_decoder.training.pretrain import LatentScale, Objective
from bids_decoder.training.smoothing import smooth_within
from bids_decoder.trials import Person

DEFAULT_EPOCHS = 15


@dataclass(frozen=True, eq=False)
class SharedModel:
    """What people share: trunk, scale of its input, and the targets.

    Parameters
    ----------
    trunk : Trunk
    scale : LatentScale
    vectors : ndarray of float32, shape (n_ids, n_latents)
        Targets in the target space.
    is_category : bool
    common : CommonMaps, optional
        What the source people's voxels do, where all share a standard space.
    """

    trunk: Trunk
    scale: LatentScale
    vectors: np.ndarray
    is_category: bool
    common: CommonMaps | None = None

    def embed(self, latents: np.ndarray, n_trials: int) -> np.ndarray:
        """Bring latents (n, n_latents) of an input layer fitted on *n_trials* through the trunk."""
        context = np.repeat(self.scale.context(np.array([np.log2(n_trials)])), len(latents), axis=0)
        device = self.trunk.bias.device
        with torch.no_grad():
            scaled = torch.from_numpy(latents.astype(np.float32) / self.scale.latent_sd)
            return self.trunk(scaled.to(device), torch.from_numpy(context).to(device)).cpu().numpy()


@dataclass(frozen=True, eq=False)
class LearnedGates:
    """What stage 1 found.

    Parameters
    ----------
    kept : ndarray of int, shape (budget,)
        Voxels left at the end.
    score : ndarray of float32, shape (n_voxels,)
        Filtered importance of each voxel when it was last judged; earlier losers rank lower.
    weight : ndarray of float32, shape (n_voxels, n_latents)
        Input layer with gates folded in; zero for voxels dropped.
    history : list of dict
        epoch, loss, n_voxels.
    """

    kept: np.ndarray
    score: np.ndarray
    weight: np.ndarray
    history: list[dict[str, float]]


@dataclass(frozen=True, eq=False)
class Stage2:
    """What stage 2 made.

    Parameters
    ----------
    fit : InputFit
    trunk : Trunk
        The shared one, or the one that was trained along; in evaluation mode.
    history : list of dict
        epoch, loss, val_score.
    notes : dict
        JSON-able: mode, penalty, number of epochs.
    """

    fit: InputFit
    trunk: Trunk
    history: list[dict[str, float]]
    notes: dict[str, Any]


class Adaptation:
    """Trains the input layer of one person through the shared trunk.

    Parameters
    ----------
    person : Person
        Training trials only.
    shared : SharedModel
    settings : Network
    seed : int
    device : str
    """

    def __init__(
        self, person: Person, shared: SharedModel, settings: Network, *, seed: int, device: str
    ) -> None:
        self.person = person
        self.shared = shared
        self.settings = settings
        self.seed = seed
        self.fabric = make_fabric(device, settings.precision)
        self.trunk = shared.trunk.to(self.fabric.device).eval().requires_grad_(False)
        self.wanted = shared.vectors[person.target_rows]
        self.prior = None if shared.common is None else shared.common.prior_of(person)

    def learn_gates(
        self,
        voxel_weights: np.ndarray,
        budgets: list[int],
        fwhm_mm: float,
        learner: GateLearner | None = None,
    ) -> LearnedGates:
        """Learn which voxels matter while their number shrinks (TROI stage 1).

        Parameters
        ----------
        voxel_weights : ndarray, shape (n_voxels,)
            Prior scale; voxels with zero never take part.
        budgets : list of int
            Voxels wanted after each epoch.
        fwhm_mm : float
            Low-pass filter on the importance before voxels are judged.
        learner : GateLearner, optional
            What is trained and what stays; by default one gate per voxel.

        Returns
        -------
        LearnedGates

        Notes
        -----
        After Wang et al. 2025 (TROI, arXiv 2502.00412). The layer is physically made smaller
        after each epoch.
        """
        person, learner = self.person, learner or GateLearner()
        kept = np.flatnonzero(voxel_weights)
        layer = self._first_layer(learner, voxel_weights, kept)
        data = self._tensors(person.betas[:, kept], person.target_rows)
        score = np.zeros(len(voxel_weights), dtype=np.float32)
        history: list[dict[str, float]] = []

        def judge(epoch: int, optimizer: torch.optim.Optimizer) -> bool:
            nonlocal kept
            importance = np.zeros(len(voxel_weights))
            importance[kept] = learner.importance(layer).cpu().numpy()
            smooth = smooth_within(importance, person.grid, fwhm_mm)
            # Survivors rank above all that went before.
            score[kept] = epoch + smooth[kept] / max(smooth.max(), 1e-12)
            stay = learner.stays(smooth[kept], budgets[epoch])
            history.append({"epoch": epoch + 1, "n_voxels": len(stay)})
            if 0 < len(stay) < len(kept):
                keep = torch.from_numpy(stay).to(self.fabric.device)
                kept = kept[stay]
                _compact(layer, optimizer, keep)
                data["betas"] = data["betas"][:, keep]
            return learner.ends(len(stay), budgets[epoch])

        losses = self._train(
            layer, data, len(budgets), len(person.betas), groups=learner.groups(layer),
            penalty=lambda epoch: learner.penalty(layer, budgets[epoch]),
            after_step=lambda epoch: learner.after_step(layer, budgets[epoch]),
            after_epoch=judge,
        )
        for entry, loss in zip(history, losses.loss, strict=True):
            entry["loss"] = loss
        weight = np.zeros((len(voxel_weights), layer.weight.shape[1]), dtype=np.float32)
        weight[kept] = layer.folded_weight().cpu().numpy()
        return LearnedGates(kept, score, weight * self.shared.scale.latent_sd, history)

    def closed_form(self, voxel_weights: np.ndarray) -> InputFit:
        """Fit the input layer in closed form, on top of the source people's where known."""
        group_weight = None if self.prior is None else self.prior.weight
        return fit_input_layer(
            self.person.betas, self.wanted, self.person.run_groups, voxel_weights,
            group_weight=group_weight,
        )

    def _first_layer(
        self, learner: GateLearner, voxel_weights: np.ndarray, kept: np.ndarray
    ) -> InputLayer:
        scale = self.shared.scale.latent_sd
        if learner.fresh:
            weight = fresh_weight(len(kept), self.wanted.shape[1], self.seed)
            return learner.layer(weight, torch.zeros(weight.shape[1])).to(self.fabric.device)
        fit = self.closed_form(voxel_weights)
        weight = torch.from_numpy(fit.weight[kept] / scale)
        return learner.layer(weight, torch.from_numpy(fit.bias / scale)).to(self.fabric.device)

    def fit_weights(
        self, voxel_weights: np.ndarray, start: np.ndarray | None, troi: Troi
    ) -> Stage2:
        """Fit the input layer on the chosen voxels (stage 2).

        Parameters
        ----------
        voxel_weights : ndarray, shape (n_voxels,)
            Prior scale; zero outside the mask.
        start : ndarray or None, shape (n_voxels, n_latents)
            Input layer at the end of stage 1, for the modes that go on from it.
        troi : Troi
            ``stage2``: ``reinit`` begins with fresh closed-form weights, ``lr_rewind`` with those
            of stage 1 and a full schedule, ``none`` leaves those as they are. ``stage2_trunk``:
            whether the trunk is ``frozen``, trained in ``full``, or by low-rank changes
            (``lora``).

        Returns
        -------
        Stage2
        """
        person, mode, how = self.person, troi.stage2, troi.stage2_trunk
        first = self.closed_form(voxel_weights)
        if mode != "reinit" and start is not None:
            bias = -np.asarray(person.betas, dtype=np.float64).mean(axis=0) @ start
            first = InputFit(start, bias.astype(np.float32), first.penalty, first.n_trials)
        n_epochs = 0 if mode == "none" else self.settings.finetune_epochs or DEFAULT_EPOCHS
        best, history = self._choose_epochs(voxel_weights, n_epochs, how)
        notes = {"stage2": mode, "stage2_trunk": how, "penalty": first.penalty, "epochs": best}
        fit, trunk = self._improve(first, voxel_weights, n_epochs, best, how)
        return Stage2(fit, trunk, history, notes)

    def _choose_epochs(
        self, voxel_weights: np.ndarray, n_epochs: int, how: str
    ) -> tuple[int, list[dict[str, float]]]:
        """Choose by leaving training runs out after how many epochs to stop; 0 is closed form."""
        person = self.person
        if n_epochs == 0 or len(np.unique(person.run_groups)) < 3:
            return 0, []
        scores = np.zeros(n_epochs + 1)
        losses = np.zeros(n_epochs)
        folds = inner_folds(person.run_groups, 3)
        for number, (rows, validation) in enumerate(folds):
            part = Adaptation(
                person.subset(rows), self.shared, self.settings,
                seed=derive_seed(self.seed, "inner", number), device=str(self.fabric.device),
            )
            fit = part.closed_form(voxel_weights)
            heldout = part._tensors(person.betas[validation], person.target_rows[validation])
            curve, history = part._validation_curve(fit, voxel_weights, heldout, n_epochs, how)
            scores += curve
            losses += np.array(history.loss)
        best = int(np.argmax(scores))
        if scores[best] < scores[0] * 1.01:
            best = 0
        scores, losses = scores / len(folds), losses / len(folds)
        listed = [
            {"epoch": e + 1, "loss": losses[e], "val_score": scores[e + 1]} for e in range(n_epochs)
        ]
        return best, [{"epoch": 0, "val_score": scores[0]}, *listed]

    def _validation_curve(
        self, fit: InputFit, voxel_weights: np.ndarray, heldout: dict[str, Tensor], n_epochs: int,
        how: str,
    ) -> tuple[np.ndarray, History]:
        kept = np.flatnonzero(voxel_weights)
        layer, trunk = self._plain(fit, kept), self._trainable_trunk(how)
        heldout = {**heldout, "betas": heldout["betas"][:, kept]}
        curve = [self._score(layer, trunk, heldout, fit.n_trials)]
        history = self._train(
            layer, self._tensors(self.person.betas[:, kept], self.person.target_rows), n_epochs,
            fit.n_trials, trunk=trunk,
            after_epoch=lambda *_: curve.append(self._score(layer, trunk, heldout, fit.n_trials)),
        )
        return np.array(curve), history

    def _improve(
        self, fit: InputFit, voxel_weights: np.ndarray, n_epochs: int, stop_after: int, how: str
    ) -> tuple[InputFit, Trunk]:
        if stop_after == 0:
            return fit, self.trunk
        kept = np.flatnonzero(voxel_weights)
        layer, trunk = self._plain(fit, kept), self._trainable_trunk(how)
        self._train(
            layer, self._tensors(self.person.betas[:, kept], self.person.target_rows), n_epochs,
            fit.n_trials, trunk=trunk, stop_after=stop_after,
        )
        fold_low_rank_changes(trunk)
        weight = np.zeros_like(fit.weight)
        weight[kept] = layer.weight.detach().cpu().numpy() * self.shared.scale.latent_sd
        bias = layer.bias.detach().cpu().numpy() * self.shared.scale.latent_sd
        return InputFit(weight, bias, fit.penalty, fit.n_trials), trunk.requires_grad_(False)

    def _trainable_trunk(self, how: str) -> Trunk:
        """Give the trunk itself if it is frozen, else a copy whose changes are trained."""
        if how == "frozen":
            return self.trunk
        trunk = deepcopy(self.trunk).requires_grad_(True)
        if how == "lora":
            add_low_rank_changes(trunk, derive_seed(self.seed, "low rank"))
        return trunk

    def _plain(self, fit: InputFit, kept: np.ndarray) -> InputLayer:
        scale = self.shared.scale.latent_sd
        layer = InputLayer(
            torch.from_numpy(fit.weight[kept] / scale), torch.from_numpy(fit.bias / scale)
        )
        return layer.to(self.fabric.device)

    def _tensors(self, betas: np.ndarray, target_rows: np.ndarray) -> dict[str, Tensor]:
        device = self.fabric.device
        return {
            "betas": torch.from_numpy(np.ascontiguousarray(betas, dtype=np.float32)).to(device),
            "rows": torch.from_numpy(np.asarray(target_rows)).to(device),
        }

    def _objective(self, n_mixed_epochs: int) -> Objective:
        vectors = torch.from_numpy(self.shared.vectors.astype(np.float32)).to(self.fabric.device)
        return Objective(
            vectors, self.shared.is_category, self.settings.mixco_alpha, n_mixed_epochs
        )

    def _context(self, n_samples: int, n_trials: int) -> Tensor:
        context = self.shared.scale.context(np.array([np.log2(n_trials)]))
        return torch.from_numpy(context).to(self.fabric.device).expand(n_samples, 1)

    def _train(
        self, layer: InputLayer, data: dict[str, Tensor], n_epochs: int, n_trials: int, *,
        trunk: Trunk | None = None, penalty: Callable[[int], Tensor | float] = lambda _: 0.0,
        **options: Any,
    ) -> History:
        trunk = self.trunk if trunk is None else trunk
        objective = self._objective(round(n_epochs / 3))
        people = np.zeros(len(data["rows"]), dtype=int)

        def loss_of(batch: np.ndarray, epoch: int) -> Tensor:
            mix = objective.mix(people[batch], epoch, derive_seed(self.seed, int(batch[0])))
            betas, rows = data["betas"][batch], data["rows"][batch]
            with self.fabric.autocast():
                latents = layer(betas if mix is None else mix.apply(betas))
                embedding = trunk(latents, self._context(len(batch), n_trials))
            return objective.loss(embedding.float(), rows, mix, trunk.scale) + penalty(epoch)

        # A frozen trunk is left out: in training mode it would drop activations.
        trained = layer if trunk is self.trunk else nn.ModuleList([layer, trunk])
        schedule = Schedule(n_epochs, self.settings.learning_rate, self.settings.weight_decay)
        batch_size = self.settings.batch_size
        return train(
            trained, loss_of, lambda rng: shuffled_batches(len(people), batch_size, rng), schedule,
            seed=self.seed, fabric=self.fabric, **options,
        )

    def _score(
        self, layer: InputLayer, trunk: Trunk, data: dict[str, Tensor], n_trials: int
    ) -> float:
        """Mean probability of the right stimulus among those of the data, or of the class."""
        vectors = self._objective(0).vectors
        choices, position = data["rows"].unique(return_inverse=True)
        if self.shared.is_category:
            choices, position = torch.arange(len(vectors), device=vectors.device), data["rows"]
        gallery = torch.nn.functional.normalize(vectors[choices], dim=1)
        with torch.no_grad():
            embedding = trunk(layer(data["betas"]), self._context(len(position), n_trials))
            if not self.shared.is_category:
                embedding = torch.nn.functional.normalize(embedding, dim=1)
            chance = torch.softmax(trunk.scale * embedding @ gallery.T, dim=1)
        return float(chance[torch.arange(len(position)), position].mean())


def _compact(layer: InputLayer, optimizer: torch.optim.Optimizer, keep: Tensor) -> None:
    """Cut the layer and the optimizer's memory down to the voxels *keep*, in place."""
    for parameter in layer.per_voxel:
        parameter.data = parameter.data[keep].clone()
        parameter.grad = None
        state = optimizer.state[parameter]
        for name in ("exp_avg", "exp_avg_sq"):
            state[name] = state[name][keep].clone()
