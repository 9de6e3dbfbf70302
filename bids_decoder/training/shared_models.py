"""What the participants of the default decoder share: made, written to model files and restored.

It is learned from the source participants, or from the trials of one participant alone.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, replace
from functools import partial
from typing import Any

import numpy as np

from bids_decoder.config import Network
from bids_decoder.evaluation.folds import (
    MIN_RUNS_TO_CHOOSE,
    MOST_TRIALS_TO_CHOOSE,
    assert_no_test,
    inner_folds,
    is_crossed,
)
from bids_decoder.models.networks import Trunk, load_weights, weights_of
from bids_decoder.models.store import Model
from bids_decoder.stimuli.targets import TargetSpace, whitening_scale
from bids_decoder.training.adaptation import SharedModel
from bids_decoder.training.common_space import CommonMaps
from bids_decoder.training.decoders import FitContext
from bids_decoder.training.episodes import VoxelWeighting, each_with_some_runs
from bids_decoder.training.identification import unit_rows
from bids_decoder.training.input_layer import fit_input_layer, fit_input_layers
from bids_decoder.training.labellings import fit_space, fits_in_closed_form
from bids_decoder.training.pretrain import (
    LatentScale,
    build_trunk,
    collect_latents,
    pretrain_trunk,
)
from bids_decoder.training.shared_noise import NoisePrior
from bids_decoder.training.weightings import WEIGHTINGS
from bids_decoder.trials import Person, Targets

WHITENING = (0.0, 0.25, 0.5)
"""Candidate exponents for the whitening of the components of the targets."""

DEFAULT_WHITENING = 0.25
"""Used when there are too few runs to choose."""

LEAST_TRIALS_OF_EACH = 750
"""Trials of each source participant by which the whitening is chosen at least, if it has them."""

MIN_RUNS_FOR_OWN_TRUNK = 6
"""Without pretraining, fewer training runs mean an untrained trunk, as labels do."""


def make_shared(
    person: Person, targets: Targets, pretrained: Model | None, context: FitContext
) -> tuple[TargetSpace, SharedModel]:
    """Restore the shared part of a pretrained model, or fit it to this participant alone.

    Parameters
    ----------
    person : Person
        Training trials only.
    targets : Targets
    pretrained : Model or None
    context : FitContext

    Returns
    -------
    space : TargetSpace
    shared : SharedModel
        Without pretraining, the trunk is trained on the participant's own episodes; it stays the
        identity for labels and values, where nothing is trained, and with fewer than
        :data:`MIN_RUNS_FOR_OWN_TRUNK` runs.

    Raises
    ------
    LeakageError
        When a trial is no training trial.
    """
    assert_no_test(person.trials, np.arange(len(person.trials)))
    is_category = targets.kind == "category"
    if pretrained is not None:
        space, shared = restore_shared(pretrained, targets)
        common = restore_common(pretrained) if context.network.group_prior else None
        return space, replace(shared, common=common)
    rows, weighting = [person.target_rows], WEIGHTINGS[context.network.source_voxels]
    closed = fits_in_closed_form(
        targets.kind, context.network, context.troi, few_stimuli=is_crossed(person.trials)
    )
    whitening = (
        context.network.target_whitening if closed and not targets.over_runs
        else choose_whitening([person], targets, rows, weighting, context.network)
    )
    space = fit_space(targets, rows, DEFAULT_WHITENING if whitening is None else whitening)
    vectors = space.transform(targets.vectors)
    few_runs = len(np.unique(person.run_groups)) < MIN_RUNS_FOR_OWN_TRUNK
    if targets.over_runs or closed or few_runs:
        trunk = build_trunk(vectors.shape[1], context.network, context.seed).eval()
        scale = LatentScale(1.0, float(np.log2(len(person.betas))), 0.5)
        if not closed:
            scale = replace(scale, latent_sd=_latent_size(person, vectors))
        noise = NoisePrior() if is_category else None
        return space, SharedModel(
            trunk, scale, vectors, is_category, closed_form=closed, noise=noise
        )
    latents = collect_latents([person], vectors, weighting, context.seed, 1)
    trunk, scale, _ = pretrain_trunk(
        latents, vectors, is_category, context.network, seed=context.seed, device=context.device
    )
    return space, SharedModel(trunk, scale, vectors, is_category)


def _latent_size(person: Person, vectors: np.ndarray) -> float:
    """Compute the size of a participant's own latents, for decoders without pretraining."""
    fit = fit_input_layer(person.betas, vectors[person.target_rows], person.run_groups)
    return float(np.sqrt(np.mean(np.square(fit.latents(person.betas), dtype=np.float64)))) or 1.0


