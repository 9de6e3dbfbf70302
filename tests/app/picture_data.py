"""Single-trial responses to few coarse pictures, each shown once in every run."""

import json

import numpy as np
import pandas as pd
from PIL import Image

from bids_decoder.bids.names import derivative_path
from bids_decoder.bids.writer import save_nifti, save_table

N_PICTURES, N_RUNS, SHAPE = 12, 4, (7, 7, 4)
NAMES = [f"picture{number:02d}.png" for number in range(1, N_PICTURES + 1)]


def write_pictures_dataset(folder, seed=0, runs=range(1, N_RUNS + 1)):
    """Write beta series that a region's voxels owe to the colours of nine squares."""
    rng = np.random.default_rng(seed)
    colours = rng.uniform(0, 255, (N_PICTURES, 3, 3, 3))
    write_pictures(folder / "stimuli", NAMES, colours)
    (folder / "dataset_description.json").write_text(json.dumps({
        "Name": "Simulated pictures", "BIDSVersion": "1.10.0", "DatasetType": "derivative",
        "GeneratedBy": [{"Name": "simulation"}],
    }))
    tuning = np.zeros((27, *SHAPE))
    tuning[:, :4, :4, :3] = rng.normal(size=(27, 4, 4, 3)) / 4
    patterns = np.tensordot((colours.reshape(N_PICTURES, -1) - 127) / 74, tuning, 1)
    affine = np.diag([3.0, 3.0, 3.0, 1.0])
    for run in range(1, max(runs) + 1):
        entities, order = {"sub": "01", "task": "see", "run": str(run)}, rng.permutation(N_PICTURES)
        betas = np.moveaxis(patterns[order], 0, -1) + 0.7 * rng.normal(size=(*SHAPE, N_PICTURES))
        if run not in runs:
            continue
        save_nifti(derivative_path(folder, "betaseries", **entities), betas.astype(np.float32),
                   affine, metadata={"TaskName": "see"})
        save_nifti(derivative_path(folder, "glm_mask", **entities), np.ones(SHAPE, dtype=bool),
                   affine, metadata={"Type": "Brain"})
        save_table(derivative_path(folder, "trials", **entities), pd.DataFrame({
            "onset": 4.0 + 6.0 * np.arange(N_PICTURES), "duration": 2.0,
            "stimulus": np.array(NAMES)[order],
        }), {})
    return folder


def write_pictures(folder, names, colours):
    """Write pictures of nine squares."""
    folder.mkdir(parents=True)
    for name, squares in zip(names, colours, strict=True):
        picture = Image.fromarray(squares.astype(np.uint8))
        picture.resize((48, 48), Image.Resampling.NEAREST).save(folder / name)
