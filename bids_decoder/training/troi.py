"""The default decoder: shared trunk, trainable region of interest, closed-form input layers."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from functools import partial
from operator import attrgetter
from typing import Any

import numpy as np
import torch

from bids_decoder.config import Network
from bids_decoder.models.networks import Trunk, weights_of
from bids_decoder.models.store import Model
from bids_decoder.seeds import derive_seed
from bids_decoder.training.adaptation import Adaptation, SharedModel
from bids_decoder.training.common_space import gather_common
from bids_decoder.training.decoders import Decoder, FitContext
from bids_decoder.training.episodes import Latents, VoxelWeighting, draw_latents
from bids_decoder.training.filtered import Filtered
from bids_decoder.training.finetune import fit_weights, keeps_start
from bids_decoder.training.gates import learn_gates
from bids_decoder.training.identification import unit_rows
from bids_decoder.training.input_layer import InputFit
from bids_decoder.training.labellings import fit_space
from bids_decoder.training.likely_filter import candidate_filters, use_likely_filter
from bids_decoder.training.patterns import activation_patterns, explained_sd
from bids_decoder.training.pretrain import (
    LatentScale,
    build_trunk,
    collect_latents,
    noise_of_others,
    pretrain_trunk,
)
from bids_decoder.training.prior import (
    Pairs,
    fit_calibration,
    fit_prior,
    restore_prior,
    sample_prior,
)
from bids_decoder.training.seen import SeenPeople
from bids_decoder.training.selection.task import Selection, SelectionTask
from bids_decoder.training.selectors import select_voxels
from bids_decoder.training.share_prior import share_prior_of, uses_share_prior, weighting_with
from bids_decoder.training.shared_models import (
    card_of,
    choose_whitening,
    make_shared,
    noise_card_of,
    restore_common,
    restore_shared,
    restore_space,
    restore_trunk,
    tensors_of,
)
from bids_decoder.training.shared_noise import subtract_shared_noise
from bids_decoder.training.spatial_prior import SpatialPrior, use_spatial_prior
from bids_decoder.training.trust import choose_share
from bids_decoder.training.zero_shot import describe_zero_shot
from bids_decoder.trials import Person, Targets, VoxelGrid

IDENTITY = LatentScale(1.0, 0.0, 0.5)
"""Scale with which an untrained trunk returns latents as they are."""

class TroiDecoder(Decoder):
    """Trainable region of interest on a trunk that is pretrained across participants."""

    name = "troi"

    def pretrain(self, people: Iterable[Person], targets: Targets, context: FitContext) -> Model:
        """Learn target space and trunk from the source participants; see :class:`Decoder`."""
        seen, network = SeenPeople(), context.network
        # Not a comprehension, which would hold one participant while the next one is loaded.
        rows = list(map(attrgetter("target_rows"), seen.watch(people)))
        weighting = weighting_with(None, network)
        whitening = choose_whitening(people, targets, rows, weighting, network)
        space_of = partial(fit_space, targets, whitening=whitening)
        space = space_of(rows)
        vectors = space.transform(targets.vectors)
        common, folder = None, context.temporary_dir
        if network.group_prior:
            common = gather_common(people, vectors, targets.over_runs, folder)
        is_category = targets.kind == "category"
        by_signal = is_category and network.source_voxels == "signal"
        share_prior = share_prior_of(people, vectors) if by_signal else None
        weighting = weighting_with(share_prior, network)
        noise = noise_of_others(people, vectors, weighting) if is_category else None
        latents = collect_latents(people, vectors, weighting, context.seed, len(rows), noise)
        trunk, scale, losses = pretrain_trunk(
            latents, vectors, is_category, network, seed=context.seed,
            device=context.device, checkpoint=context.checkpoint, progress=context.progress,
        )
        prior, prior_notes = _prior(latents, trunk, scale, vectors, context)
        card = {
            "decoder": self.name, "participants": seen.labels, "n_trials": seen.n_trials,
            "n_episode_trials": len(latents.values), "target_whitening": whitening,
            "stimuli_seen": seen.stimuli(targets), "target_kind": targets.kind,
            "loss": [round(v, 6) for v in losses], **card_of(trunk, scale, network),
            **prior_notes, **noise_card_of(noise),
            **({} if share_prior is None else {"share_prior": share_prior.tolist()}),
        }
        maps = {} if common is None else common.tensors()
        if common is not None:
            card["common"] = common.card()
            card["zero_shot"] = describe_zero_shot(
                people, targets, common.left_out, rows, space_of, context.seed, folder
            )
        return Model({**tensors_of(trunk, space), **prior, **maps}, card)

    def select(
        self, person: Person, targets: Targets, pretrained: Model | None, context: FitContext
    ) -> Selection:
        """Select voxels with the selector of the settings; see :class:`Decoder`."""
        space, shared = make_shared(person, targets, pretrained, context)
        selection = _select(person, shared, context)
        if pretrained is not None or shared.closed_form:
            return selection
        own = Model(
            tensors_of(shared.trunk.cpu(), space),
            card_of(shared.trunk, shared.scale, context.network) | noise_card_of(shared.noise),
        )
        return replace(selection, own=own)

    def adapt(
        self, person: Person, targets: Targets, selection: Selection, pretrained: Model | None,
        context: FitContext,
    ) -> Model:
        """Fit the input layer on the selection; see :class:`Decoder`."""
        if selection.own is None:
            space, shared = make_shared(person, targets, pretrained, context)
        else:
            space, shared = restore_shared(selection.own, targets)
        adaptation = _adaptation(person, shared, context)
        # A trunk of the participant's own trials cannot tell how held-out ones are decoded.
        unseen = adaptation if pretrained is not None else adaptation.shrunk(0.0)
        used = _filtered(unseen, targets, selection, context)
        adaptation = adaptation.with_person(used.person)
        trusted: dict[str, Any] = {}
        if pretrained is not None:
            share, trusted = choose_share(adaptation, _weighting(used, shared, context))
            adaptation = adaptation.shrunk(share)
        made = fit_weights(adaptation, used.weights, selection.start_weight, context.troi)
        fit, shared = made.fit, replace(adaptation.shared, trunk=made.trunk)
        card = {
            "decoder": self.name, "participant": person.label, "n_trials": fit.n_trials,
            "target_kind": targets.kind, "pretrained": pretrained is not None,
            "classes": list(targets.ids) if shared.is_category else [],
            "pretrained_on": [] if pretrained is None else pretrained.card["participants"],
            "history": made.history, "selection": selection.notes, **made.notes, **trusted,
            **used.notes,
            "closed_form": shared.closed_form,
            "group_prior": "" if adaptation.prior is None else person.space,
            "group_prior_resampled": adaptation.prior is not None and adaptation.prior.resampled,
            "target_norm": float(np.linalg.norm(adaptation.wanted, axis=1).mean()),
            **card_of(shared.trunk, shared.scale, context.network),
            **({"gain": fit.gain} if targets.kind == "value" else {}),
        }
        prior: dict[str, np.ndarray] = {}
        if context.network.prior != "none":
            latents = draw_latents(
                used.person, 0, shared.vectors, lambda *_: used.weights,
                np.random.default_rng(derive_seed(context.seed, "prior episodes")),
            )
            prior, prior_notes = _prior(
                latents, shared.trunk.cpu(), shared.scale, shared.vectors, context, pretrained
            )
            card |= prior_notes
        tensors = tensors_of(shared.trunk.cpu(), space)
        tensors |= {"input.weight": used.of_responses(fit.weight), "input.bias": fit.bias}
        return Model({**tensors, **prior}, card)

    def without_trials(self, pretrained: Model, grid: VoxelGrid) -> Model:
        """Read the voxels by the mean input layer of the source participants at their places.

        Latents are not passed through the trunk, so that source participants can be decoded in the
        same way without themselves, for the calibration; see :class:`Decoder`.
        """
        common = restore_common(pretrained)
        if common is None:
            return super().without_trials(pretrained, grid)
        weight, network = common.layer_of(grid), Network(**pretrained.card["network"])
        n_latents = weight.shape[1]
        card = {
            "decoder": self.name, "n_trials": 1, "zero_shot": True,
            "target_kind": pretrained.card["target_kind"],
            "pretrained_on": pretrained.card["participants"],
            **card_of(build_trunk(n_latents, network, 0), IDENTITY, network),
        }
        tensors = tensors_of(build_trunk(n_latents, network, 0), restore_space(pretrained))
        bias = np.zeros(n_latents, dtype=np.float32)
        return Model({**tensors, "input.weight": weight, "input.bias": bias}, card)

    def predict(self, model: Model, betas: np.ndarray) -> np.ndarray:
        """Predict embeddings from betas, or values in their units; see :class:`Decoder`."""
        layer = model.part("input")
        fit = InputFit(layer["weight"], layer["bias"], 0.0, int(model.card["n_trials"]))
        shared = restore_trunk(model, np.zeros((1, fit.weight.shape[1]), np.float32), False)
        embedding = shared.embed(fit.latents(betas), fit.n_trials)
        if "gain" not in model.card:
            return embedding
        return restore_space(model).inverse_transform(embedding * model.card["gain"])

    def gallery(self, model: Model, targets: Targets) -> np.ndarray:
        """Return the targets in the space of the predictions; see :class:`Decoder`."""
        if "gain" in model.card:
            return targets.vectors
        return restore_space(model).transform(targets.vectors)

    def picture_vectors(self, model: Model, embedding: np.ndarray, seed: int) -> np.ndarray:
        """Sample the prior, or scale predictions to the length of targets; see the base class."""
        if "prior" in model.card:
            scale = LatentScale(**model.card["scale"])
            context = scale.context(np.log2([float(model.card["n_trials"])]))
            embedding = sample_prior(
                restore_prior(model), embedding, np.repeat(context, len(embedding), axis=0), seed
            )
        elif calibration := model.part("calibration"):
            embedding = embedding * calibration["gain"] + calibration["centre"]
        else:
            # The contrastive loss determines directions, not lengths.
            lengths = np.linalg.norm(embedding, axis=1, keepdims=True)
            embedding = embedding * (model.card["target_norm"] / np.maximum(lengths, 1e-12))
        return restore_space(model).inverse_transform(embedding)

    def feature_vectors(self, model: Model, embedding: np.ndarray) -> np.ndarray:
        """Invert the target space, without its mean; see :class:`Decoder`."""
        space = restore_space(model)
        return space.inverse_transform(embedding) - space.mean

    def explain(self, model: Model, train: Person, targets: Targets) -> dict[str, np.ndarray]:
        """Return activation patterns, of labels one for each, and norms of weights.

        ``weight`` is the norm of each voxel's row of the input layer; see :class:`Decoder`.
        """
        weight = model.part("input")["weight"]
        maps = {"pattern": explained_sd(train.betas, weight, train.run_groups)}
        if targets.kind == "category":
            of_labels = weight @ unit_rows(self.gallery(model, targets)).T.astype(np.float32)
            maps["labelpattern"] = activation_patterns(train.betas, of_labels, train.run_groups)
        return {**maps, "weight": np.linalg.norm(weight, axis=1)}


def _prior(
    latents: Latents, trunk: Trunk, scale: LatentScale, vectors: np.ndarray, context: FitContext,
    pretrained: Model | None = None,
) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Train the prior of the settings on held-out latents that passed the trunk."""
    if context.network.prior == "none":
        return {}, {}
    about = scale.context(latents.log_trials)
    with torch.no_grad():
        scaled = torch.from_numpy(latents.values / np.float32(scale.latent_sd))
        decoded = trunk(scaled, torch.from_numpy(about)).numpy()
    pairs = Pairs(decoded, vectors[latents.target_rows], about, latents.people)
    if context.network.prior == "regression":
        return fit_calibration(pairs), {}
    start = restore_prior(pretrained) if pretrained and "prior" in pretrained.card else None
    prior, losses = fit_prior(
        pairs, context.network, seed=context.seed, device=context.device, start=start
    )
    notes = {"first_loss": losses[0], "last_loss": losses[-1], "epochs": len(losses)}
    return weights_of(prior, "prior"), {"prior": notes}