def choose_whitening(
    people: Iterable[Person], targets: Targets, rows_of_people: list[np.ndarray],
    weighting: VoxelWeighting, network: Network,
) -> float:
    """Choose the whitening of the targets: that of the settings, or by cross-validation.

    Parameters
    ----------
    people : iterable of Person
        Training trials only.
    targets : Targets
    rows_of_people : list of ndarray of int
        Training stimuli.
    weighting : callable
    network : Network

    Returns
    -------
    float
        The value of :data:`WHITENING` with which most stimuli of held-out training runs are
        identified, the smallest among equals; 0 for categories and values.

    Notes
    -----
    Of all participants together :data:`.MOST_TRIALS_TO_CHOOSE` trials are used, in whole runs,
    and of each of them at least :data:`LEAST_TRIALS_OF_EACH`.
    """
    if network.target_whitening is not None:
        return network.target_whitening
    if targets.over_runs:
        return 0.0
    space = fit_space(targets, rows_of_people, 0.0)
    gallery = space.transform(targets.vectors)
    scalings = np.stack([whitening_scale(space.explained, value) for value in WHITENING])
    most = max(LEAST_TRIALS_OF_EACH, MOST_TRIALS_TO_CHOOSE // len(rows_of_people))
    hits_of = partial(_hits_of, gallery=gallery, scalings=scalings, weighting=weighting)
    hits = np.sum(list(map(hits_of, each_with_some_runs(people, most))), axis=0)
    return WHITENING[int(np.argmax(hits))] if hits.any() else DEFAULT_WHITENING


def _hits_of(
    person: Person, gallery: np.ndarray, scalings: np.ndarray, weighting: VoxelWeighting
) -> np.ndarray:
    """Count the stimuli of held-out runs that are identified, with each scaling of the gallery."""
    hits = np.zeros(len(scalings))
    if len(np.unique(person.run_groups)) < MIN_RUNS_TO_CHOOSE:
        return hits
    for train, test in inner_folds(person.run_groups, 3):
        inner = person.subset(train)
        wanted, shown = gallery[inner.target_rows], person.betas[test]
        fits = fit_input_layers(
            inner.betas, wanted, scalings, inner.run_groups, weighting(inner, wanted)
        )
        for number, (fit, scaling) in enumerate(zip(fits, scalings, strict=True)):
            hits[number] += _n_identified(
                fit.latents(shown), person.target_rows[test], gallery * scaling
            )
    return hits


def _n_identified(predicted: np.ndarray, rows: np.ndarray, gallery: np.ndarray) -> int:
    names, own = np.unique(rows, return_inverse=True)
    return int(((predicted @ unit_rows(gallery[names]).T).argmax(axis=1) == own).sum())


def tensors_of(trunk: Trunk, space: TargetSpace) -> dict[str, np.ndarray]:
    """Return trunk and target space as tensors of a model file."""
    return {
        **weights_of(trunk, "trunk"), "space.mean": space.mean,
        "space.components": space.components, "space.explained": space.explained,
        "space.scale": space.scale,
    }


def card_of(trunk: Trunk, scale: LatentScale, network: Network) -> dict[str, Any]:
    """Return what the card of a model says, so that :func:`restore_shared` can rebuild them."""
    n_latents = int(trunk.projector.shape[0])
    return {"n_latents": n_latents, "scale": asdict(scale), "network": asdict(network)}


def noise_card_of(noise: NoisePrior | None) -> dict[str, Any]:
    """Return what the card of a model says of noise that voxels share; empty if not subtracted."""
    return {} if noise is None else {"noise": asdict(noise)}


def restore_space(model: Model) -> TargetSpace:
    """Restore the target space of a model."""
    part = model.part("space")
    return TargetSpace(*(part[name] for name in ("mean", "components", "explained", "scale")))


def restore_shared(model: Model, targets: Targets) -> tuple[TargetSpace, SharedModel]:
    """Restore target space and trunk of a model, for the targets of a call."""
    space = restore_space(model)
    vectors = space.transform(targets.vectors)
    shared = restore_trunk(model, vectors, targets.kind == "category")
    noise = model.card.get("noise")
    prior = model.card.get("share_prior")
    return space, replace(
        shared, noise=None if noise is None else NoisePrior(**noise),
        share_prior=None if prior is None else np.array(prior),
    )


def restore_common(model: Model) -> CommonMaps | None:
    """Restore the mean maps of the source participants; None where the model has none."""
    part = model.part("common")
    return CommonMaps.restore(model.card["common"], part) if part else None


def restore_trunk(model: Model, vectors: np.ndarray, is_category: bool) -> SharedModel:
    """Restore the trunk of a model.

    Parameters
    ----------
    model : Model
    vectors : ndarray, shape (n_ids, n_latents)
        Targets in the target space.
    is_category : bool
    """
    trunk = build_trunk(model.card["n_latents"], Network(**model.card["network"]), seed=0)
    return SharedModel(
        load_weights(trunk, model.part("trunk")), LatentScale(**model.card["scale"]), vectors,
        is_category,
    )
