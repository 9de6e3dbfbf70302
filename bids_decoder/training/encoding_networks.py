"""Encoding models that are networks: end to end or on given features, selective or plain."""

from __future__ import annotations

import math
from collections.abc import Iterable
from functools import partial

import numpy as np
import torch
from torch import Tensor

from bids_decoder.errors import MissingInputError
from bids_decoder.evaluation.voxelwise import voxel_correlations
from bids_decoder.models.encoding import (
    EncodingNetwork,
    GivenFeatures,
    PictureFeatures,
    n_features,
    plain_loss,
    scale_pictures,
    selective_loss,
)
from bids_decoder.models.networks import load_weights, weights_of
from bids_decoder.models.seeding import seeded
from bids_decoder.models.store import Model
from bids_decoder.seeds import derive_seed
from bids_decoder.training.encoders import Choice, EncodeContext, Encoder, EncodingTask, Stimuli
from bids_decoder.training.encoding_settings import Encoding
from bids_decoder.training.loop import Schedule, Setup, make_fabric, shuffled_batches, train

MIN_EPOCHS, MIN_STEPS = 50, 1350
"""As published: 50 epochs of 1,750 pictures. Fewer pictures take the same steps in more epochs."""

PATIENCE_STEPS = 400
"""Steps without a better score on the inner split after which training ends."""

_BATCH = 256


class NetworkEncoder(Encoder):
    """A network that predicts all voxels of a region together, trained by Adam.

    The number of epochs is the one after which the mean cubed correlation over voxels is highest
    on the inner split; then a new network is trained for that number of epochs on all training
    trials.

    References
    ----------
    Qiao et al. 2019, arXiv 1907.11885; rates, batches and epochs as in the authors' code. The
    authors keep the epoch that is best on the evaluation set, which is not done here.
    """

    selective: bool = True

    def choose(self, task: EncodingTask, context: EncodeContext) -> Choice:
        """Choose the number of epochs; see :class:`.encoders.Encoder`."""
        fitted, held = task.inner
        state = _State(self, task.stimuli, task.rows[fitted], len(task.voxels), context)
        settings = context.settings
        n_steps = max(1, round(len(fitted) / settings.batch_size))
        watch = _Watch(
            state, task.rows[held], task.betas[held], math.ceil(PATIENCE_STEPS / n_steps)
        )
        n_epochs = settings.epochs or max(MIN_EPOCHS, math.ceil(MIN_STEPS / n_steps))
        losses = self._train(
            state, task.rows[fitted], task.betas[fitted], n_epochs, context, watch
        )
        entries = [
            {"epoch": epoch, "loss": round(loss, 6), "val_score": round(score, 6)}
            for epoch, (loss, score) in enumerate(
                zip(losses, watch.history, strict=True), start=1
            )
        ]
        return Choice(watch.scores, {"epochs": watch.best_epoch}, entries)

    def fit(self, task: EncodingTask, choice: Choice, context: EncodeContext) -> Model:
        """Train for the chosen number of epochs; see :class:`.encoders.Encoder`."""
        state = _State(self, task.stimuli, task.rows, len(task.voxels), context)
        losses = self._train(
            state, task.rows, task.betas, int(choice.notes["epochs"]), context
        )
        tensors = weights_of(state.network, "network")
        if not self.needs_pictures:
            tensors |= {"scaling.mean": state.mean, "scaling.sd": state.sd}
        card = {
            "n_inputs": state.n_inputs, "channels": context.settings.channels,
            "image_size": context.settings.image_size if self.needs_pictures else None,
            "n_parameters": sum(p.numel() for p in state.network.parameters()),
            "loss": [round(loss, 6) for loss in losses],
        }
        return Model(tensors, card)

    def predict(self, model: Model, stimuli: Stimuli) -> np.ndarray:
        """Predict on the CPU; see :class:`.encoders.Encoder`."""
        weights = model.part("network")
        network = load_weights(self.build(
            int(model.card["n_inputs"]), len(weights["readout.bias"]), int(model.card["channels"])
        ), weights)
        scaling = model.part("scaling")
        inputs = self.inputs(stimuli, scaling.get("mean"), scaling.get("sd"))
        return run_network(network, inputs, np.arange(len(stimuli.ids)))

    def build(self, n_inputs: int, n_voxels: int, channels: int) -> EncodingNetwork:
        """Make an untrained network."""
        features = PictureFeatures(channels) if self.needs_pictures else GivenFeatures()
        return EncodingNetwork(features, n_inputs, n_voxels, self.selective)

    def inputs(
        self, stimuli: Stimuli, mean: np.ndarray | None = None, sd: np.ndarray | None = None
    ) -> Tensor:
        """Return the input of the network: pictures as bytes, or standardised features.

        Parameters
        ----------
        stimuli : Stimuli
        mean, sd : ndarray, shape (n_features,), optional
            Of training stimuli, where features are read.

        Raises
        ------
        MissingInputError
            Where pictures are read and there are none.
        """
        if not self.needs_pictures:
            return torch.from_numpy(((stimuli.features - mean) / sd).astype(np.float32))
        if stimuli.pictures is None:
            raise MissingInputError(
                f"--encoder {self.name}", "the pictures of the stimuli are missing",
                "give their folder with --stimuli-dir, or use --encoder ridge",
            )
        return torch.from_numpy(stimuli.pictures)

    def n_inputs(self, stimuli: Stimuli, settings: Encoding) -> int:
        """Return the number of inputs of the read-out."""
        if self.needs_pictures:
            return n_features(settings.image_size, settings.channels)
        return 2 * stimuli.features.shape[1]

    def _train(
        self, state: _State, rows: np.ndarray, betas: np.ndarray, n_epochs: int,
        context: EncodeContext, watch: _Watch | None = None,
    ) -> list[float]:
        settings = context.settings
        measured = torch.from_numpy(np.ascontiguousarray(betas)).to(state.fabric.device)
        selective = partial(selective_loss, noise=settings.output_noise)
        loss = selective if self.selective else plain_loss

        def loss_of(batch: np.ndarray, _epoch: int) -> Tensor:
            return loss(state.network(state.batch(rows[batch])), measured[batch])

        def batches(rng: np.random.Generator) -> Iterable[np.ndarray]:
            return shuffled_batches(len(rows), settings.batch_size, rng)

        # At a constant rate an epoch does not depend on the number of epochs that follow.
        schedule = Schedule(
            n_epochs, settings.learning_rate, settings.weight_decay, constant=True
        )
        return train(
            state.network, loss_of, batches, schedule,
            Setup(context.seed, state.fabric, progress=context.progress),
            after_epoch=None if watch is None else watch.after_epoch,
        )


