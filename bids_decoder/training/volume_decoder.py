"""Base class of the decoders that take whole volumes as input."""

from __future__ import annotations

import tempfile
from abc import abstractmethod
from collections.abc import Iterable
from dataclasses import asdict, replace
from operator import attrgetter
from typing import Any

import numpy as np
import scipy.stats
import torch
from torch import nn

from bids_decoder.config import Volumes
from bids_decoder.errors import InputError
from bids_decoder.evaluation.folds import assert_no_test, inner_folds
from bids_decoder.models.networks import load_weights, weights_of
from bids_decoder.models.relevance import evenly_spaced
from bids_decoder.models.store import Model
from bids_decoder.seeds import derive_seed
from bids_decoder.training.classifier import Labelled, Recipe, fit_classifier, log_probabilities
from bids_decoder.training.decoders import Decoder, FitContext, Relevance
from bids_decoder.training.grids import (
    Frame,
    common_frame,
    share_inside,
    to_volumes,
    to_voxels,
)
from bids_decoder.training.seen import SeenPeople
from bids_decoder.training.selection.task import Selection
from bids_decoder.trials import Person, Targets, VoxelGrid

VALIDATION_FOLDS = 5
"""The training runs are split into this many parts, one of which is used for early stopping."""

MIN_SHARE_INSIDE = 0.5
"""Smallest share of a participant's voxels inside the frame of a pretrained model."""

MIN_PEOPLE_TO_SPLIT = 3
"""With at least this many source participants, every third one is used for early stopping."""


