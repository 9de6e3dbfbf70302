"""Head motion on simulated EPI with known truth: own least squares beside the libraries.

Run ``python benchmarks/motion.py [n_volumes]``. Prints one table: mean and largest displacement
error over brain voxels (mm), and processor seconds per volume. SimpleITK and antspyx start each
volume from the movement of its predecessor, as the own method does.
"""

from __future__ import annotations

import os

os.environ["ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS"] = "1"
os.environ["ANTS_RANDOM_SEED"] = "1"

import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import ants
import numpy as np
import SimpleITK as sitk
from scipy import ndimage

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "preprocessing"))

from epi_phantom import (
    EPI_AFFINE,
    EPI_SHAPE,
    brain_mask,
    make_head,
    moving_series,
    random_motion,
)

from bids_decoder.preprocessing.geometry import (
    LPS_FROM_RAS,
    displacement,
    grid_centre,
    grid_points,
    to_sitk,
)
from bids_decoder.preprocessing.itk import to_ants
from bids_decoder.preprocessing.motion import estimate_motion
from bids_decoder.preprocessing.registration import read_matrix


def stay(series: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Return the identity for every volume."""
    return np.tile(np.eye(4), (series.shape[3], 1, 1))


def own(series: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Estimate motion as the program does."""
    return estimate_motion(series, EPI_AFFINE, series[..., 0], mask).matrices


def simple_itk(series: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Estimate motion by SimpleITK: mean squares, two levels, B-spline, mask."""
    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(1)
    fixed = to_sitk(series[..., 0], EPI_AFFINE)
    wide = ndimage.binary_dilation(mask, iterations=2).astype(np.float32)
    fixed_mask = sitk.Cast(to_sitk(wide, EPI_AFFINE), sitk.sitkUInt8)
    transform = sitk.Euler3DTransform()
    centre = LPS_FROM_RAS[:3, :3] @ grid_centre(EPI_SHAPE, EPI_AFFINE)
    transform.SetCenter([float(v) for v in centre])
    matrices = []
    for t in range(series.shape[3]):
        method = sitk.ImageRegistrationMethod()
        method.SetMetricAsMeanSquares()
        method.SetMetricFixedMask(fixed_mask)
        method.SetInterpolator(sitk.sitkBSpline)
        method.SetOptimizerAsRegularStepGradientDescent(1.0, 1e-4, 60, 0.5, 1e-8)
        method.SetOptimizerScalesFromPhysicalShift()
        method.SetShrinkFactorsPerLevel([2, 1])
        method.SetSmoothingSigmasPerLevel([2.0, 0.0])
        method.SmoothingSigmasAreSpecifiedInPhysicalUnitsOn()
        method.SetInitialTransform(transform, inPlace=True)
        method.Execute(fixed, to_sitk(series[..., t], EPI_AFFINE))
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "found.txt"
            sitk.WriteTransform(transform, str(path))
            matrices.append(read_matrix(path))
    return np.array(matrices)


def antspyx(series: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Estimate motion by antspyx with its settings for BOLD."""
    fixed = to_ants(series[..., 0], EPI_AFFINE, ants)
    before: str = "Identity"
    matrices = []
    for t in range(series.shape[3]):
        found = ants.registration(
            fixed, to_ants(series[..., t], EPI_AFFINE, ants), "BOLDRigid",
            initial_transform=before, mask=to_ants(mask, EPI_AFFINE, ants), random_seed=1,
        )
        before = found["fwdtransforms"][0]
        matrices.append(read_matrix(Path(before)))
    return np.array(matrices)


METHODS: dict[str, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {
    "none": stay, "own least squares": own, "SimpleITK": simple_itk, "antspyx BOLDRigid": antspyx,
}


def main() -> None:
    """Print the table."""
    n_volumes = int(sys.argv[1]) if len(sys.argv) > 1 else 12
    head = make_head(size_mm=1.5)
    mask = brain_mask(head)
    points = grid_points(EPI_SHAPE, EPI_AFFINE)[mask.ravel()][::7]
    print(f"{'method':20} {'motion':10} {'mean mm':>8} {'max mm':>8} {'CPU s/vol':>10}")
    for size, seed, millimetres, degrees in (("ordinary", 3, 2.5, 1.5), ("large", 4, 6.0, 6.0)):
        parameters = random_motion(np.random.default_rng(seed), n_volumes, millimetres, degrees)
        series, truth = moving_series(head, parameters)
        for name, method in METHODS.items():
            start = time.process_time()
            found = method(series, mask)
            seconds = (time.process_time() - start) / n_volumes
            errors = [displacement(a, b, points) for a, b in zip(found, truth, strict=True)][1:]
            print(f"{name:20} {size:10} {np.mean(errors):8.3f} {max(errors):8.3f} {seconds:10.2f}",
                  flush=True)


if __name__ == "__main__":
    main()
