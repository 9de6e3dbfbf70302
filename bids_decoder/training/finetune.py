"""Stage 2 of TROI: fit the input layer on the selected voxels and fine-tune it."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass
from typing import Any, TypeGuard

import numpy as np
from torch import Tensor

from bids_decoder.config import Troi
from bids_decoder.evaluation.folds import enough_folds, inner_folds
from bids_decoder.models.lora import add_low_rank_changes, fold_low_rank_changes
from bids_decoder.models.networks import InputLayer, Trunk
from bids_decoder.seeds import derive_seed
from bids_decoder.training.adaptation import Adaptation
from bids_decoder.training.input_layer import InputFit
from bids_decoder.training.labellings import asks_for_training

DEFAULT_EPOCHS = 15


@dataclass(frozen=True, eq=False)
class Stage2:
    """Result of stage 2.

    Parameters
    ----------
    fit : InputFit
    trunk : Trunk
        The shared one, or its copy that was trained too; in evaluation mode.
    history : list of dict
        epoch, loss, val_score.
    notes : dict
        JSON-able: mode, penalty, number of epochs.
    """

    fit: InputFit
    trunk: Trunk
    history: list[dict[str, float]]
    notes: dict[str, Any]


def keeps_start(start: np.ndarray | None, troi: Troi) -> TypeGuard[np.ndarray]:
    """Return whether stage 2 keeps or continues from the input layer of stage 1."""
    return start is not None and troi.stage2 != "reinit"


def fit_weights(
    adaptation: Adaptation, voxel_weights: np.ndarray, start: np.ndarray | None, troi: Troi
) -> Stage2:
    """Fit the input layer on the selected voxels (stage 2).

    Parameters
    ----------
    adaptation : Adaptation
        To the responses that *start* was learned on, if :func:`keeps_start`.
    voxel_weights : ndarray, shape (n_voxels,)
        Prior scale; zero outside the mask.
    start : ndarray or None, shape (n_voxels, n_latents)
        Input layer at the end of stage 1, for the modes that continue from it.
    troi : Troi
        Without effect on labels, unless the settings ask for training
        (:func:`.labellings.asks_for_training`). ``stage2``: ``reinit`` starts from new closed-form
        weights, ``lr_rewind`` from those of stage 1 with a full schedule, ``none`` keeps those
        unchanged. ``stage2_trunk``: whether the trunk is ``frozen``, trained in ``full``, or by
        low-rank changes (``lora``).

    Returns
    -------
    Stage2
    """
    first = adaptation.closed_form(voxel_weights)
    if keeps_start(start, troi):
        bias = -np.mean(adaptation.person.betas, axis=0, dtype=np.float64) @ start
        first = InputFit(start, bias.astype(np.float32), first.penalty, first.n_trials)
    n_epochs = adaptation.settings.finetune_epochs or DEFAULT_EPOCHS
    how = troi.stage2 if _is_trained(adaptation, troi) else "none"
    if how == "none":
        n_epochs = 0
    best, history = choose_epochs(adaptation, voxel_weights, n_epochs, troi.stage2_trunk)
    notes = {"stage2": how, "stage2_trunk": troi.stage2_trunk,
             "penalty": first.penalty, "epochs": best}
    if best == 0:
        return Stage2(first, adaptation.trunk, history, notes)
    part = _Trainable(adaptation, first, voxel_weights, troi.stage2_trunk)
    part.train(n_epochs, stop_after=best)
    return Stage2(part.folded(), part.trunk, history, notes)


def _is_trained(adaptation: Adaptation, troi: Troi) -> bool:
    """Return whether the layer is trained: not of labels, pretrained or not, by default."""
    shared, asked = adaptation.shared, asks_for_training(adaptation.settings, troi)
    return not shared.closed_form and (not shared.is_category or bool(asked))


def choose_epochs(
    adaptation: Adaptation, voxel_weights: np.ndarray, n_epochs: int, mode: str
) -> tuple[int, list[dict[str, float]]]:
    """Choose the number of epochs by cross-validation over training runs.

    Parameters
    ----------
    adaptation : Adaptation
    voxel_weights : ndarray, shape (n_voxels,)
    n_epochs : int
        Largest number.
    mode : {"frozen", "full", "lora"}
        Training of the trunk.

    Returns
    -------
    best : int
        0, the closed form, unless training improves the score by at least one percent.
    history : list of dict
        epoch, loss and val_score, means over folds; empty with fewer than three runs.
    """
    person = adaptation.person
    if n_epochs == 0 or len(np.unique(person.run_groups)) < 3:
        return 0, []
    scores = np.zeros(n_epochs + 1)
    losses = np.zeros(n_epochs)
    folds = enough_folds(inner_folds(person.run_groups, 3))
    for number, (rows, validation) in enumerate(folds):
        inner = adaptation.with_person(
            person.subset(rows), derive_seed(adaptation.seed, "inner", number)
        )
        part = _Trainable(inner, inner.closed_form(voxel_weights), voxel_weights, mode)
        heldout = inner.tensors(person.betas[validation][:, part.kept],
                                person.target_rows[validation])
        curve, loss = part.validation_curve(heldout, n_epochs)
        scores += curve
        losses += np.array(loss)
    best = int(np.argmax(scores))
    if scores[best] < scores[0] * 1.01:
        best = 0
    scores, losses = scores / len(folds), losses / len(folds)
    listed = [
        {"epoch": e + 1, "loss": losses[e], "val_score": scores[e + 1]} for e in range(n_epochs)
    ]
    return best, [{"epoch": 0, "val_score": scores[0]}, *listed]


class _Trainable:
    """An input layer on the selected voxels and a trunk, ready to be trained together."""

    def __init__(
        self, adaptation: Adaptation, fit: InputFit, voxel_weights: np.ndarray, mode: str
    ) -> None:
        self.adaptation, self.fit = adaptation, fit
        self.kept = np.flatnonzero(voxel_weights)
        self.layer: InputLayer = adaptation.layer(fit, self.kept)
        self.trunk = adaptation.trunk
        if mode != "frozen":
            self.trunk = deepcopy(self.trunk).requires_grad_(True)
        if mode == "lora":
            add_low_rank_changes(self.trunk, derive_seed(adaptation.seed, "low rank"))

    def train(self, n_epochs: int, **options: Any) -> list[float]:
        """Train on the participant's trials; see :meth:`Adaptation.train`."""
        person = self.adaptation.person
        data = self.adaptation.tensors(person.betas[:, self.kept], person.target_rows)
        return self.adaptation.train(
            self.layer, data, n_epochs, self.fit.n_trials, trunk=self.trunk, **options
        )

    def validation_curve(
        self, heldout: dict[str, Tensor], n_epochs: int
    ) -> tuple[np.ndarray, list[float]]:
        """Return the score on held-out trials before training and after each epoch, and losses."""
        def score() -> float:
            return self.adaptation.score(self.layer, self.trunk, heldout, self.fit.n_trials)

        curve = [score()]
        losses = self.train(n_epochs, after_epoch=lambda *_: curve.append(score()))
        return np.array(curve), losses

    def folded(self) -> InputFit:
        """Return the trained input layer; fix the trunk as it is."""
        fold_low_rank_changes(self.trunk)
        self.trunk.requires_grad_(False)
        scale = self.adaptation.shared.scale.latent_sd
        weight = np.zeros_like(self.fit.weight)
        weight[self.kept] = self.layer.weight.detach().cpu().numpy() * scale
        bias = self.layer.bias.detach().cpu().numpy() * scale
        return InputFit(weight, bias, self.fit.penalty, self.fit.n_trials)