class _State:
    """A network and its input stimuli on the device."""

    def __init__(
        self, encoder: NetworkEncoder, stimuli: Stimuli, rows: np.ndarray, n_voxels: int,
        context: EncodeContext,
    ) -> None:
        self.fabric = make_fabric(context.device)
        shown = stimuli.features[rows].astype(np.float64)
        self.mean = shown.mean(axis=0).astype(np.float32)
        spread = shown.std(axis=0)
        self.sd = np.where(spread > 0, spread, 1.0).astype(np.float32)
        self.n_inputs = encoder.n_inputs(stimuli, context.settings)
        with seeded(derive_seed(context.seed, "weights")):
            network = encoder.build(self.n_inputs, n_voxels, context.settings.channels)
        self.network = network.to(self.fabric.device)
        self.inputs = encoder.inputs(stimuli, self.mean, self.sd).to(self.fabric.device)

    def batch(self, rows: np.ndarray) -> Tensor:
        return _as_input(self.inputs[torch.from_numpy(rows)])


class _Watch:
    """Early stopping: score held-out trials after each epoch and store the best epoch."""

    def __init__(
        self, state: _State, rows: np.ndarray, betas: np.ndarray, patience: int
    ) -> None:
        self.state, self.betas, self.patience = state, betas, patience
        self.shown, self.of_trial = np.unique(rows, return_inverse=True)
        self.history: list[float] = []
        self.best_epoch = 0
        self.scores = np.zeros(betas.shape[1], dtype=np.float32)

    def after_epoch(self, epoch: int, _optimizer: torch.optim.Optimizer) -> bool:
        predicted = run_network(self.state.network, self.state.inputs, self.shown)
        scores = voxel_correlations(predicted[self.of_trial], self.betas)
        value = float(np.mean(scores.astype(np.float64) ** 3))
        if not self.history or value > max(self.history):
            self.best_epoch, self.scores = epoch + 1, scores
        self.history.append(value)
        return epoch + 1 - self.best_epoch >= self.patience


def run_network(network: EncodingNetwork, inputs: Tensor, rows: np.ndarray) -> np.ndarray:
    """Predict the responses to stimuli *rows* of *inputs* in batches, (n_rows, n_voxels)."""
    parts = []
    with torch.no_grad():
        for start in range(0, len(rows), _BATCH):
            some = torch.from_numpy(rows[start:start + _BATCH])
            parts.append(network(_as_input(inputs[some])).cpu().numpy())
    return np.concatenate(parts)


def _as_input(stimuli: Tensor) -> Tensor:
    return scale_pictures(stimuli) if stimuli.dtype == torch.uint8 else stimuli


class EndToEnd(NetworkEncoder):
    """ETECRM: convolutions and read-out trained together, with selective optimisation."""

    name = "etecrm"
    needs_pictures = True
    comparators = ("etecrm-plain", "twostep-selective", "twostep-plain", "ridge")


class EndToEndPlain(NetworkEncoder):
    """ETECRM without selective optimisation: plain weights, mean correlation, no noise."""

    name = "etecrm-plain"
    needs_pictures = True
    selective = False


class TwoStepSelective(NetworkEncoder):
    """Given features with the read-out, loss, noise and selection of ETECRM."""

    name = "twostep-selective"


class TwoStepPlain(NetworkEncoder):
    """Given features with a plain read-out and the mean correlation as loss."""

    name = "twostep-plain"
    selective = False
