"""Ablations: the default decoder without one of its parts, fitted to the same trials."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from bids_decoder.evaluation.folds import is_crossed
from bids_decoder.models.store import Model
from bids_decoder.training.decoders import Decoder, FitContext
from bids_decoder.training.labellings import fits_in_closed_form
from bids_decoder.training.likely_filter import filters_are_tried
from bids_decoder.training.spatial_prior import prior_is_tried
from bids_decoder.trials import Person, Targets

PREFIX = "without-"
"""Prefix of the names of ablations in tables."""


@dataclass(frozen=True)
class Ablation:
    """A decoder without one of its parts.

    Parameters
    ----------
    name : str
        Starts with :data:`PREFIX`.
    context : FitContext
    pretrained : Model or None
    """

    name: str
    context: FitContext
    pretrained: Model | None


def list_ablations(
    person: Person, targets: Targets, pretrained: Model | None, context: FitContext
) -> Iterator[Ablation]:
    """List the ablations of the parts that the decoder of this participant has.

    Parameters
    ----------
    person : Person
    targets : Targets
    pretrained : Model or None
    context : FitContext

    Yields
    ------
    Ablation
        Without pretraining, group prior, selection, low-pass filter of the selection, spatial
        prior, or second stage.
    """
    network, troi = context.network, context.troi
    if pretrained is not None:
        yield Ablation(f"{PREFIX}pretraining", context, None)
        common_space = pretrained.card.get("common", {}).get("space")
        if network.group_prior and common_space is not None and common_space == person.space:
            changed = replace(context, network=replace(network, group_prior=False))
            yield Ablation(f"{PREFIX}group-prior", changed, pretrained)
    parts = []
    if troi.selector != "all":
        parts.append(("selection", replace(troi, selector="all")))
        if person.grid.has_geometry and troi.lowpass_fwhm_mm != 0:
            parts.append(("low-pass", replace(troi, lowpass_fwhm_mm=0.0)))
    is_closed = fits_in_closed_form(
        targets.kind, network, troi,
        few_stimuli=pretrained is None and is_crossed(person.trials),
    )
    filters = pretrained is None and is_closed and filters_are_tried(person, targets, troi)
    if filters or prior_is_tried(person, targets, troi):
        parts.append(("spatial-prior", replace(troi, spatial_prior="never")))
    if troi.stage2 != "none" and not is_closed:
        parts.append(("stage-2", replace(troi, stage2="none")))
    for name, changed in parts:
        yield Ablation(f"{PREFIX}{name}", replace(context, troi=changed), pretrained)


def fit_ablation(
    decoder: Decoder, ablation: Ablation, person: Person, targets: Targets
) -> Model:
    """Select voxels and fit the decoder again, on training trials only."""
    selection = decoder.select(person, targets, ablation.pretrained, ablation.context)
    return decoder.adapt(person, targets, selection, ablation.pretrained, ablation.context)
