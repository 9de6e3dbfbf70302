"""Which single-trial estimator a decoder likes best, and why.

    python benchmarks/estimators.py pictures RAW OUT [RAW OUT ...]
        Retrieval on prepared picture datasets with known truth, such as those of
        bids_decoder.simulate.dataset.write_demo_dataset; OUT holds preprocessed BOLD.
    python benchmarks/estimators.py blocks RAW OUT
        Labels of a prepared dataset of blocks with several runs, leave one run out.
    python benchmarks/estimators.py design
        Spacing of trials, strength of responses and strength of the penalty, on arrays.

Prepare a dataset with ``bids_decoder RAW OUT participant --stage prepare``.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
from printing import table
from scipy.signal import lfilter
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.svm import LinearSVC

from bids_decoder.bids.names import sidecar_path
from bids_decoder.bids.writer import read_table
from bids_decoder.evaluation.baselines import run_baselines
from bids_decoder.files import read_json
from bids_decoder.glm.base import (
    EstimatorOptions,
    SingleTrialEstimator,
    TrialRun,
    nuisance_basis,
    residualise,
)
from bids_decoder.glm.confounds import select_confounds
from bids_decoder.glm.design import Timing, nuisance_matrix
from bids_decoder.glm.estimators import get_estimator
from bids_decoder.glm.hrf import get_hrf
from bids_decoder.glm.likelihood import response_ratio
from bids_decoder.glm.normalise import zscore_betas
from bids_decoder.glm.reliability import split_half_reliability
from bids_decoder.glm.ridge import RidgePath
from bids_decoder.interfaces.glm import load_mask, read_masked
from bids_decoder.interfaces.responses import read_trials
from bids_decoder.stimuli.targets import make_targets
from bids_decoder.trials import Person, Targets, VoxelGrid

CHOICES = (
    ("ridge", "ols"), ("lss", "ols"), ("lss", "ar1"), ("lsa", "ols"), ("lsa", "ar1"),
    ("glmsingle", "ols"),
)


@dataclass(frozen=True, eq=False)
class Prepared:
    """Everything that is known of one participant before responses are estimated."""

    label: str
    grid: VoxelGrid
    runs: list[TrialRun]
    trials: pd.DataFrame


def people(out: Path) -> list[str]:
    """Labels of the participants of an output folder."""
    return sorted(path.name[4:] for path in out.glob("sub-*") if path.is_dir())


def load(out: Path, label: str, scratch: Path) -> Prepared:
    """Read preprocessed BOLD, confounds and planned trials of one participant."""
    folder = out / f"sub-{label}" / "func"
    grid = load_mask(next(folder.glob("*_desc-singletrial_mask.nii.gz")))
    runs, tables = [], []
    for path in sorted(folder.glob("*_desc-preproc_bold.nii.gz")):
        stem = path.name.removesuffix("_desc-preproc_bold.nii.gz")
        trials = read_trials(folder / f"{stem}_desc-singletrial_trials.tsv")
        bold, _ = read_masked(path, grid, scratch / f"{stem}.npy")
        sidecar = read_json(sidecar_path(path))
        timing = Timing(len(bold), sidecar["RepetitionTime"], sidecar.get("StartTime", 0.0))
        confounds, _ = select_confounds(
            read_table(folder / f"{stem}_desc-confounds_timeseries.tsv"), ("motion",), len(bold)
        )
        runs.append(TrialRun(
            np.array(bold), timing, trials["onset"].astype(float).to_numpy(),
            trials["duration"].astype(float).to_numpy(),
            nuisance_matrix(timing, 1 / 128, confounds).to_numpy(),
            (trials["split"] == "train").to_numpy(), trials["stimulus"].to_numpy(dtype=str),
            crossed=(trials["split"] == "cv").to_numpy(),
        ))
        tables.append(trials)
    return Prepared(label, grid, runs, pd.concat(tables, ignore_index=True))


def fit(estimator: SingleTrialEstimator, runs: Sequence[TrialRun]) -> np.ndarray:
    """Responses of all trials, shape (n_trials, n_voxels)."""
    out = [np.empty((run.n_trials, run.bold.shape[1]), dtype=np.float32) for run in runs]
    estimator.estimate(runs, out)
    return np.concatenate(out)


def correlations(found: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Pearson correlation over trials, per voxel."""
    a, b = found - found.mean(axis=0), truth - truth.mean(axis=0)
    return (a * b).sum(axis=0) / np.linalg.norm(a, axis=0) / np.linalg.norm(b, axis=0)


