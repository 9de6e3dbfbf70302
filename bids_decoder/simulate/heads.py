"""Head phantoms: the packaged MNI template with skull and scalp, warped for each participant."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from nilearn.datasets import (
    load_mni152_brain_mask,
    load_mni152_gm_template,
    load_mni152_template,
    load_mni152_wm_template,
)
from scipy.ndimage import distance_transform_edt, gaussian_filter, map_coordinates, spline_filter

_MARGIN_MM = 28
_LAYERS_MM = (3.0, 9.0, 15.0)  # outer edges of fluid, skull and scalp around the brain


@dataclass(frozen=True, eq=False)
class Phantom:
    """Volumes in template space, all of one shape.

    Parameters
    ----------
    affine : ndarray, shape (4, 4)
    t1w, t2star : ndarray of float32
        Signal without noise; white matter is about 700 in the T1w, grey matter about 250 in
        the T2*-weighted image.
    gm, csf : ndarray of float32
        Share of each voxel.
    """

    affine: np.ndarray
    t1w: np.ndarray
    t2star: np.ndarray
    gm: np.ndarray
    csf: np.ndarray

    def sample(self, volume: np.ndarray, points: np.ndarray) -> np.ndarray:
        """Read *volume* at *points* (n, 3) in template millimetres, linearly; 0 outside."""
        inverse = np.linalg.inv(self.affine)
        indices = points @ inverse[:3, :3].T + inverse[:3, 3]
        return map_coordinates(volume, indices.T, order=1, mode="constant")


def make_phantom(resolution: int = 2) -> Phantom:
    """Build a head from the ICBM 152 template that nilearn ships.

    Parameters
    ----------
    resolution : int
        Millimetres.

    Returns
    -------
    Phantom
    """
    image = load_mni152_template(resolution=resolution)
    loaders = (load_mni152_brain_mask, load_mni152_gm_template, load_mni152_wm_template)
    pad = -(-_MARGIN_MM // resolution)
    t1, brain, gm, wm = (
        np.pad(np.asarray(loaded.get_fdata(), dtype=np.float32), pad)
        for loaded in (image, *(load(resolution=resolution) for load in loaders))
    )
    affine = image.affine.copy()
    affine[:3, 3] -= pad * resolution
    inside = brain > 0.5
    gm, wm = np.clip(gm, 0, 1) * inside, np.clip(wm, 0, 1) * inside
    total = np.maximum(gm + wm, 1)
    gm, wm = gm / total, wm / total
    distance = distance_transform_edt(~inside) * resolution
    fluid, skull, scalp = (
        (distance > low) & (distance <= high)
        for low, high in zip((0.0, *_LAYERS_MM[:-1]), _LAYERS_MM, strict=True)
    )
    csf = np.where(inside, 1 - gm - wm, fluid).astype(np.float32)
    layers = skull, scalp
    t1w = 780 * t1 * inside + _painted((fluid, *layers), (130, 50, 620))
    t2star = 250 * gm + 200 * wm + 360 * csf + _painted(layers, (25, 120))
    soft = [gaussian_filter(part.astype(np.float32), 0.5) for part in (t1w, t2star)]
    return Phantom(affine, *soft, gm, csf)


def _painted(layers: tuple[np.ndarray, ...], levels: tuple[float, ...]) -> np.ndarray:
    return sum(level * layer for level, layer in zip(levels, layers, strict=True))


@dataclass(frozen=True, eq=False)
class Head:
    """One participant's anatomy: the phantom, scaled and smoothly warped.

    Parameters
    ----------
    phantom : Phantom
    scale : ndarray, shape (3,)
    waves : ndarray, shape (n_waves, 3)
        Wave vectors in radians per millimetre.
    phases : ndarray, shape (n_waves,)
    shifts : ndarray, shape (n_waves, 3)
        Amplitude of each wave in millimetres.
    """

    phantom: Phantom
    scale: np.ndarray
    waves: np.ndarray
    phases: np.ndarray
    shifts: np.ndarray

    def to_template(self, points: np.ndarray) -> np.ndarray:
        """Map head millimetres (n, 3) to the same tissue in template millimetres."""
        bent = np.sin(points @ self.waves.T + self.phases) @ self.shifts
        return points * self.scale + bent


def draw_head(phantom: Phantom, rng: np.random.Generator) -> Head:
    """Draw an anatomy: size within 3 %, warped by some millimetres over 7 to 16 cm."""
    directions = rng.standard_normal((6, 3))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    waves = directions * (2 * np.pi / rng.uniform(70, 160, (6, 1)))
    return Head(
        phantom, rng.uniform(0.97, 1.03, 3), waves,
        rng.uniform(0, 2 * np.pi, 6), rng.normal(0, 1.0, (6, 3)),
    )


def rigid_matrix(parameters: np.ndarray, centre: np.ndarray) -> np.ndarray:
    """Build a rigid transformation.

    Parameters
    ----------
    parameters : ndarray, shape (6,)
        Translation along x, y, z in millimetres, rotation about x, y, z in radians. Rotations
        act in the order x, y, z about *centre*, then the translation.
    centre : ndarray, shape (3,)

    Returns
    -------
    ndarray, shape (4, 4)
        Maps positions before the movement to positions after it.
    """
    (cx, cy, cz), (sx, sy, sz) = np.cos(parameters[3:]), np.sin(parameters[3:])
    about_x = np.array([[1, 0, 0], [0, cx, -sx], [0, sx, cx]])
    about_y = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
    about_z = np.array([[cz, -sz, 0], [sz, cz, 0], [0, 0, 1]])
    matrix = np.eye(4)
    matrix[:3, :3] = about_z @ about_y @ about_x
    matrix[:3, 3] = parameters[:3] + centre - matrix[:3, :3] @ centre
    return matrix


def moved(points: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """Apply a 4 x 4 matrix to points of shape (n, 3)."""
    return points @ matrix[:3, :3].T + matrix[:3, 3]


def centred_affine(
    shape: tuple[int, ...], voxel_size: float, centre: np.ndarray
) -> np.ndarray:
    """Make the affine of a box of voxels around *centre*, axes to the right, front and top."""
    affine = np.diag([voxel_size] * 3 + [1.0])
    affine[:3, 3] = np.asarray(centre) - voxel_size * (np.asarray(shape) - 1) / 2
    return affine


def smooth_bias(points: np.ndarray, strength: float, rng: np.random.Generator) -> np.ndarray:
    """Draw the slow brightness change that a receive coil leaves, mean 1, shape (n,)."""
    waves = rng.normal(0, 2 * np.pi / 350, (3, 3))
    phases = rng.uniform(0, 2 * np.pi, 3)
    return 1 + strength * np.sin(points @ waves.T + phases).mean(axis=1)


def magnitude(signal: np.ndarray, noise_sd: float, rng: np.random.Generator) -> np.ndarray:
    """Add Rician noise, as in magnitude images."""
    shape = signal.shape
    real = signal + np.float32(noise_sd) * rng.standard_normal(shape, dtype=np.float32)
    imaginary = np.float32(noise_sd) * rng.standard_normal(shape, dtype=np.float32)
    return np.hypot(real, imaginary)


def cubic_sampler(
    volume: np.ndarray, affine: np.ndarray
) -> Callable[[np.ndarray], np.ndarray]:
    """Prepare *volume* for reading at millimetre positions by cubic splines.

    Returns
    -------
    callable
        Takes points (n, 3), gives values (n,).
    """
    coefficients = spline_filter(volume, order=3, output=np.float32)
    inverse = np.linalg.inv(affine)

    def read(points: np.ndarray) -> np.ndarray:
        indices = moved(points, inverse)
        return map_coordinates(
            coefficients, indices.T, order=3, mode="nearest", prefilter=False, output=np.float32
        )

    return read
