"""Simulated cortex: responsive voxels, their tuning and reliability."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import map_coordinates

from bids_decoder.seeds import derive_seed
from bids_decoder.simulate.bold import Scene
from bids_decoder.simulate.fields import Smoother

_FIELD_SHAPE = (50, 59, 48)
_FIELD_STEP = 4.0
_FIELD_ORIGIN = np.array([-98.0, -134.0, -72.0])
_LIKENESS = 0.7


@dataclass(frozen=True, eq=False)
class Cortex:
    """Responsive voxels of one participant, in C order of ``mask``.

    Parameters
    ----------
    mask : ndarray of bool, shape of the scanner's grid
    tuning : ndarray, shape (n_features, n_voxels)
    signal_sd : ndarray, shape (n_voxels,)
        Standard deviation of the responses over stimuli, percent.
    trial_sd : float
        Standard deviation of the response to the same stimulus over trials, percent.
    mean_response : float
        Average response to any stimulus, percent.
    """

    mask: np.ndarray
    tuning: np.ndarray
    signal_sd: np.ndarray
    trial_sd: float
    mean_response: float

    @property
    def ncsnr(self) -> np.ndarray:
        """Ratio of signal to noise standard deviation, without noise of the measurement."""
        return self.signal_sd / self.trial_sd

    def respond(
        self, latents: np.ndarray, rows: np.ndarray, rng: np.random.Generator
    ) -> np.ndarray:
        """Simulate the response of each trial.

        Parameters
        ----------
        latents : ndarray, shape (n_stimuli, n_features)
        rows : ndarray of int, shape (n_trials,)
            Stimulus of each trial.
        rng : numpy.random.Generator

        Returns
        -------
        ndarray of float32, shape (n_trials, n_voxels)
            Percent of the signal.
        """
        patterns = latents @ self.tuning
        patterns = (patterns - patterns.mean(axis=0)) / patterns.std(axis=0) * self.signal_sd
        noise = self.trial_sd * rng.standard_normal((len(rows), patterns.shape[1]))
        return (self.mean_response + patterns[rows] + noise).astype(np.float32)


def draw_cortex(
    scene: Scene, *, n_features: int, n_voxels: int, signal_sd: float, seed: int, person: str,
) -> Cortex:
    """Draw an occipital region in grey matter with partly shared location and tuning.

    Parameters
    ----------
    scene : Scene
    n_features : int
    n_voxels : int
    signal_sd : float
        Median over voxels, percent.
    seed : int
        Of the group; participants of one seed resemble each other.
    person : str

    Returns
    -------
    Cortex
        Neighbouring voxels have similar tuning (FWHM 12 mm). Outline and tuning correlate by
        0.7 between participants in template space.
    """
    template = scene.template_points
    candidates = np.flatnonzero(scene.tissue(scene.head.phantom.gm).ravel() > 0.4)
    places = template[candidates]
    outline = _shared_field(places, 1, 20.0, seed, person, "outline")[0]
    backwards = np.clip((-55 - places[:, 1]) / 15, -3, 3)
    upwards = -np.abs(places[:, 2] - 4) / 25
    best = np.argsort(outline + backwards + upwards, kind="stable")[len(candidates) - n_voxels :]
    chosen = np.sort(candidates[best])
    mask = np.zeros(len(template), dtype=bool)
    mask[chosen] = True
    spread = _shared_field(template[chosen], 1, 10.0, seed, person, "strength")[0]
    return Cortex(
        mask=mask.reshape(scene.scanner.shape),
        tuning=_shared_field(template[chosen], n_features, 12.0, seed, person, "tuning"),
        signal_sd=signal_sd * np.exp(0.4 * spread), trial_sd=1.0, mean_response=2.0,
    )


def _shared_field(
    points: np.ndarray, n: int, fwhm: float, seed: int, person: str, purpose: str
) -> np.ndarray:
    """Read *n* smooth fields at template millimetres; they correlate between participants."""
    smoother = Smoother(_FIELD_SHAPE, fwhm / _FIELD_STEP)
    common, own = (
        smoother.draw(np.random.default_rng(derive_seed(seed, purpose, whose)), n)
        for whose in ("everybody", person)
    )
    fields = _LIKENESS**0.5 * common + (1 - _LIKENESS) ** 0.5 * own
    indices = ((points - _FIELD_ORIGIN) / _FIELD_STEP).T
    return np.stack([map_coordinates(field, indices, order=1, mode="nearest") for field in fields])
