"""Ensembles of decoders that differ in their seeds: mean predictions, common voxels."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from importlib import import_module
from typing import TYPE_CHECKING, Any

import numpy as np

from bids_decoder.evaluation.statistics import stability
from bids_decoder.models.store import Model
from bids_decoder.seeds import derive_seed
from bids_decoder.training.decoders import (
    DECODERS,
    Decoder,
    FitContext,
    Relevance,
    check_decoder,
    join_relevance,
)
from bids_decoder.training.selection.budget import top_mask
from bids_decoder.training.selection.task import Selection
from bids_decoder.trials import Person, Targets, VoxelGrid

if TYPE_CHECKING:
    from bids_decoder.training.loop import Progress

_ALIKE = "alike"


def load_decoder(name: str) -> Decoder:
    """Import and instantiate the decoder called *name*, for any number of seeds.

    Raises
    ------
    UsageError
        As :func:`~bids_decoder.training.decoders.check_decoder`.
    """
    check_decoder(name)
    module, _, attribute = DECODERS[name].path.partition(":")
    return SeedEnsemble(getattr(import_module(module), attribute)())


class SeedEnsemble(Decoder):
    """One decoder fitted with ``Network.n_seeds`` seeds, or those of the pretrained model.

    With one seed this is the decoder itself. With several, pretraining and voxel selection are
    repeated with each seed; the members share one mask, on which each is adapted, and their
    predictions are averaged.

    Parameters
    ----------
    decoder : Decoder
    """

    def __init__(self, decoder: Decoder) -> None:
        self.decoder = decoder
        self.name = decoder.name

    def pretrain(self, people: Iterable[Person], targets: Targets, context: FitContext) -> Model:
        """Pretrain with each seed; see :class:`Decoder`."""
        contexts = _contexts(context, context.network.n_seeds)
        return join_models([self.decoder.pretrain(people, targets, each) for each in contexts])

    def select(
        self, person: Person, targets: Targets, pretrained: Model | None, context: FitContext
    ) -> Selection:
        """Select with each seed and combine; see :class:`Decoder` and :func:`agree`."""
        return agree([
            self.decoder.select(person, targets, member, each)
            for member, each in _pairs(pretrained, context)
        ])

    def adapt(
        self, person: Person, targets: Targets, selection: Selection, pretrained: Model | None,
        context: FitContext,
    ) -> Model:
        """Adapt with each seed on the common selection; see :class:`Decoder`."""
        pairs = _pairs(pretrained, context)
        own = [None] * len(pairs) if selection.own is None else split_model(selection.own)
        return join_models([
            self.decoder.adapt(person, targets, replace(selection, own=learned), member, each)
            for (member, each), learned in zip(pairs, own, strict=True)
        ])

    def without_trials(self, pretrained: Model, grid: VoxelGrid) -> Model:
        """Use the maps, which all members share; see :class:`Decoder`."""
        return self.decoder.without_trials(split_model(pretrained)[0], grid)

    def predict(self, model: Model, betas: np.ndarray) -> np.ndarray:
        """Average the predictions of the members; see :class:`Decoder`."""
        return _mean([self.decoder.predict(member, betas) for member in split_model(model)])

    def gallery(self, model: Model, targets: Targets) -> np.ndarray:
        """Return the targets in the target space, which all members share; see :class:`Decoder`."""
        return self.decoder.gallery(split_model(model)[0], targets)

    def picture_vectors(self, model: Model, embedding: np.ndarray, seed: int) -> np.ndarray:
        """Use the first member: a mean of samples is not a sample; see :class:`Decoder`."""
        return self.decoder.picture_vectors(split_model(model)[0], embedding, seed)

    def feature_vectors(self, model: Model, embedding: np.ndarray) -> np.ndarray:
        """Convert mean predictions in the space that members share; see :class:`Decoder`."""
        return self.decoder.feature_vectors(split_model(model)[0], embedding)

    def explain(self, model: Model, train: Person, targets: Targets) -> dict[str, np.ndarray]:
        """Average the maps of the members; see :class:`Decoder`."""
        maps = [self.decoder.explain(each, train, targets) for each in split_model(model)]
        return {stat: _mean([part[stat] for part in maps]) for stat in maps[0]}

    def relevance(self, model: Model, person: Person, context: FitContext) -> Relevance | None:
        """Average the maps of the members; see :class:`Decoder`."""
        return join_relevance(
            self.decoder.relevance(member, person, context) for member in split_model(model)
        )


def agree(selections: Sequence[Selection]) -> Selection:
    """Combine the selections made with several seeds.

    Parameters
    ----------
    selections : sequence of Selection
        From the same participant.

    Returns
    -------
    Selection
        The voxels that most members selected, as many as the median member; ties are resolved
        by the mean score. Weights, scores and starting weights are means; the history is that
        of the first member; what was learned besides is joined as models are.
    """
    first = selections[0]
    if len(selections) == 1:
        return first
    masks = np.stack([selection.mask for selection in selections])
    chosen_by = masks.mean(axis=0, dtype=np.float64)
    score = _mean([selection.score for selection in selections])
    rank = np.argsort(np.argsort(score, kind="stable"))
    mask = top_mask(chosen_by + rank / (len(rank) * len(masks)), int(np.median(masks.sum(axis=1))))
    start = first.start_weight
    if start is not None:
        start = _mean([selection.start_weight for selection in selections]) * mask[:, None]
    alike = stability(masks)
    return Selection(
        mask, _mean([selection.weights for selection in selections]) * mask, score,
        {**first.notes, "budget": int(mask.sum()), "n_seeds": len(masks),
         "seed_stability": None if np.isnan(alike) else round(alike, 4)},
        first.history, start, chosen_by.astype(np.float32), _join_own(selections),
    )


def _join_own(selections: Sequence[Selection]) -> Model | None:
    own = [selection.own for selection in selections if selection.own is not None]
    return join_models(own) if own else None


def join_models(members: Sequence[Model]) -> Model:
    """Combine members into one model; tensors that are equal in all of them are stored once."""
    if len(members) == 1:
        return members[0]
    first = members[0].tensors
    alike = {
        name for name, value in first.items()
        if all(np.array_equal(value, member.tensors[name]) for member in members[1:])
    }
    tensors = {f"{_ALIKE}.{name}": first[name] for name in alike}
    for number, member in enumerate(members):
        tensors |= {
            f"seed{number}.{name}": value for name, value in member.tensors.items()
            if name not in alike
        }
    cards = [member.card for member in members]
    return Model(tensors, {**cards[0], "members": cards})


def split_model(model: Model) -> list[Model]:
    """Return the members of a model; a model with one seed is its only member."""
    cards: list[dict[str, Any]] = model.card.get("members", [])
    return [
        Model({**model.part(_ALIKE), **model.part(f"seed{number}")}, card)
        for number, card in enumerate(cards)
    ] or [model]


def _pairs(
    pretrained: Model | None, context: FitContext
) -> list[tuple[Model | None, FitContext]]:
    """Pair the members of the pretrained model, in turn, with one context per seed."""
    members = [None] if pretrained is None else split_model(pretrained)
    contexts = _contexts(context, max(context.network.n_seeds, len(members)))
    return [(members[number % len(members)], each) for number, each in enumerate(contexts)]


def _contexts(context: FitContext, n_seeds: int) -> list[FitContext]:
    """Return one context per seed; the first has the given seed and checkpoint."""
    first = replace(context, progress=_part_of(context.progress, 0, n_seeds))
    others = [
        replace(
            context, seed=derive_seed(context.seed, "member", number),
            checkpoint=context.checkpoint and context.checkpoint.with_name(
                f"{context.checkpoint.stem}-{number}{context.checkpoint.suffix}"),
            progress=_part_of(context.progress, number, n_seeds),
        )
        for number in range(1, n_seeds)
    ]
    return [first, *others]


def _part_of(progress: Progress | None, number: int, n_seeds: int) -> Progress | None:
    """Report the progress of one member as that of the ensemble."""
    if progress is None:
        return None
    return lambda done, total, loss: progress(number * total + done, n_seeds * total, loss)


def _mean(arrays: Sequence[Any]) -> np.ndarray:
    return np.mean(arrays, axis=0, dtype=np.float64).astype(np.float32)
