"""Registration: rigid between runs and contrasts, affine and SyN to a template."""

from __future__ import annotations

import itertools
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from nibabel.affines import apply_affine, voxel_sizes
from scipy import ndimage

from bids_decoder.files import atomic_path
from bids_decoder.preprocessing.geometry import (
    LPS_FROM_RAS,
    grid_centre,
    grid_points,
    rigid_matrix,
    to_sitk,
)
from bids_decoder.preprocessing.itk import start_ants, start_sitk, to_ants
from bids_decoder.preprocessing.motion import MIN_SLICES, estimate_motion
from bids_decoder.preprocessing.resampling import Grid, resample_volume

Metric = Literal["mutual-information", "correlation"]

_START_DEGREES = (-15.0, 0.0, 15.0)
_COARSE_MM, _FINE_MM = 6.0, 3.0
_N_REFINED = 3
_COARSE_STEP_MM, _FINE_STEP_MM = 0.03, 1e-3
_SYN_MM = 1.5
_SYN_ITERATIONS = (40, 20, 10)
_SYN_RADIUS = 1
_SYN_SMOOTHING = 2
_SYN_MARGIN = 5


@dataclass(frozen=True, eq=False)
class Picture:
    """An image with its affine and brain mask.

    Parameters
    ----------
    volume : ndarray, shape (i, j, k)
    affine : ndarray, shape (4, 4)
    mask : ndarray of bool, shape (i, j, k)
    """

    volume: np.ndarray
    affine: np.ndarray
    mask: np.ndarray

    def at(self, size_mm: float) -> Picture:
        """Resample the masked brain to voxels of at least *size_mm* along each axis."""
        old = voxel_sizes(self.affine)
        sizes = np.maximum(old, size_mm)
        grid = Grid(self.volume.shape, self.affine).with_voxel_sizes(sizes)
        brain = np.where(self.mask, self.volume, 0).astype(np.float32)
        smooth = ndimage.gaussian_filter(brain, 0.4 * np.sqrt((sizes / old) ** 2 - 1))
        mask = resample_volume(self.mask.astype(np.float32), self.affine, grid, order=1) > 0.5
        return Picture(
            resample_volume(smooth, self.affine, grid, order=1), grid.affine, mask
        )

    def cropped(self, margin: int) -> Picture:
        """Crop to the bounding box of the brain, with *margin* voxels on each side."""
        inside = np.argwhere(self.mask)
        low = np.maximum(inside.min(axis=0) - margin, 0)
        high = np.minimum(inside.max(axis=0) + 1 + margin, self.mask.shape)
        box = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
        affine = self.affine.copy()
        affine[:3, 3] = apply_affine(self.affine, low[None].astype(float))[0]
        return Picture(self.volume[box], affine, self.mask[box])

    @property
    def centre_of_mass(self) -> np.ndarray:
        """Middle of the brain in mm, shape (3,)."""
        return apply_affine(self.affine, np.argwhere(self.mask).mean(axis=0)[None])[0]


def register_rigid(
    fixed: Picture, moving: Picture, metric: Metric = "mutual-information"
) -> np.ndarray:
    """Estimate the rigid transform between two images of one brain.

    Parameters
    ----------
    fixed, moving : Picture
        The image that covers less of the brain should be *fixed*.
    metric : {"mutual-information", "correlation"}
        For different and for equal contrasts, respectively.

    Returns
    -------
    ndarray, shape (4, 4)
        Points of *fixed* (mm) to points of *moving* (mm).

    Notes
    -----
    The starts are the identity, and matched centres with rotations of 0 and 15 degrees about
    every axis and their combinations. All are compared at 6 mm, the best three are refined at
    6 mm, and the best one at 3 mm. With one thread and regular sampling the result is
    reproducible bit for bit.
    """
    coarse, fine = _searches(fixed, moving, metric)
    return _best_rigid(coarse, fine, _starts(fixed, moving))


