"""Simulated PET images of participants with and without a disease, and the affected regions."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.ndimage import gaussian_filter

from bids_decoder.bids.writer import save_nifti, save_table
from bids_decoder.files import write_json
from bids_decoder.seeds import derive_seed

LABELS = ("AD", "CN", "DLB", "MCI")
EXTERNAL = "FTLD"
AFFINE = np.diag([4.0, 4.0, 4.0, 1.0])

_CENTRES = {"AD": ((0.3, 0.25, 0.6), (0.7, 0.25, 0.6)), "DLB": ((0.5, 0.15, 0.35),),
            "FTLD": ((0.5, 0.85, 0.55),)}
"""Where uptake is low, as a share of the grid: parietal, occipital, frontal."""


@dataclass(frozen=True, eq=False)
class PetCohort:
    """Simulated participants.

    Parameters
    ----------
    volumes : ndarray of float32, shape (n_people, i, j, k)
    labels : ndarray of str, shape (n_people,)
    sites : ndarray of str, shape (n_people,)
    truth : dict of str to ndarray of bool, shape (i, j, k)
        Where uptake is low, for each label that has such places.
    """

    volumes: np.ndarray
    labels: np.ndarray
    sites: np.ndarray
    truth: dict[str, np.ndarray]


def simulate_pet(
    n_people: int = 200, n_external: int = 8, *, seed: int,
    shape: tuple[int, int, int] = (24, 20, 15), effect: float = 0.5, site_bias: float = 0.0,
) -> PetCohort:
    """Simulate participants with four labels and some with a hidden fifth.

    Uptake is that of a common brain, with smooth differences between participants and a global
    scale. Uptake is reduced in two lateral regions in AD, in the same regions by half as much in
    MCI, in a posterior region in DLB, nowhere in CN, and in an anterior region for the external
    label.

    Parameters
    ----------
    n_people : int
        As many of each of the four labels, as far as it goes.
    n_external : int
    seed : int
    shape : tuple of int
    effect : float
        Share of the uptake that is lost at the centre of a place.
    site_bias : float
        0: sites are drawn without regard to the label; 1: each label has a site of its own.

    Returns
    -------
    PetCohort
    """
    rng = np.random.default_rng(derive_seed(seed, "pet"))
    labels = np.array([*(LABELS * (n_people // 4 + 1))[:n_people], *[EXTERNAL] * n_external])
    share = np.indices(shape) / np.array(shape).reshape(3, 1, 1, 1)
    brain = gaussian_filter((((share - 0.5) / 0.42) ** 2).sum(axis=0) < 1, 0.7, output=float)
    common = brain * (1 + 0.3 * _smooth(rng, shape, 2.0))
    loss = {name: _places(share, centres) for name, centres in _CENTRES.items()}
    loss["MCI"] = 0.5 * loss["AD"]
    volumes = np.zeros((len(labels), *shape), dtype=np.float32)
    for row, label in enumerate(labels):
        own = common * (1 + 0.12 * _smooth(rng, shape, 2.5))
        lost = effect * rng.uniform(0.6, 1.4) * loss[label] if label in loss else 0.0
        noise = 0.04 * gaussian_filter(rng.standard_normal(shape), 0.6)
        volumes[row] = rng.lognormal(0, 0.2) * (own * (1 - lost) + noise)
    drawn = rng.integers(4, size=len(labels))
    own_site = np.array([(*LABELS, EXTERNAL).index(label) % 4 for label in labels])
    sites = np.where(rng.random(len(labels)) < site_bias, own_site, drawn)
    truth = {name: values > 0.5 * values.max() for name, values in loss.items()}
    return PetCohort(volumes, labels, np.array([f"site{n}" for n in sites]), truth)


def _smooth(rng: np.random.Generator, shape: tuple[int, int, int], sd: float) -> np.ndarray:
    """Draw a smooth field with unit variance."""
    field = gaussian_filter(rng.standard_normal(shape), sd)
    return field / field.std()


def _places(share: np.ndarray, centres: tuple[tuple[float, ...], ...]) -> np.ndarray:
    """Make bumps of height 1 at *centres*."""
    bumps = [
        np.exp(-(((share - np.array(c).reshape(3, 1, 1, 1)) / 0.12) ** 2).sum(axis=0) / 2)
        for c in centres
    ]
    return np.max(bumps, axis=0)


def write_pet_dataset(folder: Path, cohort: PetCohort) -> Path:
    """Write participants as a BIDS dataset: ``pet/`` images and ``participants.tsv``.

    Parameters
    ----------
    folder : Path
        New or empty.
    cohort : PetCohort

    Returns
    -------
    Path
        *folder*.
    """
    names = [f"sub-{number:03d}" for number in range(1, len(cohort.labels) + 1)]
    write_json(folder / "dataset_description.json",
               {"Name": "Simulated PET", "BIDSVersion": "1.9.0", "DatasetType": "raw"})
    save_table(folder / "participants.tsv", pd.DataFrame({
        "participant_id": names, "diagnosis": cohort.labels, "site": cohort.sites,
    }), {
        "diagnosis": {"Description": "Simulated diagnosis."},
        "site": {"Description": "Simulated site."},
    })
    for name, volume in zip(names, cohort.volumes, strict=True):
        path = folder / name / "pet" / f"{name}_pet.nii.gz"
        save_nifti(path, volume, AFFINE, metadata={"TracerName": "FDG", "SkullStripped": True})
    return folder