def _select(person: Person, shared: SharedModel, context: FitContext) -> Selection:
    return select_voxels(_selection_task(_adaptation(person, shared, context), context))


def _selection_task(adaptation: Adaptation, context: FitContext) -> SelectionTask:
    shared = adaptation.shared
    by_prior = shared.share_prior is not None and uses_share_prior(
        adaptation.person.grid, context.troi
    )
    return SelectionTask(
        adaptation.person, adaptation.wanted, context.troi, partial(learn_gates, adaptation),
        context.seed, adaptation.prior, closed_form=shared.closed_form,
        is_category=shared.is_category,
        weighting=weighting_with(shared.share_prior, context.network) if by_prior else None,
    )


def _weighting(used: Filtered, shared: SharedModel, context: FitContext) -> VoxelWeighting:
    """Return how voxels are weighted in inner fits: mapped responses are weighted already."""
    if isinstance(used.filter, SpatialPrior):
        return lambda *_: used.weights
    return weighting_with(shared.share_prior, context.network)


def _filtered(
    adaptation: Adaptation, targets: Targets, selection: Selection, context: FitContext
) -> Filtered:
    """Filter the responses of the selected voxels: for labels, or for stimuli."""
    noise, weights = adaptation.shared.noise, selection.weights
    if keeps_start(selection.start_weight, context.troi):
        # It reads responses as they were when it was learned.
        return Filtered(adaptation.person, weights)
    if not targets.over_runs:
        task = _selection_task(adaptation, context)
        return use_spatial_prior(adaptation, task, targets, weights)

    def prepare(person: Person) -> Filtered:
        if noise is None:
            return Filtered(person, weights)
        return subtract_shared_noise(person, adaptation.wanted, weights, noise)

    def fit(used: Filtered) -> InputFit:
        return adaptation.with_person(used.person).closed_form(weights)

    person, is_closed = adaptation.person, adaptation.shared.closed_form
    filters = candidate_filters(person, targets, context.troi) if is_closed else []
    return use_likely_filter(person, filters, fit, prepare)


def _adaptation(person: Person, shared: SharedModel, context: FitContext) -> Adaptation:
    return Adaptation(person, shared, context.network, seed=context.seed, device=context.device)
