"""Interface and registry of the encoding models.

An encoder predicts the responses of voxels to stimuli. It is one module. It chooses its
hyperparameters on an inner split of the training trials (``choose``), is fitted to all training
trials with that choice (``fit``), and predicts the responses to held-out stimuli (``predict``).
For all encoders alike, voxels are selected and predictions calibrated by the accuracy on the
inner split, never by that on test trials.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any

import numpy as np

from bids_decoder.errors import InputError, UsageError
from bids_decoder.evaluation.encoding import encoding_scores
from bids_decoder.evaluation.folds import assert_no_test, inner_folds
from bids_decoder.models.store import Model
from bids_decoder.seeds import derive_seed
from bids_decoder.training.encoding_settings import Encoding
from bids_decoder.training.loop import Progress
from bids_decoder.trials import Person, Targets

ENCODERS: dict[str, str] = {
    "etecrm": "bids_decoder.training.encoding_networks:EndToEnd",
    "ridge": "bids_decoder.training.encoding_ridge:VoxelwiseRidge",
    "etecrm-plain": "bids_decoder.training.encoding_networks:EndToEndPlain",
    "twostep-selective": "bids_decoder.training.encoding_networks:TwoStepSelective",
    "twostep-plain": "bids_decoder.training.encoding_networks:TwoStepPlain",
}
"""Name on the command line (``--encoder``) -> module and class."""

MIN_STIMULI = 6
"""Training stimuli without which no encoding model is fitted."""

COMPARISONS: tuple[tuple[str, str, str], ...] = (
    ("etecrm", "ridge", "the published comparison: end to end and selective against voxel-wise "
                        "ridge on given features"),
    ("etecrm", "twostep-selective", "learning the features, under selective optimisation"),
    ("etecrm-plain", "twostep-plain", "learning the features, without selective optimisation"),
    ("etecrm", "etecrm-plain", "selective optimisation, end to end"),
    ("twostep-selective", "twostep-plain", "selective optimisation, on given features"),
    ("twostep-plain", "ridge", "one read-out of a region by gradient against ridge per voxel"),
)
"""Pairs of encoders and the factor in which they differ."""

LEAST_WEIGHT = 0.01
"""Smallest weight of a voxel, used if its correlation on the inner split is lower."""


@dataclass(frozen=True, eq=False)
class Stimuli:
    """Stimuli of an experiment.

    Parameters
    ----------
    ids : tuple of str
    features : ndarray of float32, shape (n_stimuli, n_dims)
        From an image encoder or a table.
    pictures : ndarray of uint8, shape (n_stimuli, size, size), or None
        Grey pictures, for encoders that learn their own features.
    """

    ids: tuple[str, ...]
    features: np.ndarray
    pictures: np.ndarray | None = None


@dataclass(frozen=True, eq=False)
class EncodingTask:
    """Training trials of one participant on the voxels of one region.

    Parameters
    ----------
    betas : ndarray of float32, shape (n_trials, n_voxels)
        Training trials only.
    rows : ndarray of int, shape (n_trials,)
        Row of each trial's stimulus in *stimuli*.
    runs : ndarray of str, shape (n_trials,)
    stimuli : Stimuli
        All stimuli; a fit uses only those in *rows*.
    inner : pair of ndarray of int
        Trials to fit on and trials to validate on, without common stimuli.
    voxels : ndarray of int, shape (n_voxels,)
        Position of each voxel among those of the participant.
    """

    betas: np.ndarray
    rows: np.ndarray
    runs: np.ndarray
    stimuli: Stimuli
    inner: tuple[np.ndarray, np.ndarray]
    voxels: np.ndarray


@dataclass(frozen=True)
class EncodeContext:
    """Settings, seed and device of a fit.

    Parameters
    ----------
    settings : Encoding
    seed : int
    device : str
        ``cpu``, ``cuda`` or ``cuda:N``.
    progress : callable or None
        Called with (epochs done, epochs in all, loss).
    """

    settings: Encoding
    seed: int
    device: str = "cpu"
    progress: Progress | None = None


@dataclass(frozen=True, eq=False)
class Choice:
    """Result of the inner split.

    Parameters
    ----------
    scores : ndarray of float32, shape (n_voxels,)
        Correlation of prediction and response over the held-out trials.
    notes : dict
        Chosen hyperparameters, JSON-able; input of :meth:`Encoder.fit`, kept in the model card.
    history : list of dict
        One entry per epoch: ``epoch``, ``loss``, ``val_score``.
    """

    scores: np.ndarray
    notes: dict[str, Any] = field(default_factory=dict)
    history: list[dict[str, float]] = field(default_factory=list)


class Encoder(ABC):
    """Base class: from stimuli to responses of voxels."""

    name: str
    needs_pictures: bool = False
    """Whether the input is ``Stimuli.pictures`` instead of ``Stimuli.features``."""
    comparators: tuple[str, ...] = ()
    """Encoders that are fitted and scored for comparison."""

    @abstractmethod
    def choose(self, task: EncodingTask, context: EncodeContext) -> Choice:
        """Choose hyperparameters on the inner split of the training trials."""

    @abstractmethod
    def fit(self, task: EncodingTask, choice: Choice, context: EncodeContext) -> Model:
        """Fit to all training trials with the chosen hyperparameters."""

    @abstractmethod
    def predict(self, model: Model, stimuli: Stimuli) -> np.ndarray:
        """Predict responses (n_stimuli, n_voxels), in arbitrary units."""


def check_encoder(name: str) -> None:
    """Raise UsageError when no encoder has this name."""
    if name not in ENCODERS:
        raise UsageError(
            f"--encoder {name}", "no such encoder", f"use one of: {', '.join(ENCODERS)}"
        )


def load_encoder(name: str) -> Encoder:
    """Import and instantiate the encoder called *name*.

    Raises
    ------
    UsageError
        For a name that is not in :data:`ENCODERS`.
    """
    check_encoder(name)
    module, _, attribute = ENCODERS[name].partition(":")
    return getattr(import_module(module), attribute)()


def make_task(
    person: Person, targets: Targets, pictures: np.ndarray | None, settings: Encoding, seed: int
) -> EncodingTask:
    """Select the voxels and the inner split that all encoders of a participant share.

    Parameters
    ----------
    person : Person
        Training trials only.
    targets : Targets
        Stimuli with their features.
    pictures : ndarray of uint8, shape (n_ids, size, size), or None
        In the order of ``targets.ids``.
    settings : Encoding
        If there are more than ``max_voxels`` voxels, those that the features predict best in
        held-out training runs (:func:`.evaluation.encoding.encoding_scores`) are kept for all
        encoders. This favours encoders that use the features.
    seed : int

    Raises
    ------
    LeakageError
        If a trial is not a training trial.
    """
    assert_no_test(person.trials, np.arange(len(person.trials)))
    voxels = np.arange(person.grid.n_voxels)
    if len(voxels) > settings.max_voxels:
        scores = encoding_scores(
            person.betas, targets.vectors[person.target_rows], person.run_groups
        )
        voxels = np.sort(np.argsort(-scores, kind="stable")[:settings.max_voxels])
    inner = inner_split(
        person.target_rows, person.run_groups, settings.validation_share,
        np.random.default_rng(derive_seed(seed, "inner split")),
    )
    stimuli = Stimuli(targets.ids, np.asarray(targets.vectors, np.float32), pictures)
    return EncodingTask(
        np.ascontiguousarray(person.betas[:, voxels], dtype=np.float32), person.target_rows,
        person.run_groups, stimuli, inner, voxels,
    )


def check_stimuli(n_training: int) -> None:
    """Refuse to fit on so few stimuli that none can be set aside for choices.

    Raises
    ------
    InputError
        With fewer than six: a correlation over trials needs three.
    """
    if n_training < MIN_STIMULI:
        raise InputError(
            "encoding model", f"{n_training} training stimuli, {MIN_STIMULI} are needed",
            "give more stimuli, or hold out fewer with --test-runs or --split-column",
        )


def inner_split(
    rows: np.ndarray, runs: np.ndarray, share: float, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Split training trials into those to fit on and those to validate on.

    Whole runs are held out, and other trials of their stimuli are excluded from the fit. If
    that would leave less than half of the trials, because stimuli repeat in every run, a share
    of the stimuli is held out instead.

    Parameters
    ----------
    rows : ndarray of int, shape (n_trials,)
        Stimulus of each trial.
    runs : ndarray of str, shape (n_trials,)
    share : float
        Approximate share of the trials to hold out.
    rng : numpy.random.Generator
        For the choice of stimuli.

    Returns
    -------
    fitted, held : ndarray of int
        Trial numbers.

    Raises
    ------
    InputError
        As :func:`check_stimuli`.
    """
    stimuli = np.unique(rows)
    check_stimuli(len(stimuli))
    held = inner_folds(runs, max(2, round(1 / share)))[-1][1]
    kept = np.flatnonzero(~np.isin(rows, rows[held]))
    if len(kept) >= len(rows) / 2 and len(np.unique(rows[held])) >= 3:
        return kept, held
    n_held = min(max(3, round(share * len(stimuli))), len(stimuli) - 3)
    aside = np.isin(rows, rng.choice(stimuli, n_held, replace=False))
    return np.flatnonzero(~aside), np.flatnonzero(aside)


