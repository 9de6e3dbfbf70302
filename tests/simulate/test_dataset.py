from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
import pytest

from bids_decoder.errors import ExitCode, UsageError
from bids_decoder.simulate.betas import write_betas_dataset
from bids_decoder.simulate.bold import response_course
from bids_decoder.simulate.dataset import write_category_dataset, write_demo_dataset
from bids_decoder.simulate.layout import PictureDesign
from bids_decoder.stimuli.features import read_features
from bids_decoder.trials import TRIAL_COLUMNS

DEMO = PictureDesign(n_participants=2, n_runs=2, n_train=10, n_test=4)
CATEGORY = {"n_participants": 1, "n_runs": 3, "n_blocks": 2}


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    return write_demo_dataset(tmp_path_factory.mktemp("demo"), DEMO)


@pytest.fixture(scope="module")
def category(tmp_path_factory):
    return write_category_dataset(tmp_path_factory.mktemp("category"), **CATEGORY)


@pytest.fixture(scope="module")
def betas(tmp_path_factory):
    return write_betas_dataset(tmp_path_factory.mktemp("betas"))


def validator():
    beside = Path(sys.executable).with_name("bids-validator-deno")
    return str(beside) if beside.is_file() else shutil.which("bids-validator-deno")


@pytest.mark.skipif(validator() is None, reason="bids-validator-deno is not installed")
@pytest.mark.parametrize("which", ["demo", "demo/derivatives/truth", "category", "betas"])
def test_valid_bids(which, request):
    fixture, _, below = which.partition("/")
    folder = request.getfixturevalue(fixture) / below
    done = subprocess.run(
        [validator(), str(folder), "--format", "json"], capture_output=True, text=True, check=False
    )
    issues = json.loads(done.stdout)["issues"]["issues"]
    assert [issue for issue in issues if issue["severity"] == "error"] == []
    assert done.returncode == 0


def test_design_shares_and_repeats_the_test_pictures(demo):
    tables = {}
    for label in ("sub-01", "sub-02"):
        paths = sorted(demo.glob(f"{label}/func/*events.tsv"))
        tables[label] = [pd.read_csv(path, sep="\t") for path in paths]
    names = {label: pd.concat(runs)["stim_file"] for label, runs in tables.items()}
    common = set(names["sub-01"]) & set(names["sub-02"])
    assert len(common) == 4
    for label, runs in tables.items():
        counts = names[label].value_counts()
        assert all(counts[name] == (2 if name in common else 1) for name in counts.index)
        assert all(run["onset"].is_monotonic_increasing for run in runs)
        assert not set(runs[0]["stim_file"]) & set(runs[1]["stim_file"]) - common
        assert all((demo / "stimuli" / name).is_file() for name in counts.index)


def test_headers_and_sidecars_agree(demo):
    for path in demo.glob("sub-*/func/*_bold.nii.gz"):
        image = nib.load(path)
        sidecar = json.loads(path.with_name(path.name.replace(".nii.gz", ".json")).read_text())
        assert image.header.get_zooms()[3] == pytest.approx(sidecar["RepetitionTime"])
        assert len(sidecar["SliceTiming"]) == image.shape[2]
        assert image.get_data_dtype() == np.int16
        events = pd.read_csv(str(path).replace("_bold.nii.gz", "_events.tsv"), sep="\t")
        assert events["onset"].max() + 12 <= image.shape[3] * sidecar["RepetitionTime"]


def test_truth_lies_on_the_grid_of_the_first_run(demo):
    truth = demo / "derivatives" / "truth" / "sub-01" / "func"
    bold = nib.load(demo / "sub-01" / "func" / "sub-01_task-pictures_run-1_bold.nii.gz")
    mask = nib.load(truth / "sub-01_task-pictures_label-responsive_mask.nii.gz")
    ncsnr = nib.load(truth / "sub-01_task-pictures_stat-ncsnr_statmap.nii.gz")
    assert mask.shape == bold.shape[:3]
    np.testing.assert_allclose(mask.affine, bold.affine)
    assert np.array_equal(ncsnr.get_fdata() > 0, mask.get_fdata() > 0)
    motion = pd.read_csv(truth / "sub-01_task-pictures_run-1_desc-motion_timeseries.tsv", sep="\t")
    assert len(motion) == bold.shape[3]
    np.testing.assert_allclose(motion.iloc[0], 0, atol=1e-12)
    with np.load(truth / "sub-01_task-pictures_run-1_desc-truth_betas.npz") as content:
        assert content["betas"].shape[1] == int(mask.get_fdata().sum())


def digests(folder):
    return {
        path.relative_to(folder): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*") if path.is_file()
    }


