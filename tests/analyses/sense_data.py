"""Single-trial responses of trials of several senses, with and without a shared code."""

from pathlib import Path

import numpy as np
import pandas as pd

from bids_decoder.bids.writer import save_nifti, save_table
from bids_decoder.files import write_json

SHAPE, N_RUNS, SENSES, LABELS = (5, 4, 3), 4, ("felt", "heard", "seen"), ("cat", "dog")
N_SEEN, N_IMAGINED = 24, 8


def write_dataset(folder):
    """Beta series in which what is seen and heard share a code; what is felt has one of its own."""
    rng = np.random.default_rng(0)
    write_json(folder / "dataset_description.json", {
        "Name": "senses", "BIDSVersion": "1.9.0", "DatasetType": "derivative",
        "GeneratedBy": [{"Name": "test"}],
    })
    shared, own = np.linalg.qr(rng.normal(size=(np.prod(SHAPE), 2)))[0].T.reshape(2, *SHAPE)
    codes = {"seen": shared, "heard": shared, "felt": own}
    for run in range(1, N_RUNS + 1):
        stem = f"{folder}/sub-01/func/sub-01_task-feel_run-{run}_desc-singletrial"
        trials = [(sense, label) for sense in SENSES for label in LABELS] * 3
        trials = [trials[k] for k in rng.permutation(len(trials))]
        betas = rng.normal(size=(*SHAPE, len(trials)))
        for number, (sense, label) in enumerate(trials):
            betas[..., number] += 5 * codes[sense] * (1 if label == "dog" else -1)
        save_nifti(Path(f"{stem}_betaseries.nii.gz"), betas.astype(np.float32), np.eye(4) * 3)
        senses, labels = map(list, zip(*trials, strict=True))
        save_table(Path(f"{stem}_trials.tsv"), pd.DataFrame({
            "stimulus": [f"{label}{k}" for k, label in enumerate(labels)],
            "label": labels, "sense": senses, "half": 1 + (run > N_RUNS // 2),
            "kind": [f"{sense}_{label}" for sense, label in trials], "number": np.arange(18) / 7,
        }))
    return folder


def words_for(folder, out, *words):
    return [str(folder), str(out), "participant", "--from-scratch", "--skip-bids-validation",
            "--target", "category", "--device", "cpu", "--nprocs", "1", "-d", f"betas={folder}",
            *words]


def write_pictures(folder, n_imagined=N_IMAGINED, n_test=4):
    """Features of stimuli that are seen and imagined with one code; what is heard has another."""
    rng = np.random.default_rng(0)
    write_json(folder / "dataset_description.json", {
        "Name": "pictures", "BIDSVersion": "1.9.0", "DatasetType": "derivative",
        "GeneratedBy": [{"Name": "test"}],
    })
    names = [f"p{k:02d}" for k in range(N_SEEN)]
    vectors = rng.normal(size=(N_SEEN, 3))
    seen, heard = rng.normal(size=(2, 3, np.prod(SHAPE)))
    codes = {"seen": seen, "imagined": seen, "heard": heard}
    shown = [("seen", k) for k in range(N_SEEN)]
    shown += [(sense, k) for sense in ("imagined", "heard") for k in range(n_imagined)]
    for run in range(1, N_RUNS + 1):
        stem = folder / "sub-01" / "func" / f"sub-01_task-see_run-{run}_desc-singletrial"
        trials = [shown[k] for k in rng.permutation(len(shown))]
        betas = np.stack([vectors[k] @ codes[sense] for sense, k in trials], axis=1)
        betas = (betas + rng.normal(size=betas.shape)).reshape(*SHAPE, -1)
        save_nifti(Path(f"{stem}_betaseries.nii.gz"), betas.astype(np.float32), np.eye(4) * 3)
        save_table(Path(f"{stem}_trials.tsv"), pd.DataFrame({
            "stimulus": [names[k] for _, k in trials], "sense": [sense for sense, _ in trials],
            "role": ["test" if k >= N_SEEN - n_test else "train" for _, k in trials],
        }))
    table = pd.DataFrame(vectors, names, list("xyz")).rename_axis("stimulus").reset_index()
    save_table(folder.parent / "features.tsv", table)
    return folder


def stimulus_words(folder, out, *words):
    return [*words_for(folder, out), "--target", "features", "--features",
            str(folder.parent / "features.tsv"), "--split-column", "role", *words]


def rows_of(made):
    (job,) = [job for job in made.jobs if job.analysis == "cross"]
    return {row.train: row for row in job.spec.rows}
