"""Are p-values uniform without signal, do intervals cover with it? One row per kind of analysis.

    python benchmarks/calibration.py                          all rows, as in docs/statistics.md
    python benchmarks/calibration.py --datasets 100 --with-signal 100     minutes, not hours
    python benchmarks/calibration.py --rows labels retrieval  some of the rows

Each dataset goes through the program's own split of trials into folds, exchange of labels, fit and
scores. Runs drift, noise is autocorrelated, classes are of unequal size. Columns: share of datasets
without signal with p <= .05 and p <= .01; the same with signal (power); share of 95 % intervals
that hold the true value, with signal. ``fixed`` rows show what would come of exchanging labels
against the fixed predictions of cross-validation, which this program does not do.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from scipy.signal import lfilter

from bids_decoder.config import Evaluation, Network, Troi
from bids_decoder.evaluation.baselines import ridge_of_labellings, ridge_predict
from bids_decoder.evaluation.classification import Heldout, Refitted, score_classification
from bids_decoder.evaluation.comparison import compare_labels
from bids_decoder.evaluation.retrieval import Embedded, score_retrieval
from bids_decoder.evaluation.statistics import permutation_p
from bids_decoder.evaluation.subjects import permute_people, subject_folds
from bids_decoder.glm.normalise import zscore_betas
from bids_decoder.seeds import derive_seed
from bids_decoder.training.decoders import FitContext
from bids_decoder.training.ensemble import load_decoder
from bids_decoder.training.refit import DECODER, permute_fold, refit_fold
from bids_decoder.trials import Person, Targets, VoxelGrid

N_PERMUTATIONS = 99
SHARES = (0.5, 0.3, 0.2)
"""Of the classes, unequal."""


@dataclass(frozen=True)
class Design:
    """How a dataset is made.

    Parameters
    ----------
    n_runs, per_run, n_voxels, n_classes : int
    order : {"mixed", "blocks", "runs"}
        Labels of trials in random order, in blocks within runs, or one per run.
    signal : float
        Standard deviation of the classes' patterns, that of the noise being 1.
    """

    n_runs: int = 8
    per_run: int = 10
    n_voxels: int = 40
    n_classes: int = 3
    order: str = "mixed"
    signal: float = 0.0


def draw_labels(design: Design, rng: np.random.Generator) -> np.ndarray:
    """Draw the class of each trial, (n_runs * per_run,)."""
    if design.order == "runs":
        of_run = rng.permutation(np.arange(design.n_runs) % design.n_classes)
        return np.repeat(of_run, design.per_run)
    counts = np.round(np.array(SHARES[:design.n_classes]) * design.per_run).astype(int)
    counts[0] += design.per_run - counts.sum()
    runs = []
    for _ in range(design.n_runs):
        classes = np.repeat(np.arange(design.n_classes), counts)
        if design.order == "blocks":
            size = design.per_run // 5
            classes = np.repeat(rng.permutation([0, 0, 1, 1, 2])[: design.per_run // size], size)
        runs.append(classes if design.order == "blocks" else rng.permutation(classes))
    return np.concatenate(runs)


def draw_person(design: Design, rng: np.random.Generator) -> tuple[Person, Targets]:
    """Draw the responses of a person; patterns of the classes in all voxels."""
    rows = draw_labels(design, rng)
    n_trials = len(rows)
    noise = rng.standard_normal((design.n_runs, design.per_run, design.n_voxels))
    noise = lfilter([np.sqrt(1 - 0.3**2)], [1, -0.3], noise, axis=1)
    slope = rng.standard_normal((design.n_runs, 1, design.n_voxels))
    noise += slope * np.linspace(-1, 1, design.per_run)[None, :, None]
    # The same in all datasets: the true accuracy must be one number.
    patterns = np.random.default_rng(0).standard_normal((design.n_classes, design.n_voxels))
    patterns *= design.signal
    betas = noise.reshape(n_trials, -1) + patterns[rows]
    classes = tuple("abcdefgh"[: design.n_classes])
    runs = np.repeat([f"run-{k:02d}" for k in range(design.n_runs)], design.per_run)
    trials = pd.DataFrame({
        "trial": np.tile(np.arange(1, design.per_run + 1), design.n_runs), "run_group": runs,
        "session": "1", "stimulus": np.array(classes)[rows], "split": "train",
    })
    grid = VoxelGrid(np.ones((design.n_voxels, 1, 1), bool), np.eye(4))
    person = Person("01", grid, betas.astype(np.float32), trials, rows)
    return person, Targets(classes, np.eye(design.n_classes, dtype=np.float32), "category")


def folds_of(person: Person) -> list[tuple[Person, Person, np.ndarray]]:
    """Hold out each run once; responses are z-scored with statistics of the training trials."""
    found = []
    for run in np.unique(person.run_groups):
        test = person.run_groups == run
        scaled, _ = zscore_betas(person.betas, np.full(len(test), "1"), ~test)
        now = replace(person, betas=scaled)
        held = now.subset(test)
        held = replace(held, trials=held.trials.assign(split="test"))
        found.append((now.subset(~test), held, np.flatnonzero(test)))
    return found


def heldout(person: Person, targets: Targets, scores: np.ndarray, folds: np.ndarray) -> Heldout:
    """Join what is known of the trials with their scores."""
    labels = np.array(targets.ids)[person.target_rows]
    return Heldout(scores, labels, targets.ids, person.run_groups, folds)


Outcome = dict[str, float]
"""p-values by name of the test, ``value``, ``low`` and ``high``."""


def labels_by_ridge(design: Design, seed: int) -> Outcome:
    """Cross-validate ridge regression over runs; refit it on permuted labels."""
    rng = np.random.default_rng(seed)
    person, targets = draw_person(design, rng)
    shape = (N_PERMUTATIONS, len(person.target_rows))
    scores = np.empty((*shape[1:], len(targets.ids)))
    true, null = np.empty(shape, int), np.empty((*shape, len(targets.ids)))
    for train, test, rows in folds_of(person):
        fold = permute_fold(train, test, N_PERMUTATIONS, np.random.default_rng(seed))
        together = np.concatenate([train.target_rows[None], fold.train_rows])
        found = ridge_of_labellings(train, test, targets, together)
        scores[rows], null[:, rows], true[:, rows] = found[0], found[1:], fold.test_rows
    return labels_outcome(person, targets, scores, Refitted(true, null, {}), seed)


def labels_by_decoder(design: Design, seed: int) -> Outcome:
    """Cross-validate the default decoder in closed form, selection of voxels and all."""
    rng = np.random.default_rng(seed)
    person, targets = draw_person(design, rng)
    context = FitContext(Network(), Troi(budget_voxels=15, stage2="none"), 1, "cpu")
    decoder = load_decoder("troi")
    n_trials, n_classes = len(person.target_rows), len(targets.ids)
    scores, true = np.empty((n_trials, n_classes)), np.empty((N_PERMUTATIONS, n_trials), int)
    null = np.empty((N_PERMUTATIONS, n_trials, n_classes))
    for train, test, rows in folds_of(person):
        fold = permute_fold(train, test, N_PERMUTATIONS, np.random.default_rng(seed))
        own = replace(fold, train_rows=train.target_rows[None], test_rows=fold.test_rows[:1])
        scores[rows] = refit_fold(decoder, own, targets, None, context)[DECODER][0]
        null[:, rows] = refit_fold(decoder, fold, targets, None, context)[DECODER]
        true[:, rows] = fold.test_rows
    return labels_outcome(person, targets, scores, Refitted(true, null, {}), seed)


def labels_outcome(
    person: Person, targets: Targets, scores: np.ndarray, refitted: Refitted, seed: int
) -> Outcome:
    """Score with refitted nulls and, to show the difference, with fixed predictions."""
    folds = np.unique(person.run_groups, return_inverse=True)[1]
    settings, rng = Evaluation(n_permutations=N_PERMUTATIONS), np.random.default_rng(seed)
    crossed = heldout(person, targets, scores, folds)
    metrics = score_classification(crossed, settings=settings, rng=rng, refitted=refitted).metrics
    row = metrics.set_index("metric").loc["balanced_accuracy"]
    together = heldout(person, targets, scores, np.ones(len(folds)))
    fixed = score_classification(together, settings=settings, rng=rng).metrics
    return {
        "p": row["p"], "fixed": fixed.set_index("metric").loc["balanced_accuracy", "p"],
        "value": row["value"], "low": row["ci_low"], "high": row["ci_high"],
    }


def one_test_set(design: Design, seed: int) -> Outcome:
    """Train ridge regression on half of the runs, test it on the others."""
    rng = np.random.default_rng(seed)
    person, targets = draw_person(design, rng)
    test = np.isin(person.run_groups, np.unique(person.run_groups)[::2])
    scaled, _ = zscore_betas(person.betas, np.full(len(test), "1"), ~test)
    now = replace(person, betas=scaled)
    held = now.subset(test)
    held = replace(held, trials=held.trials.assign(split="test"))
    train = now.subset(~test)
    scores = ridge_of_labellings(train, held, targets, train.target_rows[None])[0]
    found = heldout(held, targets, scores, np.ones(len(scores)))
    metrics = score_classification(
        found, settings=Evaluation(n_permutations=N_PERMUTATIONS), rng=rng
    ).metrics
    row = metrics.set_index("metric").loc["balanced_accuracy"]
    return {"p": row["p"], "value": row["value"], "low": row["ci_low"], "high": row["ci_high"]}


def retrieval(signal: float, seed: int, n_images: int = 20) -> Outcome:
    """Predict features of images by ridge regression; find each among those tested."""
    rng = np.random.default_rng(seed)
    n_train, n_voxels, n_dims = 80, 30, 8
    features = rng.standard_normal((n_train + n_images, n_dims))
    shown = np.concatenate([np.arange(n_train), np.repeat(np.arange(n_images) + n_train, 2)])
    tuning = np.random.default_rng(0).standard_normal((n_dims, n_voxels)) * signal
    betas = features[shown] @ tuning + rng.standard_normal((len(shown), n_voxels))
    runs = np.arange(len(shown)) % 5
    train = np.arange(len(shown)) < n_train
    betas = betas + 0.5 * rng.standard_normal((5, n_voxels))[runs]
    betas = (betas - betas[train].mean(axis=0)) / betas[train].std(axis=0)
    predicted = ridge_predict(
        betas[train], features[shown[train]], betas[~train], runs[train].astype(str)
    )
    names = np.array([f"im{k:03d}" for k in range(len(features))])
    metrics, _ = score_retrieval(
        Embedded(predicted, names[shown[~train]], runs[~train].astype(str), features, names),
        Evaluation(n_permutations=N_PERMUTATIONS, n_draws=5), rng,
    )
    row = metrics.query(
        "metric == 'top1' and direction == 'b2i' and unit == 'single' and similarity == 'cosine'"
    ).iloc[0]
    return {"p": row["p"], "value": row["value"], "low": row["ci_low"], "high": row["ci_high"]}


def participants(signal: float, seed: int, n_people: int = 40) -> Outcome:
    """Cross-validate ridge regression over people; folds are dealt out anew for permuted labels."""
    rng = np.random.default_rng(seed)
    classes = rng.permutation(np.arange(n_people) % 2)
    features = rng.standard_normal((n_people, 60)) + signal * np.outer(classes, np.ones(60))
    kernel = features @ features.T
    permuted, _ = permute_people(classes, None, N_PERMUTATIONS, seed)
    guesses = np.stack([
        guess_people(kernel, labels, subject_folds(labels, 5, 1, derive_seed(seed, "folds", k))[0])
        for k, labels in enumerate([classes, *permuted])
    ])
    null = (guesses[1:] == permuted).mean(axis=1)
    against = (permute_people(classes, None, N_PERMUTATIONS, seed + 1)[0] == guesses[0])
    value = float((guesses[0] == classes).mean())
    return {"p": permutation_p(value, null), "fixed": permutation_p(value, against.mean(axis=1)),
            "value": value}


def guess_people(kernel: np.ndarray, classes: np.ndarray, folds: np.ndarray) -> np.ndarray:
    """Predict the class of each held-out person by kernel ridge, (n_people,)."""
    guess = np.empty(len(classes), int)
    for fold in np.unique(folds):
        train, test = folds != fold, folds == fold
        wanted = classes[train] - classes[train].mean()
        penalised = kernel[np.ix_(train, train)] + np.trace(kernel) / len(kernel) * np.eye(
            train.sum())
        guess[test] = kernel[np.ix_(test, train)] @ np.linalg.solve(penalised, wanted) > 0
    return guess


def comparison(design: Design, seed: int) -> Outcome:
    """Compare ridge regressions on two halves of the voxels, which are equally good."""
    rng = np.random.default_rng(seed)
    person, targets = draw_person(design, rng)
    half = rng.permutation(design.n_voxels) < design.n_voxels // 2
    folds = np.unique(person.run_groups, return_inverse=True)[1]
    found = []
    for voxels in (half, ~half):
        scores = np.empty((len(folds), len(targets.ids)))
        for train, test, rows in folds_of(person):
            parts = [replace(part, betas=part.betas[:, voxels]) for part in (train, test)]
            scores[rows] = ridge_of_labellings(*parts, targets, train.target_rows[None])[0]
        found.append(heldout(person, targets, scores, folds))
    row = compare_labels(*found, n_permutations=N_PERMUTATIONS, rng=rng)
    return {"p": row["p"], "value": row["value"], "low": row["ci_low"], "high": row["ci_high"]}


Study = Callable[[float, int], Outcome]
ROWS: dict[str, tuple[Study, float]] = {
    "labels, 4 runs": (lambda s, k: labels_by_ridge(Design(4, signal=s), k), 0.25),
    "labels, 8 runs": (lambda s, k: labels_by_ridge(Design(8, signal=s), k), 0.15),
    "labels, 12 runs": (lambda s, k: labels_by_ridge(Design(12, signal=s), k), 0.12),
    "labels in blocks": (lambda s, k: labels_by_ridge(Design(8, 10, order="blocks", signal=s), k),
                         0.2),
    "runs of one label": (lambda s, k: labels_by_ridge(Design(12, 4, order="runs", signal=s), k),
                          0.4),
    "one test set": (lambda s, k: one_test_set(Design(8, signal=s), k), 0.2),
    "retrieval": (retrieval, 0.12),
    "retrieval, 100 images": (lambda s, k: retrieval(s, k, 100), 0.1),
    "participants": (participants, 0.2),
    "comparison": (lambda s, k: comparison(Design(8, signal=0.3), k), 0.0),
    "decoder, 4 runs": (lambda s, k: labels_by_decoder(Design(4, signal=s), k), 0.35),
}
"""Name -> study of (signal, seed), and the signal for power and coverage."""


def calibrate(study: Study, signal: float, n_datasets: int, n_with_signal: int) -> dict[str, float]:
    """Run datasets without and with signal.

    Returns
    -------
    dict of str to float
        ``false_05``, ``false_01``, ``power_05``, ``coverage`` and, where predictions are
        cross-validated, ``fixed_05``, ``fixed_01``.
    """
    null = pd.DataFrame([study(0.0, seed) for seed in range(n_datasets)])
    row = {f"false_{level:02.0f}": (null["p"] <= level / 100 + 1e-9).mean() for level in (5, 1)}
    if "fixed" in null:
        row |= {f"fixed_{a:02.0f}": (null["fixed"] <= a / 100 + 1e-9).mean() for a in (5, 1)}
    if not signal:
        covered = (null["low"] <= 0) & (null["high"] >= 0)
        return {**row, "coverage": covered.mean()}
    found = pd.DataFrame([study(signal, 10**6 + seed) for seed in range(n_with_signal)])
    row["power_05"] = (found["p"] <= 0.05 + 1e-9).mean()
    if "low" in found:
        truth = found["value"].mean()
        row["coverage"] = ((found["low"] <= truth) & (truth <= found["high"])).mean()
    return row


def main() -> None:
    """Print a row of Markdown for each study as it ends."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--datasets", type=int, default=1500)
    parser.add_argument("--with-signal", type=int, default=1500)
    parser.add_argument("--rows", nargs="*", default=list(ROWS), help="or how they begin")
    options = parser.parse_args()
    columns = ("false_05", "false_01", "fixed_05", "fixed_01", "power_05", "coverage")
    print("| analysis | " + " | ".join(columns) + " |", flush=True)
    print("|---" * (len(columns) + 1) + "|", flush=True)
    for name, (study, signal) in ROWS.items():
        if not any(name.startswith(wanted) for wanted in options.rows):
            continue
        found = calibrate(study, signal, options.datasets, options.with_signal)
        cells = [f"{found[c]:.3f}" if c in found else "" for c in columns]
        print(f"| {name} | " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    main()