def register_affine(fixed: Picture, moving: Picture) -> np.ndarray:
    """Estimate the affine transform between two brains, of any contrast.

    Parameters
    ----------
    fixed, moving : Picture

    Returns
    -------
    ndarray, shape (4, 4)
        Points of *fixed* (mm) to points of *moving* (mm): first as :func:`register_rigid`, then
        with twelve parameters by mutual information at 6 and 3 mm. Reproducible bit for bit.
    """
    coarse, fine = _searches(fixed, moving, "mutual-information")
    matrix = _best_rigid(coarse, fine, _starts(fixed, moving))
    matrix = coarse.refine(matrix, smooth_mm=3.0, kind="affine")
    return fine.refine(matrix, smooth_mm=1.5, kind="affine")


def align_runs(person: Picture, run: Picture) -> np.ndarray:
    """Estimate the rigid transform between the references of two runs of one participant.

    Parameters
    ----------
    person, run : Picture
        BOLD references; grids may differ.

    Returns
    -------
    ndarray, shape (4, 4)
        Points of *person* (mm) to points of *run* (mm). By correlation, then by least squares
        (:mod:`~.motion`), which improve the accuracy from tenths to hundredths of a millimetre.
        The identity for slabs of fewer than six slices, which do not determine it.
    """
    if min(*person.volume.shape, *run.volume.shape) < MIN_SLICES:
        return np.eye(4)
    matrix = register_rigid(person, run, "correlation")
    grid = Grid(person.volume.shape, person.affine)
    near = resample_volume(run.volume, run.affine, grid, matrix)
    rest = estimate_motion(near[..., None], person.affine, person.volume, person.mask)
    return matrix @ rest.matrices[0]


def _starts(fixed: Picture, moving: Picture) -> list[np.ndarray]:
    centre = fixed.centre_of_mass
    shift = moving.centre_of_mass - centre
    turned = [
        rigid_matrix(np.r_[shift, np.radians(angles)], centre)
        for angles in itertools.product(_START_DEGREES, repeat=3)
    ]
    return [np.eye(4), *turned]


def _searches(fixed: Picture, moving: Picture, metric: Metric) -> tuple[_Search, _Search]:
    """Prepare the coarse and the fine resolution; two successive filters equal one wider one."""
    fine = [picture.at(_FINE_MM) for picture in (fixed, moving)]
    coarse = [picture.at(_COARSE_MM) for picture in fine]
    return (
        _Search(*coarse, metric, _COARSE_STEP_MM), _Search(*fine, metric, _FINE_STEP_MM)
    )


def _best_rigid(coarse: _Search, fine: _Search, starts: list[np.ndarray]) -> np.ndarray:
    promising = sorted(starts, key=coarse.cost)[:_N_REFINED]
    refined = [coarse.refine(start, smooth_mm=3.0) for start in promising]
    best = min(refined, key=coarse.cost)
    return fine.refine(fine.refine(best, smooth_mm=2.0), smooth_mm=0.0)


