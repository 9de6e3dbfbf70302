"""The one interface behind which every decoder stands, and the list of them.

A decoder is one module. It says what it needs of a person's trials, learns from the source
people (``pretrain``), chooses voxels of a new person (``select``), adapts to that person
(``adapt``), predicts held-out trials and explains itself as maps. All that it learned is a
:class:`~bids_decoder.models.store.Model`: arrays and a card.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from bids_decoder.config import Network, Troi, Volumes
from bids_decoder.errors import UsageError
from bids_decoder.models.store import Model
from bids_decoder.trials import Person, Targets

if TYPE_CHECKING:
    from bids_decoder.training.loop import Progress
    from bids_decoder.training.selectors import Selection


@dataclass(frozen=True)
class Entry:
    """What the plan must know of a decoder before it is imported.

    Parameters
    ----------
    path : str
        Module and class.
    needs : {"betas", "volumes"}
        ``volumes``: the responses must have places in a volume, not only an order.
    kinds : tuple of str
        Kinds of target (``Targets.kind``) that it can decode.
    transfers : bool
        Whether a pretrained model serves other targets than it was pretrained for.
    explains : bool
        Whether it maps where its decisions on held-out trials came from.
    """

    path: str
    needs: Literal["betas", "volumes"] = "betas"
    kinds: tuple[str, ...] = ("category", "features", "image")
    transfers: bool = False
    explains: bool = False


DECODERS: dict[str, Entry] = {
    "troi": Entry("bids_decoder.training.troi:TroiDecoder"),
    "deeplight": Entry(
        "bids_decoder.training.deeplight:DeepLightDecoder", "volumes", ("category",), True, True
    ),
    "cnn3d": Entry(
        "bids_decoder.training.cnn3d:ShallowDecoder", "volumes", ("category",), True, True
    ),
}
"""Name on the command line (``--decoder``) -> where it is and what it needs."""


@dataclass(frozen=True)
class FitContext:
    """What every fit gets besides the data.

    Parameters
    ----------
    network : Network
    troi : Troi
    seed : int
    device : str
        ``cpu``, ``cuda`` or ``cuda:N``.
    volumes : Volumes
    checkpoint : Path or None
        Where a long training may keep its state.
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


@dataclass(frozen=True, eq=False)
class Relevance:
    """Where in the brain the decisions on held-out trials came from.

    Parameters
    ----------
    maps : dict of str to ndarray, shape (n_voxels,)
        Mean map of each label that was decoded.
    counts : dict of str to int
        Trials behind each map.
    notes : dict
        JSON-able: the method and the outcome of its sanity checks.
    """

    maps: dict[str, np.ndarray]
    counts: dict[str, int]
    notes: dict[str, Any]


def join_relevance(parts: Iterable[Relevance | None]) -> Relevance | None:
    """Average over folds or seeds: maps by number of trials, numbers in the notes alike.

    Parameters
    ----------
    parts : iterable of Relevance or None
        They need not have the same labels.

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
    """From single-trial responses to predictions in the target space."""

    name: str

    @abstractmethod
    def pretrain(self, people: Iterable[Person], targets: Targets, context: FitContext) -> Model:
        """Learn what people share.

        Parameters
        ----------
        people : iterable of Person
            Source people, training trials only. Iterated more than once, each time loading one
            person after the other, so that memory does not grow with their number.
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
        """Choose voxels of a person from training trials (stage 1)."""

    @abstractmethod
    def adapt(
        self,
        person: Person,
        targets: Targets,
        selection: Selection,
        pretrained: Model | None,
        context: FitContext,
    ) -> Model:
        """Fit the decoder of a person on the chosen voxels, training trials only (stage 2)."""

    @abstractmethod
    def predict(self, model: Model, betas: np.ndarray) -> np.ndarray:
        """Predict embeddings (n_trials, n_latents) from betas (n_trials, n_voxels)."""

    @abstractmethod
    def gallery(self, model: Model, targets: Targets) -> np.ndarray:
        """Give the targets in the space of the predictions, (n_ids, n_latents)."""

    def picture_vectors(self, model: Model, embedding: np.ndarray, seed: int) -> np.ndarray:
        """Give vectors of the image encoder from which pictures can be generated.

        Parameters
        ----------
        model : Model
        embedding : ndarray, shape (n, n_latents)
            Predictions, or means of them over repeats.
        seed : int
            For decoders that draw.

        Returns
        -------
        ndarray of float32, shape (n, n_dims)
            In the scale of the encoder's own vectors.

        Raises
        ------
        UsageError
            By decoders that have no way back to the encoder.
        """
        raise UsageError(
            f"--decoder {self.name}", "gives no vectors from which images could be generated",
            "use --decoder troi, or --reconstruction ridge",
        )

    @abstractmethod
    def explain(self, model: Model) -> dict[str, np.ndarray]:
        """Give maps of what the decoder uses, each (n_voxels,), by the value of ``stat-``."""

    def relevance(self, model: Model, person: Person, context: FitContext) -> Relevance | None:
        """Explain decisions on held-out trials; None for decoders that have no such maps.

        Parameters
        ----------
        model : Model
            From :meth:`adapt`.
        person : Person
            Held-out trials. Their labels are not looked at.
        context : FitContext
        """
        return None
