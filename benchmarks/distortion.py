"""Residual displacement after distortion correction of simulated heads with a known field.

    python benchmarks/distortion.py [--heads N] [--size MM] [--methods NAME …] [--out TABLE]

Heads of :mod:`bids_decoder.simulate.heads` are imaged with the field of
:func:`~bids_decoder.simulate.distortion.susceptibility_field`, with noise and a coil profile. The
residual is the distance between found and true displacement in the brain, in mm, where the true
one is above 1 mm ("corrected areas"), and over the whole brain.
"""

from __future__ import annotations

import os

os.environ["OMP_NUM_THREADS"] = "1"
os.environ["ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS"] = "1"

import argparse
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
from nibabel.affines import apply_affine
from scipy import ndimage

from bids_decoder.preprocessing.bias import correct_bias
from bids_decoder.preprocessing.distortion import Epi, PhaseEncoding, fill_field
from bids_decoder.preprocessing.field_of_t1w import Tissues, field_of_t1w
from bids_decoder.preprocessing.fieldmaps import field_of_phase, find_phase_scale
from bids_decoder.preprocessing.itk import start_ants
from bids_decoder.preprocessing.masks import (
    epi_brain_mask,
    segment_tissues,
    t1w_brain_mask,
)
from bids_decoder.preprocessing.opposite_phases import field_of_pair
from bids_decoder.preprocessing.registration import Picture
from bids_decoder.simulate.distortion import distort, susceptibility_field
from bids_decoder.simulate.heads import (
    Head,
    centred_affine,
    draw_head,
    magnitude,
    make_phantom,
    smooth_bias,
)

READOUT, PEAK_HZ, ECHO_GAP = 0.04, 70.0, 0.00246
BOX_MM = (200.0, 230.0, 150.0)
T1W_MM, T1W_BOX_MM, T1W_NOISE = 1.5, (200.0, 240.0, 200.0), 15.0
NOISE = 5.0
LEAST_MM = 1.0


class Scan:
    """One head, its field, and images of it on one grid."""

    def __init__(self, head: Head, size: float, rng: np.random.Generator) -> None:
        self.size, self.rng = size, rng
        self.shape = tuple(int(v / size) for v in BOX_MM)
        self.affine = centred_affine(self.shape, size, np.array([0.0, -17.0, 5.0]))
        points = apply_affine(self.affine, np.indices(self.shape).reshape(3, -1).T.astype(float))
        self.places = head.to_template(points)
        self.head, self.phantom = head, head.phantom
        self.field = susceptibility_field(self.places, PEAK_HZ).reshape(self.shape)
        self.coil = smooth_bias(points, 0.2, rng).reshape(self.shape)
        self.clean = self.image(self.phantom.t2star)
        tissue = self.phantom.gm + (self.phantom.t2star > 150) * (self.phantom.csf < 0.5)
        self.brain = ndimage.binary_opening(self.image(tissue.astype(np.float32)) > 0.5)
        self.t1w = self.tissues()

    def image(self, volume: np.ndarray) -> np.ndarray:
        """Image a volume of the phantom on the grid."""
        step = float(self.phantom.affine[0, 0])
        smooth = ndimage.gaussian_filter(volume, 0.8 * self.size / 2.355 / step)
        return self.phantom.sample(smooth, self.places).reshape(self.shape)

    def noisy(self, volume: np.ndarray) -> np.ndarray:
        """Add the coil profile and Rician noise."""
        return magnitude((volume * self.coil).astype(np.float32), NOISE, self.rng)

    def epi(self, sign: int) -> Epi:
        """Make a distorted image."""
        way = PhaseEncoding(1, sign, READOUT)
        moved = distort(self.clean, self.field * way.voxels_per_hz, 1)
        return Epi(self.noisy(moved), self.affine, way)

    def tissues(self) -> Tissues:
        """Make a T1w image, and segment it as the program does."""
        shape = tuple(int(v / T1W_MM) for v in T1W_BOX_MM)
        affine = centred_affine(shape, T1W_MM, np.array([0.0, -17.0, 0.0]))
        points = apply_affine(affine, np.indices(shape).reshape(3, -1).T.astype(float))
        step = float(self.phantom.affine[0, 0])
        smooth = ndimage.gaussian_filter(self.phantom.t1w, 0.8 * T1W_MM / 2.355 / step)
        clean = self.phantom.sample(smooth, self.head.to_template(points))
        volume = (clean * smooth_bias(points, 0.2, self.rng)).reshape(shape)
        noisy = magnitude(volume.astype(np.float32), T1W_NOISE, self.rng)
        even = correct_bias(noisy, affine)
        mask = t1w_brain_mask(even, affine)
        brain = np.where(mask, np.clip(even, 0, None), 0)
        return Tissues(Picture(brain, affine, mask), segment_tissues(brain, affine))

    def residual(self, hertz: np.ndarray) -> dict[str, float]:
        """Compute the errors of a field in mm."""
        scale = READOUT * self.size
        error = np.abs(hertz - self.field)[self.brain] * scale
        true = np.abs(self.field)[self.brain] * scale
        strong = true > LEAST_MM
        return {
            "before": np.median(true[strong]), "median": np.median(error[strong]),
            "p90": np.percentile(error[strong], 90), "brain_before": np.median(true),
            "brain": np.median(error),
        }