class _Search:
    """One resolution of a rigid registration with SimpleITK."""

    def __init__(
        self, fixed: Picture, moving: Picture, metric: Metric, min_step_mm: float
    ) -> None:
        self.sitk = start_sitk()
        self.min_step_mm = min_step_mm
        self.centre = grid_centre(fixed.volume.shape, fixed.affine)
        self.fixed = to_sitk(fixed.volume, fixed.affine)
        self.moving = to_sitk(moving.volume, moving.affine)
        around = ndimage.binary_dilation(fixed.mask, iterations=2)
        self.mask = self.sitk.Cast(
            to_sitk(around.astype(np.float32), fixed.affine), self.sitk.sitkUInt8
        )
        self.metric = metric

    def cost(self, matrix: np.ndarray) -> float:
        """Compute the metric at *matrix*; infinite if the images do not overlap."""
        method = self._method(0.0)
        method.SetInitialTransform(self._transform(matrix, "affine"), inPlace=False)
        try:
            return float(method.MetricEvaluate(self.fixed, self.moving))
        except RuntimeError:
            return float("inf")

    def refine(
        self, matrix: np.ndarray, smooth_mm: float, kind: Literal["rigid", "affine"] = "rigid"
    ) -> np.ndarray:
        """Optimise *matrix*, which is returned unchanged if the images do not overlap."""
        if not np.isfinite(self.cost(matrix)):
            return matrix
        method = self._method(smooth_mm)
        transform = self._transform(matrix, kind)
        method.SetInitialTransform(transform, inPlace=True)
        method.SetOptimizerAsRegularStepGradientDescent(
            learningRate=2.0, minStep=self.min_step_mm, numberOfIterations=120,
            relaxationFactor=0.6, gradientMagnitudeTolerance=1e-8,
        )
        method.SetOptimizerScalesFromPhysicalShift()
        method.Execute(self.fixed, self.moving)
        return _matrix_of(transform)

    def _method(self, smooth_mm: float) -> Any:
        method = self.sitk.ImageRegistrationMethod()
        if self.metric == "correlation":
            method.SetMetricAsCorrelation()
        else:
            method.SetMetricAsMattesMutualInformation(32)
        method.SetMetricFixedMask(self.mask)
        method.SetInterpolator(self.sitk.sitkLinear)
        method.SetNumberOfThreads(1)
        method.SetShrinkFactorsPerLevel([1])
        method.SetSmoothingSigmasPerLevel([smooth_mm])
        method.SmoothingSigmasAreSpecifiedInPhysicalUnitsOn()
        return method

    def _transform(self, matrix: np.ndarray, kind: Literal["rigid", "affine"]) -> Any:
        lps = LPS_FROM_RAS @ matrix @ LPS_FROM_RAS
        centre = LPS_FROM_RAS[:3, :3] @ self.centre
        rigid = kind == "rigid"
        transform = self.sitk.Euler3DTransform() if rigid else self.sitk.AffineTransform(3)
        transform.SetCenter([float(v) for v in centre])
        linear = [float(v) for v in lps[:3, :3].ravel()]
        if rigid:
            transform.SetMatrix(linear, 1e-6)
        else:
            transform.SetMatrix(linear)
        shift = lps[:3, 3] + lps[:3, :3] @ centre - centre
        transform.SetTranslation([float(v) for v in shift])
        return transform


def _matrix_of(transform: Any) -> np.ndarray:
    lps = np.eye(4)
    lps[:3, :3] = np.array(transform.GetMatrix()).reshape(3, 3)
    centre = np.array(transform.GetCenter())
    lps[:3, 3] = centre + np.array(transform.GetTranslation()) - lps[:3, :3] @ centre
    return LPS_FROM_RAS @ lps @ LPS_FROM_RAS


def save_matrix(path: Path, matrix: np.ndarray) -> Path:
    """Write a pull transform (mm, RAS+, shape (4, 4)) as an ITK text file, atomically.

    The file ``from-X_to-Y`` maps points of Y to points of X, which is the direction needed to
    resample X to the grid of Y, as in ITK and fMRIPrep.
    """
    sitk = start_sitk()
    lps = LPS_FROM_RAS @ matrix @ LPS_FROM_RAS
    transform = sitk.AffineTransform(3)
    transform.SetMatrix([float(v) for v in lps[:3, :3].ravel()])
    transform.SetTranslation([float(v) for v in lps[:3, 3]])
    with atomic_path(path) as temporary:
        sitk.WriteTransform(transform, str(temporary))
    return path


def read_matrix(path: Path) -> np.ndarray:
    """Read a linear ITK transform as a pull matrix (mm, RAS+), shape (4, 4)."""
    sitk = start_sitk()
    transform = sitk.ReadTransform(str(path))
    origin = np.array(transform.TransformPoint((0.0, 0.0, 0.0)))
    columns = [np.array(transform.TransformPoint(tuple(row))) - origin for row in np.eye(3)]
    lps = np.eye(4)
    lps[:3, :3], lps[:3, 3] = np.column_stack(columns), origin
    return LPS_FROM_RAS @ lps @ LPS_FROM_RAS