class VolumeDecoder(Decoder):
    """A network from the volume of a trial to its label, with all layers trained.

    Transfer as published: every tensor whose shape fits is copied from the pretrained network
    (with other labels, all but the output layer), and no layer is frozen.
    """

    @abstractmethod
    def build(self, frame: Frame, n_classes: int, settings: Volumes, seed: int) -> nn.Module:
        """Make an untrained network."""

    @abstractmethod
    def recipe(self, settings: Volumes, n_epochs: int) -> Recipe:
        """Return the training settings; 0 epochs stand for the published number."""

    @abstractmethod
    def explain_volumes(
        self, network: nn.Module, volumes: np.ndarray, classes: np.ndarray, settings: Volumes
    ) -> np.ndarray:
        """Explain volumes (n, i, j, k) decoded as *classes*: maps (n or 1, i, j, k)."""

    @abstractmethod
    def describe(self, frame: Frame, settings: Volumes) -> dict[str, Any]:
        """Describe the method of the maps, and whether their values sum to the logit."""

    def finish(self, values: np.ndarray, grid: VoxelGrid) -> np.ndarray:
        """Post-process a map of voxel values for display."""
        return values

    def pretrain(self, people: Iterable[Person], targets: Targets, context: FitContext) -> Model:
        """Train one network on all source participants; see :class:`Decoder`."""
        seen = SeenPeople()
        frame = common_frame(map(attrgetter("grid"), seen.watch(people)))
        data, owner = _gather(people, frame, sum(seen.n_trials.values()))
        aside = np.isin(owner, np.arange(len(seen.labels))[MIN_PEOPLE_TO_SPLIT - 1::3])
        network = self.build(
            frame, len(targets.ids), context.volumes, derive_seed(context.seed, "start")
        )
        history = fit_classifier(
            network, data.rows(~aside), data.rows(aside) if aside.any() else None,
            self.recipe(context.volumes, context.volumes.pretrain_epochs),
            seed=context.seed, device=context.device, checkpoint=context.checkpoint,
            progress=context.progress,
        )
        card = {
            "decoder": self.name, "participants": seen.labels, "n_trials": seen.n_trials,
            "validation_participants": [seen.labels[n] for n in np.unique(owner[aside])],
            "stimuli_seen": seen.stimuli(targets), "target_kind": targets.kind,
            "loss": [round(row["loss"], 6) for row in history], "history": history,
            **_network_card(network, frame, targets, context.volumes),
        }
        return Model(_network_tensors(network, frame), card)

    def select(
        self, person: Person, targets: Targets, pretrained: Model | None, context: FitContext
    ) -> Selection:
        """Select all voxels: the network takes the whole brain; see :class:`Decoder`."""
        whole = np.ones(person.grid.n_voxels, dtype=np.float32)
        return Selection(
            whole > 0, whole, whole, {"selector": "whole brain", "n_voxels": len(whole)}
        )

    def adapt(
        self, person: Person, targets: Targets, selection: Selection, pretrained: Model | None,
        context: FitContext,
    ) -> Model:
        """Train on a participant's training trials, starting from pretrained weights if given.

        See :class:`Decoder`. Some training runs are held out for early stopping.
        """
        assert_no_test(person.trials, np.arange(len(person.trials)))
        settings = _settings(pretrained, context.volumes)
        frame = common_frame([person.grid]) if pretrained is None else _frame(pretrained)
        inside = _checked_share(person, frame)
        network = self.build(
            frame, len(targets.ids), settings, derive_seed(context.seed, "start")
        )
        kept = [] if pretrained is None else transfer(
            network, pretrained, fresh_output=pretrained.card["classes"] != list(targets.ids)
        )
        fitted, aside = _validation(person)
        data = Labelled(to_volumes(person.betas, person.grid, frame), person.target_rows)
        history = fit_classifier(
            network, data.rows(fitted), data.rows(aside), self.recipe(settings, settings.epochs),
            seed=context.seed, device=context.device, progress=context.progress,
        )
        card = {
            "decoder": self.name, "participant": person.label, "n_trials": len(person.trials),
            "target_kind": targets.kind, "pretrained": pretrained is not None,
            "pretrained_on": [] if pretrained is None else pretrained.card["participants"],
            "tensors_transferred": kept, "share_of_voxels_read": round(inside, 4),
            "history": history, "selection": selection.notes,
            **_network_card(network, frame, targets, settings),
        }
        tensors = _network_tensors(network, frame)
        tensors["person.mask"] = person.grid.mask.astype(np.uint8)
        tensors["person.affine"] = np.asarray(person.grid.affine, dtype=np.float64)
        return Model(tensors, card)

    def predict(self, model: Model, betas: np.ndarray) -> np.ndarray:
        """Predict the log-probability of each label; see :class:`Decoder`."""
        volumes = to_volumes(betas, _grid(model), _frame(model))
        return log_probabilities(self.restore(model), volumes)

    def gallery(self, model: Model, targets: Targets) -> np.ndarray:
        """Return one axis per label; see :class:`Decoder`."""
        return np.eye(len(targets.ids))

    def explain(self, model: Model, train: Person, targets: Targets) -> dict[str, np.ndarray]:
        """Return no maps: those of a network depend on its input; see :meth:`relevance`."""
        return {}

    def restore(self, model: Model) -> nn.Module:
        """Build the network of a model, in evaluation mode."""
        settings = Volumes(**model.card["volumes"])
        network = self.build(_frame(model), len(model.card["classes"]), settings, seed=0)
        return load_weights(network, model.part("network"))

    def relevance(self, model: Model, person: Person, context: FitContext) -> Relevance:
        """Compute the mean map of the trials decoded as each label; see :class:`Decoder`."""
        frame, network, settings = _frame(model), self.restore(model), context.volumes
        volumes = to_volumes(person.betas, person.grid, frame)
        decoded = log_probabilities(network, volumes).argmax(axis=1)
        random = self.build(
            frame, len(model.card["classes"]), Volumes(**model.card["volumes"]),
            derive_seed(context.seed, "randomised"),
        ).eval()
        partly = self.restore(model)
        partly.output.load_state_dict(random.output.state_dict())
        others = {"output": partly, "all": random}
        maps, counts, shares = {}, {}, []
        likeness: dict[str, list[float]] = {name: [] for name in others}
        for number, label in enumerate(model.card["classes"]):
            rows = evenly_spaced(np.flatnonzero(decoded == number), settings.explained_trials)
            if not len(rows):
                continue
            chosen = volumes[rows], decoded[rows]
            found = self.explain_volumes(network, *chosen, settings)
            shares += _conserved(network, *chosen, found)
            values = to_voxels(found, person.grid, frame).mean(axis=0)
            for name, other in others.items():
                rival = self.explain_volumes(other, *chosen, settings)
                likeness[name].append(
                    _likeness(values, to_voxels(rival, person.grid, frame).mean(axis=0))
                )
            maps[label] = self.finish(values, person.grid).astype(np.float32)
            counts[label] = int((decoded == number).sum())
        notes = self.describe(frame, settings)
        if notes["sums_to_logit"]:
            notes["relevance_per_logit"] = round(float(np.median(shares)), 4)
        for name, found_likeness in likeness.items():
            notes[f"likeness_randomised_{name}"] = round(float(np.mean(found_likeness)), 4)
        return Relevance(maps, counts, notes)


