"""Simulated brains: region of interest, tuning and noise sources of one participant."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from bids_decoder.simulate.fields import Smoother, smooth_field
from bids_decoder.simulate.world import ResponseSettings, World


@dataclass(frozen=True, eq=False)
class Brain:
    """One participant's responses and noise sources over the voxels of the brain."""

    tuning: np.ndarray
    roi: np.ndarray
    ncsnr: np.ndarray
    suppressors: np.ndarray
    partners: np.ndarray
    arousal_map: np.ndarray
    global_map: np.ndarray


def draw_brain(world: World, rng: np.random.Generator) -> Brain:
    """Draw the brain of one participant of a group."""
    settings, brain = world.settings, world.brain
    outline = 0.8 * world.roi_field + 0.6 * smooth_field(rng, settings.shape, settings.roi_fwhm)
    roi = _largest((outline + _posterior(settings.shape))[brain], settings.n_roi)
    lognormal = np.exp(0.5 * smooth_field(rng, settings.shape, 3.0)[brain])
    ncsnr = np.where(roi, settings.median_ncsnr * lognormal, 0).astype(np.float32)
    tuning = _tuning(world, rng)[:, roi]
    tuning *= ncsnr[roi] / np.sqrt((tuning**2).sum(axis=0))
    suppressors, partners = _suppressors(settings, roi, rng)
    anterior = smooth_field(rng, settings.shape, settings.roi_fwhm) - _posterior(settings.shape)
    score = np.where(roi, -np.inf, anterior[brain])
    loading = np.exp(0.5 * smooth_field(rng, settings.shape, 3.0)[brain])
    return Brain(
        tuning, roi, ncsnr, suppressors, partners,
        arousal_map=np.where(_largest(score, settings.n_distractor), loading, 0),
        global_map=smooth_field(rng, settings.shape, settings.roi_fwhm)[brain],
    )


def _tuning(world: World, rng: np.random.Generator) -> np.ndarray:
    settings = world.settings
    own = tuning_fields(settings, world.brain, rng)
    rho = settings.similarity
    tuning = rho * world.tuning_fields + np.sqrt(1 - rho**2) * own
    # Early areas lean to the first features, late areas to the last.
    region = smooth_field(rng, settings.shape, 2 * settings.roi_fwhm)[world.brain]
    order = np.log(np.arange(1, settings.n_features + 1, dtype=np.float32))
    tuning *= np.exp(np.outer(order, 0.1 * region))
    return tuning * world.spectrum[:, None]


def tuning_fields(
    settings: ResponseSettings, brain: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    """Draw smooth tuning to each feature, (n_features, n_brain_voxels)."""
    smoother = Smoother(settings.shape, settings.tuning_fwhm)
    fields = np.empty((settings.n_features, int(brain.sum())), dtype=np.float32)
    for feature in range(settings.n_features):
        fields[feature] = smoother.draw(rng, 1)[0][brain]
    return fields


def _suppressors(
    settings: ResponseSettings, roi: np.ndarray, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    outside = np.flatnonzero(~roi)
    n = round(settings.suppressor_fraction * len(outside))
    chosen = np.sort(rng.choice(outside, n, replace=False))
    mask = np.zeros(len(roi), dtype=bool)
    mask[chosen] = True
    return mask, rng.choice(np.flatnonzero(roi), n)


def _posterior(shape: tuple[int, int, int]) -> np.ndarray:
    """Fall from +0.8 at the posterior end to -0.8 at the anterior end."""
    return np.linspace(0.8, -0.8, shape[1], dtype=np.float32)[None, :, None]


def _largest(score: np.ndarray, n: int) -> np.ndarray:
    """Mark the *n* largest values."""
    chosen = np.zeros(score.shape, dtype=bool)
    chosen[np.argsort(score, kind="stable")[len(score) - n :]] = True
    return chosen
