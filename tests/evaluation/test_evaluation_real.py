"""Labels of real beta series, leave one run out, against what is known of them."""

from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
import pytest

from bids_decoder.config import Evaluation, TrialRules
from bids_decoder.evaluation.baselines import run_baselines
from bids_decoder.evaluation.classification import Heldout, score_classification
from bids_decoder.evaluation.folds import fold_list, resolve_fold
from bids_decoder.evaluation.held_out import apply_split
from bids_decoder.evaluation.splits import choose_split
from bids_decoder.trials import Person, Targets, VoxelGrid

FOLDER = Path(__file__).resolve().parents[2] / "../shared/data/raider-betas"

pytestmark = [
    pytest.mark.shared_data,
    pytest.mark.skipif(not FOLDER.exists(), reason="no raider-betas beside the checkout"),
]


def load(label):
    tables, betas = [], []
    for path in sorted((FOLDER / f"sub-{label}" / "func").glob("*_trials.tsv")):
        run = path.name.split("_run-")[1][:2]
        names = pd.read_csv(path, sep="\t", dtype=str)["trial_type"]
        tables.append(pd.DataFrame({
            "trial": np.arange(len(names)) + 1, "session": None, "run": run,
            "run_group": f"run-{run}", "stimulus": names, "label": names, "excluded": False,
            "reason": None,
        }))
        image = nib.load(str(path).replace("_trials.tsv", "_betaseries.nii.gz"))
        values = image.get_fdata(dtype=np.float32)
        betas.append(values.reshape(-1, values.shape[-1]).T)
    return pd.concat(tables, ignore_index=True), np.concatenate(betas)


def decode(table, betas, shuffle=None):
    split, _, findings = choose_split({"1": table}, "category", TrialRules(), 1)
    assert split.kind == "runs"
    assert not findings
    trials = apply_split({"1": table}, split)["1"]
    classes = tuple(sorted(set(trials["label"])))
    targets = Targets(classes, np.eye(len(classes), dtype=np.float32), "category")
    grid = VoxelGrid(np.ones((betas.shape[1], 1, 1), dtype=bool), np.eye(4))
    rows = targets.rows_of(trials["label"].to_numpy())
    if shuffle is not None:
        rows = shuffle.permutation(rows)
    scores = np.empty((len(trials), len(classes)))
    for fold in fold_list(trials):
        now = resolve_fold(trials, fold)
        train, test = ((now["split"] == part).to_numpy() for part in ("train", "test"))
        scale = betas[train].mean(axis=0), betas[train].std(axis=0) + 1e-6
        person = Person("1", grid, (betas - scale[0]) / scale[1], now, rows)
        scores[test] = run_baselines(
            person.subset(train), person.subset(test), targets, np.ones(betas.shape[1], dtype=bool),
            seed=1, names=["svm-all"],
        )["svm-all"]
    metrics, *_ = score_classification(
        Heldout(scores, np.array(classes)[rows], classes, trials["run_group"], trials["fold"]),
        settings=Evaluation(n_permutations=199), rng=np.random.default_rng(0),
    )
    return metrics.set_index("metric").loc["accuracy"]


def test_real_labels_are_decoded_as_well_as_known():
    rows = [decode(*load(path.name[4:])) for path in sorted(FOLDER.glob("sub-*"))]
    # Known for a linear SVM over ten people: about .62; here are six of them.
    assert 0.5 < np.mean([row["value"] for row in rows]) < 0.75
    # Predictions of folds share training labels: without refits there is no p-value.
    assert all(np.isnan(row["p"]) for row in rows)


def test_shuffled_real_labels_are_not():
    table, betas = load(min(FOLDER.glob("sub-*")).name[4:])
    rows = [decode(table, betas, np.random.default_rng(seed)) for seed in range(4)]
    assert np.mean([row["value"] for row in rows]) < 0.3