def transfer(network: nn.Module, pretrained: Model, *, fresh_output: bool) -> list[str]:
    """Copy every pretrained tensor whose shape fits into *network*.

    Parameters
    ----------
    network : torch.nn.Module
    pretrained : Model
    fresh_output : bool
        Do not copy the output layer, even if its shape fits.

    Returns
    -------
    list of str
        Names of the tensors copied.
    """
    state, given = network.state_dict(), pretrained.part("network")
    kept = [
        name for name, value in state.items()
        if name in given and given[name].shape == tuple(value.shape)
        and not (fresh_output and name.startswith("output."))
    ]
    network.load_state_dict(
        {**state, **{name: torch.from_numpy(given[name].copy()) for name in kept}}
    )
    return kept


def _gather(people: Iterable[Person], frame: Frame, n_trials: int) -> tuple[Labelled, np.ndarray]:
    """Store the volumes of all participants in one temporary memory-mapped file."""
    with tempfile.TemporaryFile() as file:
        volumes = np.memmap(file, dtype=np.float32, shape=(n_trials, *frame.shape))
    classes, owner = np.zeros(n_trials, dtype=int), np.zeros(n_trials, dtype=int)
    start = number = 0
    for person in people:
        rows = slice(start, start + len(person.trials))
        volumes[rows] = to_volumes(person.betas, person.grid, frame)
        classes[rows], owner[rows] = person.target_rows, number
        start, number = rows.stop, number + 1
        del person  # before the next one is loaded
    return Labelled(volumes, classes), owner


def _validation(person: Person) -> tuple[np.ndarray, np.ndarray]:
    """Choose the training runs for early stopping: the part with the most labels."""
    folds = inner_folds(person.run_groups, VALIDATION_FOLDS)
    return max(folds, key=lambda fold: len(np.unique(person.target_rows[fold[1]])))


def _checked_share(person: Person, frame: Frame) -> float:
    """Compute the share of a participant's voxels in the frame; raise if it is too small."""
    inside = share_inside(person.grid, frame)
    if inside < MIN_SHARE_INSIDE:
        raise InputError(
            f"sub-{person.label} with the pretrained model",
            f"only {inside:.0%} of the voxels are inside the volume that the model takes",
            "use one template for all participants with --output-spaces, then pretrain again",
        )
    return inside


def _settings(pretrained: Model | None, settings: Volumes) -> Volumes:
    """Combine the architecture of the pretrained network with the training settings given."""
    if pretrained is None:
        return settings
    card = pretrained.card["volumes"]
    return replace(settings, variant=card["variant"], kernel=card["kernel"])


def _network_card(
    network: nn.Module, frame: Frame, targets: Targets, settings: Volumes
) -> dict[str, Any]:
    return {
        "classes": list(targets.ids), "shape": list(frame.shape), "volumes": asdict(settings),
        "n_weights": sum(parameter.numel() for parameter in network.parameters()),
    }


def _network_tensors(network: nn.Module, frame: Frame) -> dict[str, np.ndarray]:
    affine = np.asarray(frame.affine, dtype=np.float64)
    return {**weights_of(network, "network"), "frame.affine": affine}


def _frame(model: Model) -> Frame:
    return Frame(tuple(model.card["shape"]), model.part("frame")["affine"])


def _grid(model: Model) -> VoxelGrid:
    part = model.part("person")
    return VoxelGrid(part["mask"] > 0, part["affine"])


@torch.no_grad()
def _conserved(
    network: nn.Module, volumes: np.ndarray, classes: np.ndarray, found: np.ndarray
) -> list[float]:
    """Compute the sum of each map as a share of the logit that it explains."""
    if len(found) != len(volumes):
        return []
    logits = network(torch.from_numpy(volumes)).numpy()[np.arange(len(classes)), classes]
    sums = found.reshape(len(found), -1).sum(axis=1)
    return [float(s / v) for s, v in zip(sums, logits, strict=True) if abs(v) > 1e-6]


def _likeness(first: np.ndarray, second: np.ndarray) -> float:
    """Compute the Spearman correlation of two maps; 0 if one of them is constant."""
    if np.ptp(first) == 0 or np.ptp(second) == 0:
        return 0.0
    return float(scipy.stats.spearmanr(first, second).statistic)