def fit_encoder(encoder: Encoder, task: EncodingTask, context: EncodeContext) -> Model:
    """Choose on the inner split, fit to all training trials, and calibrate.

    Returns
    -------
    Model
        With ``calibration.mean`` and ``calibration.sd`` (over training trials),
        ``calibration.score`` (accuracy on the inner split) and ``voxels`` among the tensors.
        The card holds the choice and the ``history`` of the inner fit.
    """
    choice = encoder.choose(task, context)
    model = encoder.fit(task, choice, context)
    predicted = encoder.predict(model, task.stimuli)[task.rows].astype(np.float64)
    tensors = {
        **model.tensors,
        "calibration.mean": predicted.mean(axis=0).astype(np.float32),
        "calibration.sd": predicted.std(axis=0).astype(np.float32),
        "calibration.score": choice.scores.astype(np.float32),
        "voxels": task.voxels.astype(np.int64),
    }
    card = {
        "encoder": encoder.name, "n_trials": len(task.rows), "n_voxels": len(task.voxels),
        "n_inner_fitted": len(task.inner[0]), "n_inner_chosen_by": len(task.inner[1]),
        "chosen": choice.notes, "history": choice.history, **model.card,
    }
    return Model(tensors, card)


def calibrated(model: Model, predicted: np.ndarray) -> np.ndarray:
    """Scale raw predictions to z-scored responses.

    A correlation does not determine the scale of each voxel. Standardised over training trials
    and multiplied by the correlation on the inner split, a prediction is the least squares
    estimate of the z-scored response, so that voxels are weighted by their accuracy.

    Parameters
    ----------
    model : Model
        From :func:`fit_encoder`.
    predicted : ndarray, shape (n_stimuli, n_voxels)

    Returns
    -------
    ndarray of float32, shape (n_stimuli, n_voxels)
    """
    part = model.part("calibration")
    spread = np.where(part["sd"] > 0, part["sd"], 1.0)
    weight = np.maximum(part["score"], LEAST_WEIGHT)
    return ((predicted - part["mean"]) / spread * weight).astype(np.float32)
