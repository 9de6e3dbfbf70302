"""Registration of BOLD to T1w on a real head, from distant starting points.

Run ``python benchmarks/coregistration.py [DATASET] [n_starts]``. DATASET is a raw BIDS dataset
with one T1w image and one BOLD run of a participant; the default is the studyforrest localizer
in the folder next to the checkout. Each start displaces the T1w image by 20 mm in a random
direction and rotates it by 20 degrees about a random axis. Prints one table: how many starts end
within 1 mm (mean over brain voxels) of the consensus, the distance of the others, and processor
seconds.
"""

from __future__ import annotations

import os

os.environ["OMP_NUM_THREADS"] = "1"

import sys
import time
from pathlib import Path

import nibabel as nib
import numpy as np

from bids_decoder.preprocessing.bias import correct_bias
from bids_decoder.preprocessing.geometry import displacement, grid_points, rigid_matrix
from bids_decoder.preprocessing.masks import epi_brain_mask, t1w_brain_mask
from bids_decoder.preprocessing.reference import robust_reference
from bids_decoder.preprocessing.registration import Picture, register_rigid
from bids_decoder.preprocessing.series import usable_values

LOCALIZER = Path(__file__).resolve().parents[2] / "shared" / "data" / "localizer"
MILLIMETRES, DEGREES = 20.0, 20.0
NEAR_MM = 1.0


def pictures(dataset: Path) -> tuple[Picture, Picture]:
    """Prepare BOLD reference and T1w as the program does."""
    t1w_image = nib.load(next(dataset.glob("sub-*/anat/*_T1w.nii.gz")))
    bold_image = nib.load(next(dataset.glob("sub-*/func/*_bold.nii.gz")))
    t1w = correct_bias(np.clip(t1w_image.get_fdata(dtype=np.float32), 0, None), t1w_image.affine)
    series, _ = usable_values(np.asanyarray(bold_image.dataobj[..., :40]))
    reference = robust_reference(series, bold_image.affine).image
    bold = Picture(
        correct_bias(np.clip(reference, 0, None), bold_image.affine), bold_image.affine,
        epi_brain_mask(reference, bold_image.affine),
    )
    mask = t1w_brain_mask(t1w, t1w_image.affine)
    return bold, Picture(t1w, t1w_image.affine, mask)


def random_displacement(rng: np.random.Generator, centre: np.ndarray) -> np.ndarray:
    """Move by 20 mm and turn by 20 degrees, in random directions."""
    shift, axis = rng.standard_normal((2, 3))
    shift *= MILLIMETRES / np.linalg.norm(shift)
    axis *= np.radians(DEGREES) / np.linalg.norm(axis)
    return rigid_matrix(np.r_[shift, axis], centre)


def consensus(matrices: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Return the result that is nearest to all others (the medoid)."""
    gaps = [np.median([displacement(a, b, points) for b in matrices]) for a in matrices]
    return matrices[int(np.argmin(gaps))]


def main() -> None:
    """Print the table."""
    dataset = Path(sys.argv[1]) if len(sys.argv) > 1 else LOCALIZER
    n_starts = int(sys.argv[2]) if len(sys.argv) > 2 else 100
    if not dataset.is_dir():
        print(f"skipped: no dataset at {dataset}")
        return
    bold, t1w = pictures(dataset)
    points = grid_points(bold.volume.shape, bold.affine)[bold.mask.ravel()][::50]
    rng = np.random.default_rng(0)
    matrices, seconds = [], []
    for _ in range(n_starts):
        away = random_displacement(rng, t1w.centre_of_mass)
        moved = Picture(t1w.volume, away @ t1w.affine, t1w.mask)
        start = time.process_time()
        matrices.append(np.linalg.inv(away) @ register_rigid(bold, moved))
        seconds.append(time.process_time() - start)
    truth = consensus(np.array(matrices), points)
    gaps = np.array([displacement(matrix, truth, points) for matrix in matrices])
    near = gaps < NEAR_MM
    header = displacement(np.eye(4), truth, points)
    print(f"{'starts':>7} {'within 1 mm':>12} {'median mm':>10} {'95 % mm':>8} {'worst mm':>9} "
          f"{'CPU s each':>11} {'header off by mm':>17}")
    print(f"{n_starts:7d} {int(near.sum()):12d} {np.median(gaps):10.3f} "
          f"{np.percentile(gaps, 95):8.3f} {gaps.max():9.2f} {np.mean(seconds):11.2f} "
          f"{header:17.2f}")


if __name__ == "__main__":
    main()