def retrieve(
    betas: np.ndarray, trials: pd.DataFrame, targets: Targets, grid: VoxelGrid,
    region: np.ndarray, label: str = "01",
) -> tuple[float, ...]:
    """Reliability of test repeats, then b2i top-1 (single, averaged) in region and everywhere."""
    train = (trials["split"] == "train").to_numpy()
    scores, _ = zscore_betas(betas, np.full(len(train), "all"), train)
    names = trials["stimulus"].to_numpy(dtype=str)
    person = Person(label, grid, scores, trials, targets.rows_of(names))
    known, held = person.subset(train), person.subset(~train)
    reliability = np.median(split_half_reliability(held.betas, names[~train])[region])
    predicted = run_baselines(
        known, held, targets, region, seed=0, names=("ridge-mask", "ridge-all")
    )
    shown, own = np.unique(names[~train], return_inverse=True)
    centre = targets.vectors[np.unique(known.target_rows)].mean(axis=0)
    gallery = unit(targets.vectors[targets.rows_of(shown)] - centre)
    figures = [float(reliability)]
    for name in ("ridge-mask", "ridge-all"):
        vectors = unit(predicted[name] - centre)
        average = np.stack([vectors[own == k].mean(axis=0) for k in range(len(shown))])
        figures += [
            float(np.mean((vectors @ gallery.T).argmax(axis=1) == own)),
            float(np.mean((average @ gallery.T).argmax(axis=1) == np.arange(len(shown)))),
        ]
    return tuple(figures)


def unit(vectors: np.ndarray) -> np.ndarray:
    """Rows of length one."""
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def read_truth(raw: Path, person: Prepared) -> tuple[np.ndarray, np.ndarray]:
    """Responsive voxels within the mask, and their true responses to all trials."""
    folder = raw / "derivatives" / "truth" / f"sub-{person.label}" / "func"
    image = nib.load(next(folder.glob("*_label-responsive_mask.nii.gz")))
    responsive, mask = np.asarray(image.dataobj) > 0, person.grid.mask
    files = sorted(folder.glob("*_desc-truth_betas.npz"))
    betas = np.concatenate([np.load(path)["betas"] for path in files])
    return responsive[mask], betas[:, mask[responsive]]


def bench_pictures(places: Sequence[str]) -> None:
    """Retrieval with each estimator, averaged over the participants of each dataset."""
    for raw, out in zip(map(Path, places[::2]), map(Path, places[1::2]), strict=True):
        pictures = {path.name: path for path in (raw / "stimuli").iterdir()}
        targets = make_targets("image", pictures, images=pictures)
        found: dict[tuple[str, str], list[tuple]] = {choice: [] for choice in CHOICES}
        for label in people(out):
            with tempfile.TemporaryDirectory() as scratch:
                person = load(out, label, Path(scratch))
            region, truth = read_truth(raw, person)
            for choice in CHOICES:
                estimator = get_estimator(choice[0], EstimatorOptions(noise_model=choice[1]))
                started = time.perf_counter()
                betas = fit(estimator, person.runs)
                seconds = time.perf_counter() - started
                agreement = float(np.median(correlations(betas[:, region], truth)))
                found[choice].append((agreement, *retrieve(
                    betas, person.trials, targets, person.grid, region, label
                ), seconds))
        print(f"\n{raw}: {len(people(out))} people, {len(person.trials)} trials each\n")
        table([
            ("estimator", "noise", "r with truth", "reliability", "top-1 region, single",
             "averaged", "top-1 all voxels, single", "averaged", "s"),
            *((*choice, *(f"{value:.3f}" for value in np.mean(values, axis=0)))
              for choice, values in found.items()),
        ])


def bench_blocks(places: Sequence[str]) -> None:
    """Leave one run out with a linear SVM and with shrinkage LDA."""
    out = Path(places[1])
    rows = [("participant", "estimator", "noise", "linear SVM", "shrinkage LDA")]
    for label in people(out):
        with tempfile.TemporaryDirectory() as scratch:
            person = load(out, label, Path(scratch))
        labels = person.trials["label"].to_numpy(dtype=str)
        groups = person.trials["run_group"].to_numpy(dtype=str)
        for choice in CHOICES:
            estimator = get_estimator(choice[0], EstimatorOptions(noise_model=choice[1]))
            betas, hits = fit(estimator, person.runs), []
            for run in np.unique(groups):
                known = groups != run
                scores, _ = zscore_betas(betas, np.full(len(labels), "all"), known)
                hits.append([
                    np.mean(machine.fit(scores[known], labels[known]).predict(scores[~known])
                            == labels[~known])
                    for machine in (
                        LinearSVC(C=1e-3),
                        LinearDiscriminantAnalysis(solver="lsqr", shrinkage="auto"),
                    )
                ])
            rows.append((label, *choice, *(f"{value:.3f}" for value in np.mean(hits, axis=0))))
    table(rows)


