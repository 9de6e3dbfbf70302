"""Tiny samples in the exact layout of releases: a few participants, runs, trials and voxels."""

from dataclasses import dataclass

import nibabel as nib
import numpy as np
import pandas as pd

AFFINE = np.diag([2.0, 2.0, 2.5, 1.0])


@dataclass
class Truth:
    """What a sample holds: responses (n_trials, n_voxels) and labels of one participant."""

    values: np.ndarray
    stimuli: list
    sessions: list
    runs: list


def trials(seed=0, n_runs=4, n_stimuli=6, n_voxels=24, noise=0.5):
    """Responses with a pattern of each stimulus, once in every run."""
    rng = np.random.default_rng(seed)
    patterns = rng.standard_normal((n_stimuli, n_voxels))
    order = np.concatenate([rng.permutation(n_stimuli) for _ in range(n_runs)])
    values = patterns[order] + noise * rng.standard_normal((len(order), n_voxels))
    return Truth(
        values.astype(np.float32), [f"picture{number}" for number in order],
        ["1" if run < n_runs // 2 else "2" for run in range(n_runs) for _ in range(n_stimuli)],
        [str(run + 1) for run in range(n_runs) for _ in range(n_stimuli)],
    )


def table(truth):
    """Table of the trials, as text."""
    return pd.DataFrame(
        {"session": truth.sessions, "run": truth.runs, "stimulus": truth.stimuli,
         "label": [name[-1] for name in truth.stimuli]}
    )


def write_table(path, rows):
    """Write a table with tabs or commas."""
    path.parent.mkdir(parents=True, exist_ok=True)
    rows.to_csv(path, sep="\t" if path.suffix == ".tsv" else ",", index=False, na_rep="n/a")


def save_image(path, data):
    """Write a NIfTI image."""
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(data, AFFINE), path)


def mask_of(n_voxels, shape=(4, 5, 6), seed=0):
    """A mask with a number of voxels."""
    mask = np.zeros(np.prod(shape), dtype=bool)
    mask[np.random.default_rng(seed).choice(len(mask), n_voxels, replace=False)] = True
    return mask.reshape(shape)


def on_grid(values, mask):
    """Volumes (x, y, z, trials) of responses in a mask."""
    volumes = np.zeros((*mask.shape, len(values)), dtype=values.dtype)
    volumes[mask] = values.T
    return volumes


def plain(folder, labels=("01", "02")):
    """One ``.npy`` matrix and one table per participant; returns the truth by label."""
    folder.mkdir(parents=True, exist_ok=True)
    found = {}
    for seed, label in enumerate(labels):
        found[label] = trials(seed)
        np.save(folder / f"sub-{label}_betas.npy", found[label].values)
        write_table(folder / f"sub-{label}_trials.tsv", table(found[label]))
    return found
