"""A small dataset of single-trial responses to heat, with ratings that a region follows."""

import json

import numpy as np
import pandas as pd

from bids_decoder.bids.names import derivative_path
from bids_decoder.bids.writer import save_nifti, save_table

N_RUNS, N_TRIALS, SHAPE = 5, 16, (8, 8, 5)


def write_values_dataset(folder, *, n_participants=1, signal=0.7, seed=0):
    """Write beta series, trial tables with a rating and a reaction time, and their units."""
    folder.mkdir(parents=True)
    (folder / "dataset_description.json").write_text(json.dumps({
        "Name": "Simulated ratings", "BIDSVersion": "1.10.0", "DatasetType": "derivative",
        "GeneratedBy": [{"Name": "simulation"}],
    }))
    for number in range(1, n_participants + 1):
        rng = np.random.default_rng([seed, number])
        tuning = np.zeros(SHAPE)
        tuning[:3, :3, :3] = rng.normal(size=(3, 3, 3))
        for run in range(1, N_RUNS + 1):
            _write_run(folder, f"{number:02d}", str(run), signal * tuning, rng)
    return folder


def _write_run(folder, label, run, tuning, rng):
    entities = {"sub": label, "task": "heat", "run": run}
    rating = np.round(rng.uniform(0, 100, N_TRIALS), 1)
    betas = np.multiply.outer(tuning, (rating - 50) / 29) + rng.normal(size=(*SHAPE, N_TRIALS))
    affine = np.diag([3.0, 3.0, 3.0, 1.0])
    save_nifti(derivative_path(folder, "betaseries", **entities), betas.astype(np.float32), affine,
               metadata={"TaskName": "heat"})
    save_nifti(derivative_path(folder, "glm_mask", **entities), np.ones(SHAPE, dtype=bool), affine,
               metadata={"Type": "Brain"})
    texts = rating.astype(str).astype(object)
    texts[0] = "n/a"
    table = pd.DataFrame({
        "onset": 4.0 + 6.0 * np.arange(N_TRIALS), "duration": 2.0,
        "stimulus": np.tile(["low", "high"], N_TRIALS // 2), "rating": texts,
        "response_time": np.round(rng.uniform(0.3, 1.2, N_TRIALS), 3),
    })
    save_table(derivative_path(folder, "trials", **entities), table, {
        "rating": {"Description": "How much it hurt.", "Units": "points"},
        "response_time": {"Description": "Time of the answer.", "Units": "s"},
    })