def of_pair(scan: Scan) -> np.ndarray:
    """Estimate the field as the program does."""
    return field_of_pair(scan.epi(-1), scan.epi(1)).field


def of_ants_pair(scan: Scan) -> np.ndarray:
    """Half of the displacement between both images, by SyN of antspyx along one axis."""
    ants = start_ants(1)
    images = [
        ants.from_numpy((epi.volume / np.percentile(epi.volume, 98)).astype(np.float32),
                        spacing=[scan.size] * 3)
        for epi in (scan.epi(-1), scan.epi(1))
    ]
    found = ants.registration(
        fixed=images[0], moving=images[1], type_of_transform="SyNOnly",
        initial_transform="Identity", syn_metric="CC", syn_sampling=2,
        reg_iterations=(100, 70, 30), restrict_transformation=(0, 1, 0), random_seed=1,
    )
    (warp,) = [name for name in found["fwdtransforms"] if name.endswith(".nii.gz")]
    mm = ants.image_read(warp).numpy()[..., 1]
    # On the grid of the first, distorted image: brought to the place without distortion.
    half = mm / 2 / scan.size
    place = np.indices(scan.shape).astype(float)
    place[1] += half
    total, weight = (
        _splat(values, place) for values in (half, np.ones_like(half))
    )
    shifts = fill_field(total / np.maximum(weight, 1e-3), weight > 0.1, scan.affine)
    return shifts / READOUT


def _splat(values: np.ndarray, place: np.ndarray) -> np.ndarray:
    result = np.zeros(values.shape)
    index = np.clip(np.rint(place[1]).astype(int), 0, values.shape[1] - 1)
    i, _, k = np.indices(values.shape)
    np.add.at(result, (i, index, k), values)
    return result


def of_phase(scan: Scan) -> np.ndarray:
    """Compute the field from a stored phase difference with an offset of 30 Hz."""
    noise = scan.rng.normal(0, 0.05, scan.shape)
    phase = np.angle(np.exp(1j * (2 * np.pi * ECHO_GAP * (scan.field + 30) + noise)))
    stored = np.rint(phase / np.pi * 4096).clip(-4096, 4094)
    found = field_of_phase(
        find_phase_scale(stored).to_radians(stored), scan.brain, ECHO_GAP, scan.affine
    )
    return found - 30


def of_map(scan: Scan) -> np.ndarray:
    """Continue a noisy field map."""
    noisy = scan.field + scan.rng.normal(0, 3.0, scan.shape)
    return fill_field(noisy, scan.brain, scan.affine)


def of_t1w(scan: Scan) -> np.ndarray:
    """Estimate the field from the T1w image."""
    epi = scan.epi(-1)
    mask = epi_brain_mask(np.clip(epi.volume, 0, None), epi.affine, 1)
    return field_of_t1w(epi, mask, scan.t1w).field


METHODS: dict[str, Callable[[Scan], np.ndarray]] = {
    "opposite phase encoding": of_pair, "opposite phase encoding, SyN (antspyx)": of_ants_pair,
    "phase difference": of_phase, "field map": of_map,
    "T1w image": of_t1w,
}


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--heads", type=int, default=2)
    parser.add_argument("--size", type=float, default=3.0)
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS))
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    phantom = make_phantom(2)
    rows = []
    for seed in range(options.heads):
        rng = np.random.default_rng(seed)
        scan = Scan(draw_head(phantom, rng), options.size, rng)
        for name in options.methods:
            start = time.process_time()
            found = METHODS[name](scan)
            seconds = time.process_time() - start
            rows.append({"method": name, "head": seed, **scan.residual(found), "cpu_s": seconds})
            print(rows[-1], flush=True)
    table = pd.DataFrame(rows)
    print(table.drop(columns="head").groupby("method", sort=False).mean().round(3).to_string())
    if options.out is not None:
        table.to_csv(options.out, sep="\t", index=False)


if __name__ == "__main__":
    main()
