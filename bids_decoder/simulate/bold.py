"""BOLD runs of a moving head whose visual cortex follows known responses."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, cached_property

import numpy as np
from scipy.ndimage import binary_dilation, gaussian_filter, map_coordinates

from bids_decoder.preprocessing.geometry import grid_points
from bids_decoder.simulate.decay import REFERENCE_TIME, change_at, signal_at
from bids_decoder.simulate.fields import Smoother, smooth_field
from bids_decoder.simulate.heads import (
    Head,
    centred_affine,
    cubic_sampler,
    magnitude,
    moved,
    rigid_matrix,
)

_HRF_STEP = 0.05
_HRF_LENGTH = 32.0


@dataclass(frozen=True)
class Scanner:
    """Geometry, timing and noise of the BOLD acquisition, and voxels of the T1w image.

    Parameters
    ----------
    shape : tuple of int
        The last axis is the slice axis.
    voxel_size : float
        Millimetres.
    centre : tuple of float
        Middle of the box in scanner millimetres; the head's origin is near 0.
    t_r : float
        Seconds.
    thermal_sd : float
        Noise of each volume, in signal units (grey matter: 250).
    physiology_sd : float
        Smooth autocorrelated fluctuations, in percent of the signal.
    echo_times : tuple of float
        Seconds; see :mod:`~bids_decoder.simulate.decay`.
    t1w_voxel_size : float
        Millimetres.
    """

    shape: tuple[int, int, int] = (40, 48, 18)
    voxel_size: float = 4.2
    centre: tuple[float, float, float] = (0.0, -17.0, 4.0)
    t_r: float = 2.0
    thermal_sd: float = 2.5
    physiology_sd: float = 0.5
    echo_times: tuple[float, ...] = (REFERENCE_TIME,)
    t1w_voxel_size: float = 2.5

    @property
    def affine(self) -> np.ndarray:
        """Voxel indices to scanner millimetres."""
        return centred_affine(self.shape, self.voxel_size, np.asarray(self.centre))

    @property
    def slice_times(self) -> np.ndarray:
        """Seconds after the start of the volume, even slices first, shape (n_slices,)."""
        n = self.shape[2]
        times = np.empty(n)
        times[np.r_[0:n:2, 1:n:2]] = np.arange(n) * self.t_r / n
        return times


@dataclass(frozen=True, eq=False)
class Scene:
    """Position of a head in the scanner at the first volume of the first run.

    Parameters
    ----------
    head : Head
    scanner : Scanner
    pose : ndarray, shape (4, 4)
        Head millimetres to scanner millimetres.
    coil : ndarray of float32, shape ``scanner.shape``
        Brightness that the receive coil gives each place in the scanner.
    """

    head: Head
    scanner: Scanner
    pose: np.ndarray
    coil: np.ndarray

    @cached_property
    def template_points(self) -> np.ndarray:
        """Template position of each voxel in C order, shape (n_voxels, 3)."""
        return self._template(grid_points(self.scanner.shape, self.scanner.affine))

    def tissue(self, volume: np.ndarray) -> np.ndarray:
        """Read a volume of the phantom on the grid of the scanner."""
        smooth = gaussian_filter(volume, self._blur(self.head.phantom.affine[0, 0]))
        return self.head.phantom.sample(smooth, self.template_points).reshape(self.scanner.shape)

    @cached_property
    def read_echoes(self) -> tuple[Callable[[np.ndarray], np.ndarray], ...]:
        """Read the head at each echo time, blurred to the voxel size, at scanner millimetres."""
        return tuple(map(self._reader, self.scanner.echo_times))

    def _reader(self, echo_time: float) -> Callable[[np.ndarray], np.ndarray]:
        step = self.scanner.voxel_size / 2
        shape = tuple(2 * size + 8 for size in self.scanner.shape)
        affine = centred_affine(shape, step, np.asarray(self.scanner.centre))
        points = self._template(grid_points(shape, affine))
        signal = signal_at(self.head.phantom, echo_time)
        values = self.head.phantom.sample(signal, points).reshape(shape)
        return cubic_sampler(gaussian_filter(values, self._blur(step)), affine)

    def _template(self, points: np.ndarray) -> np.ndarray:
        return self.head.to_template(moved(points, np.linalg.inv(self.pose)))

    def _blur(self, step: float) -> float:
        """Return the sigma, in steps of *step* mm, of a FWHM of 0.8 voxels of the scanner."""
        return 0.8 * self.scanner.voxel_size / 2.355 / step


def response_course(times: np.ndarray, onset: float, duration: float) -> np.ndarray:
    """Compute the canonical response to one event.

    Parameters
    ----------
    times : ndarray
        Sampling times in seconds.
    onset, duration : float
        Seconds.

    Returns
    -------
    ndarray, shape of *times*
        Convolution of a box of height 1 with the SPM response of area 1, the scale of
        nilearn's regressors.
    """
    course = _response_to_box(duration)
    # A sample of the box stands for the step after it, hence the half step.
    grid = (np.arange(len(course)) + 0.5) * _HRF_STEP
    return np.interp(times - onset, grid, course, left=0.0, right=0.0)


@cache
def _response_to_box(duration: float) -> np.ndarray:
    from nilearn.glm.first_level import spm_hrf

    kernel = spm_hrf(_HRF_STEP, oversampling=1, time_length=_HRF_LENGTH)
    return np.convolve(kernel, np.ones(max(round(duration / _HRF_STEP), 1)))


def draw_motion(
    n_volumes: int, start: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    """Draw head movement: slow drift and a few jumps.

    Parameters
    ----------
    n_volumes : int
    start : ndarray, shape (6,)
        Parameters of the first volume.
    rng : numpy.random.Generator

    Returns
    -------
    ndarray, shape (n_volumes, 6)
        Millimetres and radians relative to the first volume of the first run, within about
        1.5 mm and 1 degree; see :func:`~bids_decoder.simulate.heads.rigid_matrix`.
    """
    reach = np.array([0.5, 0.7, 1.2, 0.014, 0.008, 0.007])
    steps = rng.normal(0, 0.02, (n_volumes, 6))
    jumps = rng.choice(np.arange(1, n_volumes), 2, replace=False)
    steps[jumps] += rng.normal(0, 0.35, (2, 6))
    steps[0] = 0
    path = np.cumsum(steps, axis=0) + np.linspace(0, 1, n_volumes)[:, None] * rng.normal(0, 0.2, 6)
    # tanh bounds the excursion without a visible edge.
    return reach * np.tanh(path + np.arctanh(np.clip(start / reach, -0.95, 0.95)))


def simulate_run(
    scene: Scene, events: list[tuple[float, float]], betas: np.ndarray, responsive: np.ndarray,
    motion: np.ndarray, rng: np.random.Generator,
) -> list[np.ndarray]:
    """Simulate one run.

    Parameters
    ----------
    scene : Scene
    events : list of (onset, duration)
        Seconds.
    betas : ndarray, shape (n_events, n_responsive)
        Response to each event in percent of the signal, on the scale of nilearn's regressors.
    responsive : ndarray of bool, shape ``scene.scanner.shape``
    motion : ndarray, shape (n_volumes, 6)
        See :func:`draw_motion`.
    rng : numpy.random.Generator

    Returns
    -------
    list of ndarray of int16, shape (*shape, n_volumes)
        One for each echo time, with the same movement.
    """
    scanner = scene.scanner
    fluctuations = _fluctuations(scene, len(motion), rng)
    responses = np.zeros_like(fluctuations)
    _add_responses(responses, scanner, events, betas, responsive)
    changes = [change_at(fluctuations, responses, time) for time in scanner.echo_times]
    # Far from the head there is noise only, wherever the head moves.
    near = binary_dilation(scene.tissue(scene.head.phantom.t2star) > 5, iterations=2)
    points = grid_points(scanner.shape, scanner.affine)[near.ravel()]
    to_voxels = np.linalg.inv(scanner.affine)
    echoes = [np.empty((*scanner.shape, len(motion)), dtype=np.int16) for _ in changes]
    for volume, parameters in enumerate(motion):
        back = np.linalg.inv(rigid_matrix(parameters, np.asarray(scanner.centre)))
        origin = moved(points, back)
        for read, change, run in zip(scene.read_echoes, changes, echoes, strict=True):
            static = np.maximum(read(origin), 0)
            dynamic = map_coordinates(
                change[volume], moved(origin, to_voxels).T, order=1, mode="nearest"
            )
            signal = np.zeros(scanner.shape, dtype=np.float32)
            signal[near] = static * scene.coil[near] * (1 + dynamic / 100)
            run[..., volume] = np.rint(magnitude(signal, scanner.thermal_sd, rng))
    return echoes


def _add_responses(
    change: np.ndarray, scanner: Scanner, events: list[tuple[float, float]], betas: np.ndarray,
    responsive: np.ndarray,
) -> None:
    frames = np.arange(len(change)) * scanner.t_r
    slices = np.argwhere(responsive)[:, 2]
    voxels = np.flatnonzero(responsive)
    flat = change.reshape(len(change), -1)
    for number in np.unique(slices):
        here = slices == number
        times = frames + scanner.slice_times[number]
        courses = [response_course(times, *event) for event in events]
        flat[:, voxels[here]] += np.column_stack(courses) @ betas[:, here]


def _fluctuations(scene: Scene, n_volumes: int, rng: np.random.Generator) -> np.ndarray:
    """Draw drift, autocorrelated noise, breathing and pulse in percent, (n, *shape)."""
    scanner = scene.scanner
    shape = scanner.shape
    noise = Smoother(shape, 1.5).draw(rng, n_volumes)
    for volume in range(1, n_volumes):
        noise[volume] = 0.35 * noise[volume - 1] + np.sqrt(1 - 0.35**2) * noise[volume]
    noise *= scanner.physiology_sd
    time = np.linspace(-1, 1, n_volumes, dtype=np.float32)
    for course in (time, np.cos(1.5 * np.pi * time), np.sin(2 * np.pi * time)):
        noise += 0.5 * course[:, None, None, None] * (0.5 + smooth_field(rng, shape, 8.0))
    frames = np.arange(n_volumes)[:, None] * scanner.t_r + scanner.slice_times
    pulse_map = scene.tissue(scene.head.phantom.csf) * np.exp(0.5 * smooth_field(rng, shape, 4.0))
    breath_map = 0.4 * np.abs(smooth_field(rng, shape, 10.0))
    for rate, strength in ((1.05, pulse_map), (0.27, breath_map)):
        wander = np.cumsum(rng.normal(0, 0.03 * rate, n_volumes))[:, None]
        course = np.sin(2 * np.pi * (rate * frames + wander)).astype(np.float32)
        noise += course[:, None, None, :] * strength.astype(np.float32)
    return noise
