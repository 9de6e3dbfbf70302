"""Interface and registry of the decoders.

A decoder is one module. It is trained on the source participants (``pretrain``), selects voxels
of a new participant (``select``), is fitted to that participant (``adapt``), predicts held-out
trials and provides maps. A fitted decoder is a :class:`~bids_decoder.models.store.Model`: arrays
and a card.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from bids_decoder.config import Network, Troi, Volumes
from bids_decoder.errors import InputError, UsageError
from bids_decoder.models.store import Model
from bids_decoder.trials import KINDS, Person, Targets, VoxelGrid

if TYPE_CHECKING:
    from bids_decoder.training.loop import Progress
    from bids_decoder.training.selection.task import Selection


@dataclass(frozen=True)
class Entry:
    """Properties of a decoder that are needed before it is imported.

    Parameters
    ----------
    path : str
        Module and class.
    needs : {"betas", "volumes"}
        ``volumes``: the voxels must have positions in a volume.
    kinds : tuple of str
        Kinds of target (``Targets.kind``) that it can decode.
    transfers : bool
        Whether a pretrained model can be used for targets it was not pretrained on.
    explains : bool
        Whether it maps where its decisions on held-out trials came from.
    """

    path: str
    needs: Literal["betas", "volumes"] = "betas"
    kinds: tuple[str, ...] = ("category", "features", "image")
    transfers: bool = False
    explains: bool = False


DECODERS: dict[str, Entry] = {
    "troi": Entry("bids_decoder.training.troi:TroiDecoder", kinds=tuple(KINDS)),
    "deeplight": Entry(
        "bids_decoder.training.deeplight:DeepLightDecoder", "volumes", ("category",), True, True
    ),
    "cnn3d": Entry(
        "bids_decoder.training.cnn3d:ShallowDecoder", "volumes", ("category",), True, True
    ),
}
"""Name on the command line (``--decoder``) -> class and properties."""


MAPS: dict[str, str] = {
    "pattern": "Activation pattern (Haufe et al. 2014): standard deviation of each voxel's "
    "responses that varies with the decoded variables, in training trials.",
    "labelpattern": "Activation pattern of each label (Haufe et al. 2014): change of each voxel's "
    "response with one standard deviation of the evidence for the label, in training trials; one "
    "volume for each of Labels.",
    "weight": "Norm of each voxel's weights in the decoder.",
}
"""Value of ``stat-`` of the maps that explain a decoder -> description."""


def check_decoder(name: str) -> None:
    """Raise UsageError when no decoder has this name."""
    if name not in DECODERS:
        raise UsageError(
            f"--decoder {name}", "no such decoder", f"use one of: {', '.join(DECODERS)}"
        )


def describe_targets(targets: Targets) -> dict[str, Any]:
    """Describe the vectors, so that models of other targets are refused."""
    ids = list(targets.ids) if targets.kind == "category" else []
    return {
        "kind": targets.kind, "n_dims": int(targets.vectors.shape[1]), "labels": ids,
        "encoder": targets.source, **({"sketched": targets.sketched} if targets.sketched else {}),
    }


def check_same_targets(model: Model, targets: Targets) -> None:
    """Refuse a pretrained model whose targets are of another kind.

    Raises
    ------
    InputError
    """
    here, there = describe_targets(targets), model.card["targets"]
    if here != there:
        changed = [key for key in {**here, **there} if here.get(key) != there.get(key)]
        raise InputError(
            "pretrained model", f"its targets differ from those of this dataset in {changed}: "
            f"{[there.get(k) for k in changed]} against {[here.get(k) for k in changed]}",
            "pretrain with the same labels, feature table or image encoder, or use --from-scratch",
        )


@dataclass(frozen=True)
class FitContext:
    """Settings, seed and device of a fit.

    Parameters
    ----------
    network : Network
    troi : Troi
    seed : int
    device : str
        ``cpu``, ``cuda`` or ``cuda:N``.
    volumes : Volumes
    checkpoint : Path or None
        File for the state of a long training.
    progress : callable or None
        Called with (epochs done, epochs in all, loss).
    """

    network: Network
    troi: Troi
    seed: int
    device: str
    volumes: Volumes = field(default_factory=Volumes)
    checkpoint: Path | None = None
    progress: Progress | None = None

    @property
    def temporary_dir(self) -> Path | None:
        """Folder for temporary files, that of the checkpoint; None where there is none."""
        return None if self.checkpoint is None else self.checkpoint.parent


@dataclass(frozen=True, eq=False)
class Relevance:
    """Maps of the voxels on which the decisions on held-out trials are based.

    Parameters
    ----------
    maps : dict of str to ndarray, shape (n_voxels,)
        Mean map of each decoded label.
    counts : dict of str to int
        Number of trials of each map.
    notes : dict
        JSON-able: the method and the results of its sanity checks.
    """

    maps: dict[str, np.ndarray]
    counts: dict[str, int]
    notes: dict[str, Any]


def join_relevance(parts: Iterable[Relevance | None]) -> Relevance | None:
    """Average over folds or seeds: maps weighted by number of trials, notes unweighted.

    Parameters
    ----------
    parts : iterable of Relevance or None
        The labels may differ between parts.

    Returns
    -------
    Relevance or None
        None when no part has maps.
    """
    made = [part for part in parts if part is not None]
    if not made:
        return None
    labels = list(dict.fromkeys(label for part in made for label in part.maps))
    counts = {label: sum(part.counts.get(label, 0) for part in made) for label in labels}
    maps = {
        label: sum(
            part.maps[label] * (part.counts[label] / counts[label])
            for part in made if label in part.maps
        ).astype(np.float32)
        for label in labels
    }
    notes = dict(made[0].notes)
    for name, value in notes.items():
        if isinstance(value, float):
            notes[name] = round(float(np.mean([part.notes[name] for part in made])), 4)
    return Relevance(maps, counts, notes)


class Decoder(ABC):
    """Base class: from single-trial responses to predictions in the target space."""

    name: str

    @abstractmethod
    def pretrain(self, people: Iterable[Person], targets: Targets, context: FitContext) -> Model:
        """Fit the part of the model that participants share.

        Parameters
        ----------
        people : iterable of Person
            Source participants, training trials only. It may be iterated more than once and
            should load one participant at a time, so that memory does not grow with their number.
        targets : Targets
        context : FitContext

        Returns
        -------
        Model
        """

    @abstractmethod
    def select(
        self, person: Person, targets: Targets, pretrained: Model | None, context: FitContext
    ) -> Selection:
        """Select voxels of a participant from training trials (stage 1)."""

    @abstractmethod
    def adapt(
        self, person: Person, targets: Targets, selection: Selection, pretrained: Model | None,
        context: FitContext,
    ) -> Model:
        """Fit the decoder of a participant on the selected voxels, training trials only."""

    def fit(
        self, person: Person, targets: Targets, pretrained: Model | None, context: FitContext
    ) -> tuple[Selection, Model]:
        """Select voxels and adapt."""
        selection = self.select(person, targets, pretrained, context)
        return selection, self.adapt(person, targets, selection, pretrained, context)

    def without_trials(self, pretrained: Model, grid: VoxelGrid) -> Model:
        """Return a decoder of a participant of whom no trial is labelled (zero-shot).

        Parameters
        ----------
        pretrained : Model
        grid : VoxelGrid
            In the standard space of the source participants.

        Returns
        -------
        Model
            As :meth:`adapt` returns it.

        Raises
        ------
        UsageError
            For decoders without maps in a standard space.
        """
        raise UsageError(
            f"--decoder {self.name}", "keeps no maps of voxels that new participants could share",
            "pretrain with --decoder troi, or decode the participant with labelled trials",
        )

    @abstractmethod
    def predict(self, model: Model, betas: np.ndarray) -> np.ndarray:
        """Predict embeddings (n_trials, n_latents) from betas (n_trials, n_voxels).

        Values are predicted in their own units, (n_trials, n_columns).
        """

    @abstractmethod
    def gallery(self, model: Model, targets: Targets) -> np.ndarray:
        """Return the targets in the space of the predictions, (n_ids, n_latents)."""

    def picture_vectors(self, model: Model, embedding: np.ndarray, seed: int) -> np.ndarray:
        """Convert predictions to vectors of the image encoder, for reconstruction.

        Parameters
        ----------
        model : Model
        embedding : ndarray, shape (n, n_latents)
            Predictions, or their means over repeats.
        seed : int
            For decoders that sample.

        Returns
        -------
        ndarray of float32, shape (n, n_dims)
            In the scale of the encoder's own vectors.

        Raises
        ------
        UsageError
            If the decoder does not predict vectors of an image encoder.
        """
        raise UsageError(
            f"--decoder {self.name}", "predicts no vectors from which images can be generated",
            "use --decoder troi, or --reconstruction ridge",
        )

    def feature_vectors(self, model: Model, embedding: np.ndarray) -> np.ndarray:
        """Convert predictions to target vectors, less the mean of the training stimuli.

        Parameters
        ----------
        model : Model
        embedding : ndarray, shape (n, n_latents)
            Their length has no meaning where a loss determines directions only.

        Returns
        -------
        ndarray of float32, shape (n, n_dims)

        Raises
        ------
        UsageError
            For decoders of labels only.
        """
        raise UsageError(
            f"--decoder {self.name}", "predicts no vectors of images or features",
            "use --decoder troi",
        )

    @abstractmethod
    def explain(self, model: Model, train: Person, targets: Targets) -> dict[str, np.ndarray]:
        """Return maps of the decoder, keyed by the value of ``stat-``.

        Parameters
        ----------
        model : Model
            From :meth:`adapt`.
        train : Person
            The trials that it was fitted on.
        targets : Targets

        Returns
        -------
        dict of str to ndarray, shape (n_voxels,) or (n_labels, n_voxels)
            Keys of :data:`MAPS`.
        """

    def relevance(self, model: Model, person: Person, context: FitContext) -> Relevance | None:
        """Explain decisions on held-out trials; None for decoders without such maps.

        Parameters
        ----------
        model : Model
            From :meth:`adapt`.
        person : Person
            Held-out trials. Their labels are not used.
        context : FitContext
        """
        return None