@dataclass(frozen=True)
class RelaxedRidge:
    """Ridge by likelihood with another relaxation than the one that is built in."""

    relaxation: float

    def estimate(self, runs: Sequence[TrialRun], out: Sequence[np.ndarray]) -> None:
        """Fill *out*."""
        hrf = get_hrf("spm")
        ratio = response_ratio(runs, hrf, np.arange(runs[0].bold.shape[1]), 5000)
        for run, place in zip(runs, out, strict=True):
            basis = nuisance_basis(run.nuisance)
            path = RidgePath.of(residualise(basis, run.regressors(hrf)))
            rotated = path.rotate(np.asarray(run.bold))
            place[:] = path.weights(rotated, 1 / (self.relaxation * ratio.astype(float)))


def simulate(spacing: float, strength: float, seed: int) -> tuple[Prepared, Targets, np.ndarray]:
    """Four runs of pictures; half of 600 voxels respond to 16 features of them.

    *strength* is the spread of responses at their peak; the noise has a spread of about one,
    in part white, in part autocorrelated, in part shared by all voxels.
    """
    rng = np.random.default_rng([seed, 11])
    n_voxels, n_train, n_test = 600, 120, 24
    features = rng.standard_normal((n_train + n_test, 16))
    tuning = rng.standard_normal((16, n_voxels))
    tuning /= np.linalg.norm(tuning, axis=0)
    responds = np.arange(n_voxels) < n_voxels // 2
    height = np.where(responds, strength * np.exp(0.4 * rng.standard_normal(n_voxels)), 0.0)
    order = rng.permutation(np.r_[np.arange(n_train + n_test), n_train + np.arange(n_test)])
    shared = 0.4 * rng.standard_normal((6, n_voxels))
    runs, truth, tables = [], [], []
    for number, shown in enumerate(np.array_split(order, 4)):
        onsets = 6 + spacing * np.arange(len(shown)) + rng.uniform(0, 0.5, len(shown))
        timing = Timing(int((onsets[-1] + 16) / 2), 2.0, 1.0)
        slow = lfilter([0.87], [1, -0.5], rng.standard_normal((timing.n_scans, n_voxels)), axis=0)
        common = lfilter([0.71], [1, -0.7], rng.standard_normal((timing.n_scans, 6)), axis=0)
        white = rng.standard_normal((timing.n_scans, n_voxels))
        responses = features[shown] @ tuning * height + 4 / 3 * strength * responds
        responses += 0.3 * height * rng.standard_normal(responses.shape)
        run = TrialRun(
            (0.6 * white + 0.6 * slow + common @ shared).astype(np.float32), timing, onsets,
            np.full(len(shown), 2.0), nuisance_matrix(timing, 1 / 128).to_numpy(),
            shown < n_train, shown.astype(str),
        )
        run.bold[:] += (run.regressors(get_hrf("spm")) @ responses).astype(np.float32)
        runs.append(run)
        truth.append(responses[:, responds])
        tables.append(pd.DataFrame({
            "trial": np.arange(1, len(shown) + 1), "run_group": f"run-{number}",
            "stimulus": shown.astype(str), "split": np.where(shown < n_train, "train", "test"),
        }))
    grid = VoxelGrid(np.ones((n_voxels, 1, 1), bool), np.eye(4))
    targets = Targets(
        tuple(map(str, range(len(features)))), features.astype(np.float32), "features"
    )
    person = Prepared("01", grid, runs, pd.concat(tables, ignore_index=True))
    return person, targets, np.concatenate(truth)


def bench_design(n_seeds: int = 4) -> None:
    """Agreement with the truth in single voxels, and retrieval from all responsive voxels."""
    estimators: dict[str, SingleTrialEstimator | RelaxedRidge] = {
        "lss": get_estimator("lss"),
        "lss ar1": get_estimator("lss", EstimatorOptions(noise_model="ar1")),
        "lsa": get_estimator("lsa"),
        **{f"ridge, relaxed {n:g} x": RelaxedRidge(n) for n in (1, 3, 10, 30)},
    }
    rows = [("spacing, s", "strength", *(f"{name}: r, top-1" for name in estimators))]
    for spacing in (3.0, 4.0, 6.0, 12.0):
        for strength in (0.2, 0.35, 0.7):
            figures = []
            for seed in range(n_seeds):
                person, targets, truth = simulate(spacing, strength, seed)
                responds = np.arange(person.grid.n_voxels) < truth.shape[1]
                row = []
                for estimator in estimators.values():
                    betas = fit(estimator, person.runs)
                    agreement = np.median(correlations(betas[:, responds], truth))
                    scores = retrieve(betas, person.trials, targets, person.grid, responds)
                    row.append((agreement, scores[1]))
                figures.append(row)
            mean = np.mean(figures, axis=0)
            rows.append((spacing, strength, *(f"{r:.2f}, {top:.2f}" for r, top in mean)))
    table(rows)


def main() -> None:
    """Run what the command line names."""
    kind, *places = sys.argv[1:] or ["design"]
    if kind == "design":
        bench_design()
    else:
        {"pictures": bench_pictures, "blocks": bench_blocks}[kind](places)


if __name__ == "__main__":
    main()
