"""Beta series of things, some of them alive, and models of their distances."""

from pathlib import Path

import numpy as np
import pandas as pd

from bids_decoder.bids.writer import save_nifti, save_table
from bids_decoder.files import write_json

SHAPE, N_RUNS, NAMES = (5, 4, 3), 4, ("cat", "cow", "cup", "dog", "jar", "pan")
ANIMATE = {"cat", "cow", "dog"}


def write_dataset(folder):
    """Beta series whose patterns tell living things from others, and little else."""
    rng = np.random.default_rng(0)
    write_json(folder / "dataset_description.json", {
        "Name": "things", "BIDSVersion": "1.9.0", "DatasetType": "derivative",
        "GeneratedBy": [{"Name": "test"}],
    })
    kinds = rng.normal(size=(2, *SHAPE))
    own = 0.2 * rng.normal(size=(len(NAMES), *SHAPE))
    patterns = np.stack([
        kinds[int(name in ANIMATE)] + own[number] for number, name in enumerate(NAMES)
    ])
    for person in ("01", "02"):
        for run in range(1, N_RUNS + 1):
            stem = f"{folder}/sub-{person}/func/sub-{person}_task-see_run-{run}_desc-singletrial"
            rows = rng.permutation(np.repeat(np.arange(len(NAMES)), 3))
            betas = np.moveaxis(patterns[rows], 0, -1) + rng.normal(size=(*SHAPE, len(rows)))
            save_nifti(Path(f"{stem}_betaseries.nii.gz"), betas.astype(np.float32), np.eye(4) * 3)
            labels = [NAMES[row] for row in rows]
            save_table(Path(f"{stem}_trials.tsv"), pd.DataFrame(
                {"stimulus": labels, "label": labels}
            ))
    return folder


def write_model(path, differs, names=NAMES):
    table = pd.DataFrame(
        [[float(differs(a, b)) for b in names] for a in names], index=names, columns=names
    )
    table.to_csv(path, sep="\t", index_label="condition")
    return path


def words_for(folder, out, *words):
    return [str(folder), str(out), "participant", "--from-scratch", "--skip-bids-validation",
            "--target", "category", "--device", "cpu", "--nprocs", "1", "-d", f"betas={folder}",
            "--stage", "prepare", "rsa", *map(str, words)]
