"""Simulated sessions: noise, arousal and drift of single-trial responses."""

from __future__ import annotations

import numpy as np

from bids_decoder.simulate.brains import Brain
from bids_decoder.simulate.fields import Smoother
from bids_decoder.simulate.world import World

TRIALS_PER_RUN = 62
_CHUNK = 25


def simulate_session(
    world: World, brain: Brain, latents: np.ndarray, trial_in_run: np.ndarray,
    rng: np.random.Generator,
) -> np.ndarray:
    """Simulate the betas of one session, shape (n_trials, n_brain_voxels)."""
    settings = world.settings
    betas = np.empty((len(latents), len(brain.roi)), dtype=np.float32)
    _fill_noise(betas, world, brain, rng)
    if settings.n_distractor:
        arousal = _autoregressive(rng.standard_normal((len(latents), 1)).astype(np.float32), 0.9)
        betas += arousal * brain.arousal_map.astype(np.float32)
    _add_drift(betas, world, trial_in_run, rng)
    columns = np.flatnonzero(brain.roi)
    for start in range(0, len(betas), _CHUNK):
        rows = slice(start, start + _CHUNK)
        betas[rows, columns] += latents[rows] @ brain.tuning
    return betas


def _fill_noise(
    betas: np.ndarray, world: World, brain: Brain, rng: np.random.Generator
) -> None:
    """Fill with noise of unit variance: half smooth, half white, 5 % of it global, AR(1)."""
    smoother = Smoother(world.settings.shape, world.settings.noise_fwhm)
    smooth_part = np.where(brain.suppressors, 0.9, 0.5).astype(np.float32)
    weights = np.sqrt(0.95 * smooth_part), np.sqrt(0.95 * (1 - smooth_part))
    for start in range(0, len(betas), _CHUNK):
        chunk = betas[start : start + _CHUNK]
        smooth = smoother.draw(rng, len(chunk))[:, world.brain]
        smooth[:, brain.suppressors] = smooth[:, brain.partners]
        chunk[:] = rng.standard_normal(chunk.shape, dtype=np.float32)
        chunk *= weights[1]
        chunk += smooth * weights[0]
        chunk += rng.standard_normal((len(chunk), 1), np.float32) * (0.05**0.5 * brain.global_map)
    _autoregressive(betas, 0.2)


def _autoregressive(values: np.ndarray, coefficient: float) -> np.ndarray:
    """Turn white rows into AR(1) of the same variance, in place."""
    for row in range(1, len(values)):
        values[row] *= np.float32(np.sqrt(1 - coefficient**2))
        values[row] += np.float32(coefficient) * values[row - 1]
    return values


def _add_drift(
    betas: np.ndarray, world: World, trial_in_run: np.ndarray, rng: np.random.Generator
) -> None:
    settings = world.settings
    if settings.drift_sd == 0:
        return
    smoother = Smoother(settings.shape, 6.0)
    betas += settings.drift_sd * smoother.draw(rng, 1)[0][world.brain]
    starts = np.flatnonzero(trial_in_run == 0)
    time = 2 * np.arange(TRIALS_PER_RUN, dtype=np.float32) / (TRIALS_PER_RUN - 1) - 1
    # Legendre polynomials of unit variance over a run.
    course = np.column_stack([np.sqrt(3) * time, np.sqrt(5) * (1.5 * time**2 - 0.5)])
    for start, stop in zip(starts, [*starts[1:], len(betas)], strict=True):
        maps = settings.drift_sd * smoother.draw(rng, 2)[:, world.brain]
        betas[start:stop] += course[: stop - start].astype(np.float32) @ maps
