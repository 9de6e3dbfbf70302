"""A few voxels of single-trial responses, with patterns of three labels in one corner."""

from pathlib import Path

import numpy as np
import pandas as pd

from bids_decoder.bids.writer import save_nifti, save_table
from bids_decoder.files import write_json

AFFINE = np.diag([3.0, 3.0, 3.0, 1.0])
SHAPE, N_RUNS, LABELS = (6, 5, 4), 4, ("cat", "dog", "fox") * 5
SIGNAL = (slice(0, 2), slice(0, 2), slice(0, 2))


def write_dataset(folder, shape=SHAPE, affine=AFFINE):
    """Beta series with patterns of three labels in one corner."""
    rng = np.random.default_rng(0)
    write_json(folder / "dataset_description.json", {
        "Name": "corner", "BIDSVersion": "1.9.0", "DatasetType": "derivative",
        "GeneratedBy": [{"Name": "test"}],
    })
    patterns = {name: rng.normal(0, 1.5, shape) for name in sorted(set(LABELS))}
    for run in range(1, N_RUNS + 1):
        stem = f"{folder}/sub-01/func/sub-01_task-see_run-{run}_desc-singletrial"
        labels = rng.permutation(LABELS)
        betas = rng.normal(size=(*shape, len(labels)))
        for trial, label in enumerate(labels):
            betas[(*SIGNAL, trial)] += patterns[label][SIGNAL]
        save_nifti(Path(f"{stem}_betaseries.nii.gz"), betas.astype(np.float32), affine)
        save_table(Path(f"{stem}_trials.tsv"), pd.DataFrame({
            "stimulus": [f"{label}{run}" for label in labels], "label": labels,
        }))
    return folder