def test_same_seed_same_bytes(category, tmp_path):
    again = write_category_dataset(tmp_path / "again", **CATEGORY)
    assert digests(again) == digests(category)
    other = write_category_dataset(tmp_path / "other", **CATEGORY, seed=5)
    assert digests(other) != digests(category)


def category_patterns(folder):
    """Fit each block in the responsive voxels; give patterns, labels and runs."""
    mask_path = next(folder.glob("derivatives/truth/sub-01/func/*responsive_mask.nii.gz"))
    mask = nib.load(mask_path).get_fdata() > 0
    patterns, labels, runs = [], [], []
    for run, path in enumerate(sorted(folder.glob("sub-01/func/*_bold.nii.gz"))):
        series = np.asarray(nib.load(path).dataobj, dtype=float)[mask].T
        series = 100 * (series / series.mean(axis=0) - 1)
        events = pd.read_csv(str(path).replace("_bold.nii.gz", "_events.tsv"), sep="\t")
        starts = events.iloc[::8]
        frames = 1.0 + 2.0 * np.arange(len(series))
        design = [response_course(frames, onset, 16.0) for onset in starts["onset"]]
        trend = np.vander(np.linspace(-1, 1, len(series)), 3).T
        fit = np.linalg.lstsq(np.array([*design, *trend]).T, series, rcond=None)[0][: len(design)]
        patterns.append(fit - fit.mean(axis=0))
        labels += list(starts["trial_type"])
        runs += [run] * len(design)
    return np.concatenate(patterns), np.array(labels), np.array(runs)


def nearest_mean_accuracy(patterns, labels, runs):
    hits = []
    for run in np.unique(runs):
        train = runs != run
        names = np.unique(labels)
        means = np.stack([patterns[train & (labels == name)].mean(axis=0) for name in names])
        distance = ((patterns[~train][:, None] - means) ** 2).sum(axis=2)
        hits += list(names[distance.argmin(axis=1)] == labels[~train])
    return np.mean(hits)


def test_categories_are_decodable_unless_labels_are_permuted(category, tmp_path):
    assert nearest_mean_accuracy(*category_patterns(category)) > 0.7
    accuracies = [
        nearest_mean_accuracy(*category_patterns(write_category_dataset(
            tmp_path / str(seed), **CATEGORY, seed=seed, permute_labels=True
        )))
        for seed in range(3)
    ]
    assert np.mean(accuracies) < 0.6


def betas_of(folder, label):
    tables, values = [], []
    for path in sorted(folder.glob(f"sub-{label}/func/*_trials.tsv")):
        tables.append(pd.read_csv(path, sep="\t"))
        stem = str(path).removesuffix("trials.tsv")
        mask = nib.load(stem + "mask.nii.gz").get_fdata() > 0
        values.append(np.asarray(nib.load(stem + "betaseries.nii.gz").dataobj)[mask].T)
        assert len(values[-1]) == len(tables[-1])
    return pd.concat(tables, ignore_index=True), np.concatenate(values)


def features_explain(folder):
    """Correlate single-trial betas of even trials with a ridge prediction from odd trials."""
    table = read_features(folder / "features.tsv")
    ids, vectors = table.ids, table.vectors
    trials, values = betas_of(folder, "01")
    x = vectors[[ids.index(name) for name in trials["stimulus"]]].astype(float)
    train = np.arange(len(x)) % 2 == 1
    gram = x[train].T @ x[train] + np.eye(x.shape[1])
    weights = np.linalg.solve(gram, x[train].T @ values[train])
    predicted = x[~train] @ weights
    roi = next((folder / "derivatives" / "truth").glob("sub-01*mask.nii.gz"))
    grid = nib.load(next(folder.glob("sub-01/func/*_mask.nii.gz"))).get_fdata() > 0
    voxels = np.flatnonzero(nib.load(roi).get_fdata()[grid] > 0)
    return np.mean([np.corrcoef(predicted[:, v], values[~train][:, v])[0, 1] for v in voxels])


def test_betas_follow_the_features_unless_labels_are_permuted(betas, tmp_path):
    trials, _ = betas_of(betas, "01")
    assert list(trials.columns) == list(TRIAL_COLUMNS)
    assert trials["repeat"].max() == 1
    assert features_explain(betas) > 0.3
    permuted = write_betas_dataset(
        tmp_path / "permuted", PictureDesign(n_participants=1, permute_labels=True)
    )
    assert abs(features_explain(permuted)) < 0.1


@pytest.mark.parametrize("write", [write_demo_dataset, write_category_dataset, write_betas_dataset])
def test_folders_with_content_are_left_alone(tmp_path, write):
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(UsageError) as caught:
        write(tmp_path)
    assert caught.value.code == ExitCode.CANNOT_CREATE
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]
