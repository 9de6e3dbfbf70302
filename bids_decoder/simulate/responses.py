"""Single-trial responses of several participants with known region of interest and known tuning.

A linear-Gaussian stand-in for a large picture-viewing dataset at high field: a box of voxels, a
posterior region that differs between participants, tuning that is partly shared, spatially and
temporally correlated noise, and drift over sessions and runs. With the default settings, ridge
regression from the true region reaches the retrieval accuracies of published decoders.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from bids_decoder.seeds import derive_seed
from bids_decoder.simulate.brains import Brain, draw_brain, tuning_fields
from bids_decoder.simulate.fields import smooth_field
from bids_decoder.simulate.sessions import TRIALS_PER_RUN, simulate_session
from bids_decoder.simulate.world import ResponseSettings, World
from bids_decoder.trials import VoxelGrid

_TRIALS_PER_SESSION = 750


@dataclass(frozen=True, eq=False)
class Pictures:
    """Pictures and their vectors.

    Parameters
    ----------
    ids : ndarray of str, shape (n_pictures,)
    latents : ndarray of float32, shape (n_pictures, n_features)
        What brains respond to; of mean 0 and variance 1 over pictures.
    embeddings : ndarray of float32, shape (n_pictures, n_embedding)
        Target vectors.
    """

    ids: np.ndarray
    latents: np.ndarray
    embeddings: np.ndarray


@dataclass(frozen=True, eq=False)
class SimulatedTrials:
    """Trials of one participant in order of time.

    Parameters
    ----------
    betas : ndarray of float32, shape (n_trials, n_voxels)
        Not z-scored; includes session offsets and drifts.
    sessions, runs : ndarray of int, shape (n_trials,)
        From 1; runs count within a session.
    images : ndarray of str, shape (n_trials,)
        Picture ids.
    embeddings : ndarray of float32, shape (n_trials, n_embedding)
        Target vector of each trial's picture.
    """

    betas: np.ndarray
    sessions: np.ndarray
    runs: np.ndarray
    images: np.ndarray
    embeddings: np.ndarray


@dataclass(frozen=True, eq=False)
class SimulatedPerson:
    """One simulated participant with ground truth; voxels in C order of ``grid.mask``.

    Parameters
    ----------
    seed : int
        Subject seed.
    grid : VoxelGrid
    train, test : SimulatedTrials
        Different sessions, different pictures.
    roi, suppressors, distractors : ndarray of bool, shape (n_voxels,)
    ncsnr : ndarray of float32, shape (n_voxels,)
        True signal over noise standard deviation; 0 outside the region.
    """

    seed: int
    grid: VoxelGrid
    train: SimulatedTrials
    test: SimulatedTrials
    roi: np.ndarray
    suppressors: np.ndarray
    distractors: np.ndarray
    ncsnr: np.ndarray


def make_world(settings: ResponseSettings, group_seed: int) -> World:
    """Draw the properties that a group of participants shares.

    Parameters
    ----------
    settings : ResponseSettings
    group_seed : int

    Returns
    -------
    World
    """
    rng = np.random.default_rng(derive_seed(group_seed, "world"))
    brain = _ellipsoid(settings.shape)
    bases = [
        np.linalg.qr(rng.standard_normal((settings.n_embedding, settings.n_features)))[0]
        for _ in range(2)
    ]
    roi_field = smooth_field(rng, settings.shape, settings.roi_fwhm)
    tuning = tuning_fields(settings, brain, rng)
    seen, unseen = (basis.astype(np.float32) for basis in bases)
    return World(settings, group_seed, brain, roi_field, tuning, seen, unseen)


def simulate_person(
    world: World, subject_seed: int, *, n_train: int = 750, n_test_images: int = 1000,
    n_repeats: int = 3,
) -> SimulatedPerson:
    """Simulate one participant.

    Parameters
    ----------
    world : World
    subject_seed : int
    n_train : int
        Training trials, each with a picture of its own, in sessions of 750.
    n_test_images : int
        Test pictures, the same for all participants of the group.
    n_repeats : int
        Trials per test picture, in random order in sessions after the training sessions.

    Returns
    -------
    SimulatedPerson
        The training trials do not depend on how many test trials are asked for.
    """
    train_ids = np.array([f"person{subject_seed}-{i:05d}" for i in range(n_train)])
    test_ids = np.array([f"shared-{i:05d}" for i in range(n_test_images)])
    return simulate_viewer(
        world, subject_seed, Pictures(train_ids, *_pictures(world, n_train, subject_seed)),
        Pictures(test_ids, *_pictures(world, n_test_images, "shared")), n_repeats=n_repeats,
    )


def simulate_viewer(
    world: World, subject_seed: int, train: Pictures, test: Pictures, *, n_repeats: int = 3
) -> SimulatedPerson:
    """Simulate one participant who views given pictures.

    Parameters
    ----------
    world : World
    subject_seed : int
    train : Pictures
        Shown once each.
    test : Pictures
        Shown *n_repeats* times each, in random order in sessions after the training sessions.
    n_repeats : int

    Returns
    -------
    SimulatedPerson
    """
    brain = draw_brain(world, np.random.default_rng(_seed(world, subject_seed, "brain")))
    order_rng = np.random.default_rng(_seed(world, subject_seed, "test order"))
    order = order_rng.permutation(np.repeat(np.arange(len(test.ids)), n_repeats))
    n_train_sessions = -(-len(train.ids) // _TRIALS_PER_SESSION)
    trained = _scan(world, brain, train, subject_seed, first_session=1)
    shown = Pictures(test.ids[order], test.latents[order], test.embeddings[order])
    tested = _scan(world, brain, shown, subject_seed, first_session=n_train_sessions + 1)
    grid = VoxelGrid(_used_mask(world), np.diag([world.settings.voxel_size] * 3 + [1.0]))
    return SimulatedPerson(
        subject_seed, grid, trained, tested,
        roi=_on_grid(world, brain.roi), suppressors=_on_grid(world, brain.suppressors),
        distractors=_on_grid(world, brain.arousal_map != 0), ncsnr=_on_grid(world, brain.ncsnr),
    )


def noise_ceiling(ncsnr: np.ndarray, n_repeats: int) -> np.ndarray:
    """Compute the share of variance of an average over repeats that the picture can explain.

    Parameters
    ----------
    ncsnr : ndarray
        Signal over noise standard deviation of single trials.
    n_repeats : int

    References
    ----------
    Allen et al. 2022, Nat Neurosci 25:116.
    """
    power = np.square(ncsnr)
    return power / (power + 1 / n_repeats)


def _seed(world: World, *keys: object) -> int:
    return derive_seed(world.group_seed, *keys)


def _ellipsoid(shape: tuple[int, int, int]) -> np.ndarray:
    axes = [(2 * np.arange(size) - (size - 1)) / (size - 1) for size in shape]
    return sum(np.square(a) for a in np.meshgrid(*axes, indexing="ij", sparse=True)) <= 1


def _pictures(world: World, n: int, whose: object) -> tuple[np.ndarray, np.ndarray]:
    """Draw latent features (n, n_features) and embeddings (n, n_embedding)."""
    settings = world.settings
    rng = np.random.default_rng(_seed(world, "pictures", whose))
    draws = rng.standard_normal((n, 2, settings.n_features), dtype=np.float32)
    seen, unseen = (draws[:, part] * world.spectrum for part in range(2))
    embeddings = (
        np.sqrt(1 - settings.own) * seen @ world.seen.T
        + np.sqrt(settings.own) * unseen @ world.unseen.T
    )
    return draws[:, 0], embeddings.astype(np.float32)


def _scan(
    world: World, brain: Brain, pictures: Pictures, subject_seed: int, first_session: int,
) -> SimulatedTrials:
    latents, n = pictures.latents, len(pictures.ids)
    position = np.arange(n) % _TRIALS_PER_SESSION
    sessions = first_session + np.arange(n) // _TRIALS_PER_SESSION
    runs = 1 + position // TRIALS_PER_RUN
    used = _used_mask(world)
    inside = world.brain[used]
    betas = np.empty((n, int(used.sum())), dtype=np.float32)
    for session in np.unique(sessions):
        rows = np.flatnonzero(sessions == session)
        rng = np.random.default_rng(_seed(world, subject_seed, "session", session))
        values = simulate_session(world, brain, latents[rows], position[rows] % TRIALS_PER_RUN, rng)
        block = betas[rows[0] : rows[-1] + 1]
        if world.settings.whole_box:
            block[:, inside] = values
            block[:, ~inside] = rng.standard_normal((len(rows), (~inside).sum()), np.float32)
        else:
            block[:] = values
    return SimulatedTrials(betas, sessions, runs, pictures.ids, pictures.embeddings)


def _used_mask(world: World) -> np.ndarray:
    return np.ones_like(world.brain) if world.settings.whole_box else world.brain


def _on_grid(world: World, values: np.ndarray) -> np.ndarray:
    """Extend brain values to the voxels of the output grid."""
    volume = np.zeros(world.brain.shape, dtype=values.dtype)
    volume[world.brain] = values
    return volume[_used_mask(world)]