def register_template(
    t1w: Picture, template: Picture, forward_file: Path, inverse_file: Path, seed: int
) -> None:
    """Register a T1w brain to a template brain: affine, then SyN at 1.5 mm.

    Parameters
    ----------
    t1w, template : Picture
        Only voxels of the brain are used.
    forward_file, inverse_file : Path
        Composite ITK transforms (``.h5``), T1w to template and back, written atomically.
    seed : int
        For ANTs. With one thread the result is reproducible bit for bit.

    Notes
    -----
    The affine part is :func:`register_affine`, which is robust to tilted heads; SyN (Avants et
    al. 2008, Med Image Anal 12) maximises the cross-correlation over 3 x 3 x 3 voxels inside the
    bounding box of the brain. ``benchmarks/registration.py`` compares other settings.
    """
    ants = start_ants(seed)
    fixed, moving = (picture.at(_SYN_MM).cropped(_SYN_MARGIN) for picture in (template, t1w))
    with tempfile.TemporaryDirectory() as folder:
        affine_file = save_matrix(Path(folder) / "affine.txt", register_affine(fixed, moving))
        ants.registration(
            fixed=to_ants(fixed.volume, fixed.affine, ants),
            moving=to_ants(moving.volume, moving.affine, ants),
            type_of_transform="SyNOnly", initial_transform=[str(affine_file)],
            syn_metric="CC", syn_sampling=_SYN_RADIUS, reg_iterations=_SYN_ITERATIONS,
            flow_sigma=_SYN_SMOOTHING, outprefix=f"{folder}/",
            write_composite_transform=True, random_seed=seed, singleprecision=False,
        )
        for name, target in (("Composite", forward_file), ("InverseComposite", inverse_file)):
            with atomic_path(target) as temporary:
                shutil.copyfile(Path(folder) / f"{name}.h5", temporary)


def warped_points(transform_file: Path, grid: Grid) -> np.ndarray:
    """Transform the positions of all voxels of a grid with a transform file.

    Parameters
    ----------
    transform_file : Path
        Any ITK transform, as a pull from *grid* (see :func:`save_matrix`).
    grid : Grid

    Returns
    -------
    ndarray, shape (n_voxels, 3)
        In mm, C order: *points* for :func:`~.resampling.resample_series`.
    """
    return chained_points([Pull(transform_file)], grid)


@dataclass(frozen=True)
class Pull:
    """A stored transform of points, or the inverse of a linear one.

    Parameters
    ----------
    path : Path
        Any ITK transform; with the name ``from-X_to-Y`` it maps points of Y to points of X.
    is_inverted : bool
    """

    path: Path
    is_inverted: bool = False


def chained_points(pulls: Sequence[Pull], grid: Grid) -> np.ndarray:
    """Transform the positions of all voxels of a grid by several transforms, one after the other.

    Parameters
    ----------
    pulls : sequence of Pull
        The first one maps points of *grid*.
    grid : Grid

    Returns
    -------
    ndarray, shape (n_voxels, 3)
        As :func:`warped_points`.
    """
    sitk = start_sitk()
    transforms = []
    for pull in pulls:
        transform = sitk.ReadTransform(str(pull.path))
        transforms.append(transform.GetInverse() if pull.is_inverted else transform)
    # Of a composite transform the last one is applied first.
    transform = sitk.CompositeTransform(transforms[::-1])
    like = to_sitk(np.zeros(grid.shape, dtype=np.float32), grid.affine)
    field = sitk.TransformToDisplacementField(
        transform, sitk.sitkVectorFloat64, like.GetSize(), like.GetOrigin(), like.GetSpacing(),
        like.GetDirection(),
    )
    shifts = np.moveaxis(sitk.GetArrayFromImage(field), (0, 1, 2), (2, 1, 0)).reshape(-1, 3)
    return grid_points(grid.shape, grid.affine) + shifts * np.array([-1.0, -1.0, 1.0])
