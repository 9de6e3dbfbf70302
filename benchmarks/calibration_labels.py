"""Simulated datasets of labels for calibration.py: trials over runs, one test set, comparisons."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache

import numpy as np
import pandas as pd
from scipy.ndimage import gaussian_filter
from scipy.signal import lfilter

from bids_decoder.analyses.controls.scoring import Tested, score_control
from bids_decoder.config import Evaluation, Network, TrialRules, Troi
from bids_decoder.evaluation.baselines import ridge_of_labellings
from bids_decoder.evaluation.classification import Heldout, Refitted, score_classification
from bids_decoder.evaluation.comparison import compare_labels
from bids_decoder.evaluation.held_out import apply_split
from bids_decoder.evaluation.kinds import separate_runs
from bids_decoder.evaluation.label_names import exchange_names
from bids_decoder.evaluation.nulls import find_exchange
from bids_decoder.evaluation.ridge import ridge_predict
from bids_decoder.evaluation.splits import choose_split
from bids_decoder.glm.normalise import zscore_betas
from bids_decoder.interfaces.responses import confound_as_responses
from bids_decoder.models.store import Model
from bids_decoder.training.controls import control_fold
from bids_decoder.training.decoders import FitContext
from bids_decoder.training.ensemble import load_decoder
from bids_decoder.training.refit import permute_fold, refit_fold
from bids_decoder.trials import Person, Targets, VoxelGrid

N_PERMUTATIONS, FEW = 99, 19
"""Permutations without and with signal: for the share of p <= .05, 19 are enough."""

FRESH_RUNS = 60
"""New runs on which the true accuracy of a trained decoder is measured."""

SHARES = {2: (0.7, 0.3), 3: (0.5, 0.3, 0.2), 5: (0.3, 0.2, 0.2, 0.15, 0.15)}
"""Of the classes, unequal, by their number."""


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
    lattice : tuple of int, optional
        Shape of the grid, of *n_voxels*, over which noise is smooth. By default a line, on which
        neighbours are not known.
    """

    n_runs: int = 8
    per_run: int = 10
    n_voxels: int = 40
    n_classes: int = 3
    order: str = "mixed"
    signal: float = 0.0
    lattice: tuple[int, int, int] | None = None


def draw_labels(design: Design, rng: np.random.Generator) -> np.ndarray:
    """Draw the class of each trial, (n_runs * per_run,)."""
    if design.order == "runs":
        of_run = rng.permutation(np.arange(design.n_runs) % design.n_classes)
        return np.repeat(of_run, design.per_run)
    counts = np.round(np.array(SHARES[design.n_classes]) * design.per_run).astype(int)
    counts[0] += design.per_run - counts.sum()
    runs = []
    for _ in range(design.n_runs):
        classes = np.repeat(np.arange(design.n_classes), counts)
        if design.order == "blocks":
            size = design.per_run // 5
            classes = np.repeat(rng.permutation([0, 0, 1, 1, 2])[: design.per_run // size], size)
        runs.append(classes if design.order == "blocks" else rng.permutation(classes))
    return np.concatenate(runs)


def draw_noise(design: Design, rng: np.random.Generator) -> np.ndarray:
    """Draw the noise of all trials, correlated by .3 between neighbours, and drifts of runs.

    Shape (n_runs * per_run, n_voxels).
    """
    noise = rng.standard_normal((design.n_runs, design.per_run, design.n_voxels))
    if design.lattice:
        maps = noise.reshape(design.n_runs, design.per_run, *design.lattice)
        noise = gaussian_filter(maps, 0.8, axes=(2, 3, 4)).reshape(noise.shape)
        noise /= noise.std()
    noise = lfilter([np.sqrt(1 - 0.3**2)], [1, -0.3], noise, axis=1)
    slope = rng.standard_normal((design.n_runs, 1, design.n_voxels))
    noise += slope * np.linspace(-1, 1, design.per_run)[None, :, None]
    return noise.reshape(-1, design.n_voxels)


def draw_person(
    design: Design, rng: np.random.Generator, rows: np.ndarray | None = None
) -> tuple[Person, Targets]:
    """Draw the responses of a person; patterns of the classes in all voxels.

    Classes of the trials are *rows*, or drawn as well.
    """
    rows = draw_labels(design, rng) if rows is None else rows
    noise = draw_noise(design, rng)
    # The same in all datasets: the true accuracy must be one number.
    patterns = np.random.default_rng(0).standard_normal((design.n_classes, design.n_voxels))
    patterns *= design.signal
    betas = noise + patterns[rows]
    classes = tuple("abcdefgh"[: design.n_classes])
    runs = np.repeat([f"run-{k:02d}" for k in range(design.n_runs)], design.per_run)
    trials = pd.DataFrame({
        "trial": np.tile(np.arange(1, design.per_run + 1), design.n_runs), "run_group": runs,
        "session": "1", "run": runs, "stimulus": np.array(classes)[rows],
        "label": np.array(classes)[rows], "excluded": False, "reason": None,
    })
    split, *_ = choose_split({"01": trials}, "category", TrialRules(), 0)
    trials = apply_split({"01": trials}, split)["01"].assign(split="train")
    trials["fold"] = trials["fold"].astype(int)
    grid = VoxelGrid(np.ones(design.lattice or (design.n_voxels, 1, 1), bool), np.eye(4))
    person = Person("01", grid, betas.astype(np.float32), trials, rows)
    return person, Targets(classes, np.eye(design.n_classes, dtype=np.float32), "category")


def folds_of(person: Person) -> list[tuple[Person, Person, np.ndarray]]:
    """Split as the program does; responses are z-scored with statistics of the training trials."""
    found = []
    for fold in np.unique(person.trials["fold"]):
        test = (person.trials["fold"] == fold).to_numpy()
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
"""``p``, ``value``, ``low``, ``high``; ``fixed``, the p-value against fixed predictions; ``truth``,
the true value where it differs between datasets."""


def labels_by_ridge(design: Design, seed: int) -> Outcome:
    """Cross-validate ridge regression over runs; refit it on permuted labels."""
    rng = np.random.default_rng(seed)
    person, targets = draw_person(design, rng)
    n_permutations = FEW if design.signal else N_PERMUTATIONS
    shape = (n_permutations, len(person.target_rows))
    scores = np.empty((*shape[1:], len(targets.ids)))
    true, null = np.empty(shape, int), np.empty((*shape, len(targets.ids)))
    for train, test, rows in folds_of(person):
        fold = permute_fold(train, test, n_permutations, np.random.default_rng([seed, 1]))
        together = np.concatenate([train.target_rows[None], fold.train_rows])
        found = ridge_of_labellings(train, test, targets, together)
        scores[rows], null[:, rows], true[:, rows] = found[0], found[1:], fold.test_rows
    return labels_outcome(person, targets, scores, Refitted(true, null, {}), seed)


def labels_by_decoder(design: Design, seed: int) -> Outcome:
    """Cross-validate the default decoder in closed form, selection of voxels and all."""
    person, targets = draw_person(design, np.random.default_rng(seed))
    context = FitContext(Network(), Troi(budget_voxels=15, stage2="none"), 1, "cpu")
    n_permutations = FEW if design.signal else N_PERMUTATIONS
    return decode_labels(person, targets, "troi", context, n_permutations, seed)


def labels_by_pretrained(signal: float, seed: int) -> Outcome:
    """Cross-validate the default decoder, pretrained on others; few permutations."""
    person, targets = draw_person(Design(4, signal=signal), np.random.default_rng(seed))
    context = FitContext(Network(), Troi(budget_voxels=15, stage2="none"), 1, "cpu")
    return decode_labels(person, targets, "troi", context, FEW, seed, _pretrained())


@cache
def _pretrained() -> Model:
    """Pretrain on three people with the same patterns, each with noise of their own."""
    people, design = [], Design(8, signal=0.35)
    for number in range(3):
        person, targets = draw_person(design, np.random.default_rng([number, 7]))
        people.append(replace(person, label=f"source{number}"))
    context = FitContext(Network(), Troi(), 1, "cpu")
    return load_decoder("troi").pretrain(people, targets, context)


def decode_labels(
    person: Person, targets: Targets, name: str, context: FitContext, n_permutations: int,
    seed: int, pretrained: Model | None = None,
) -> Outcome:
    """Cross-validate the decoder of this name over runs; fit it again on permuted labels."""
    decoder = load_decoder(name)
    n_trials, n_classes = len(person.target_rows), len(targets.ids)
    scores, true = np.empty((n_trials, n_classes)), np.empty((n_permutations, n_trials), int)
    null = np.empty((n_permutations, n_trials, n_classes))
    for train, test, rows in folds_of(person):
        fold = permute_fold(train, test, n_permutations, np.random.default_rng([seed, 1]))
        own = replace(fold, train_rows=train.target_rows[None], test_rows=fold.test_rows[:1])
        scores[rows] = refit_fold(decoder, own, targets, pretrained, context)[0]
        null[:, rows] = refit_fold(decoder, fold, targets, pretrained, context)
        true[:, rows] = fold.test_rows
    return labels_outcome(person, targets, scores, Refitted(true, null, {}), seed)


def labels_outcome(
    person: Person, targets: Targets, scores: np.ndarray, refitted: Refitted, seed: int
) -> Outcome:
    """Score with refitted nulls and, to show the difference, with fixed predictions."""
    folds = person.trials["fold"].to_numpy()
    settings, rng = Evaluation(n_permutations=N_PERMUTATIONS), np.random.default_rng([seed, 2])
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
    """Train ridge regression on half of the runs, test it on the others.

    The true accuracy is that of this decoder on new runs.
    """
    rng = np.random.default_rng(seed)
    person, targets = draw_person(design, rng)
    test = np.isin(person.run_groups, np.unique(person.run_groups)[::2])
    scaled, _ = zscore_betas(person.betas, np.full(len(test), "1"), ~test)
    now = replace(person, betas=scaled)
    held = now.subset(test)
    held = replace(held, trials=held.trials.assign(split="test", fold=1))
    train = now.subset(~test)
    fresh, _ = draw_person(replace(design, n_runs=FRESH_RUNS), rng)
    mean, sd = person.betas[~test].mean(axis=0), person.betas[~test].std(axis=0)
    both = np.concatenate([held.betas, ((fresh.betas - mean) / sd).astype(np.float32)])
    onehot = np.eye(design.n_classes)[train.target_rows]
    together = ridge_predict(train.betas, onehot, both, train.run_groups)
    scores, new = together[: len(held.betas)], together[len(held.betas):]
    found = heldout(held, targets, scores, np.ones(len(scores)))
    metrics = score_classification(
        found, settings=Evaluation(n_permutations=N_PERMUTATIONS), rng=rng
    ).metrics
    row = metrics.set_index("metric").loc["balanced_accuracy"]
    hit = new.argmax(axis=1) == fresh.target_rows
    truth = np.mean([hit[fresh.target_rows == k].mean() for k in range(design.n_classes)])
    return {"p": row["p"], "value": row["value"], "low": row["ci_low"], "high": row["ci_high"],
            "truth": truth}


def comparison(design: Design, seed: int) -> Outcome:
    """Compare ridge regressions on two sets of voxels, cross-validated over runs.

    Patterns are the same in both, noise is not, so that neither is better in expectation.
    """
    rng = np.random.default_rng(seed)
    person, targets = draw_person(design, rng)
    twin, _ = draw_person(design, rng, person.target_rows)
    folds, found = person.trials["fold"].to_numpy(), []
    for betas in (person.betas, twin.betas):
        scores = np.empty((len(folds), len(targets.ids)))
        for train, test, rows in folds_of(replace(person, betas=betas)):
            scores[rows] = ridge_of_labellings(train, test, targets, train.target_rows[None])[0]
        found.append(heldout(person, targets, scores, folds))
    return compared(*found, rng)


def fixed_comparison(design: Design, seed: int) -> Outcome:
    """Compare one trained ridge regression on two sets of responses to the same test trials.

    With one test set the question is which of two trained models is better. Here they are the
    same, and only the noise of the test trials differs, so that the true difference is zero.
    """
    rng = np.random.default_rng(seed)
    person, targets = draw_person(design, rng)
    other, _ = draw_person(design, rng, person.target_rows)
    first = np.isin(person.run_groups, np.unique(person.run_groups)[::2])
    train, held = person.subset(~first), person.subset(first)
    held = replace(held, trials=held.trials.assign(split="test", fold=1))
    found = []
    for betas in (held.betas, other.betas[first]):
        test = replace(held, betas=betas)
        scores = ridge_of_labellings(train, test, targets, train.target_rows[None])[0]
        found.append(heldout(held, targets, scores, np.ones(len(scores))))
    return compared(*found, rng)


def confound_alone(signal: float, seed: int) -> Outcome:
    """Decode labels from a confound alone, which drifts within runs as reaction times do."""
    rng = np.random.default_rng(seed)
    person, targets = draw_person(Design(n_voxels=1), rng)
    values = pd.Series(person.betas[:, 0] + signal * person.target_rows, name="response_time")
    trials, folds = person.trials.assign(split="cv"), []
    for number in np.unique(person.trials["fold"]):
        train, test = confound_as_responses(
            values, trials, person.label, targets, fold=int(number), normalise="run"
        )
        found = control_fold(train, test, targets, FEW if signal else N_PERMUTATIONS, seed)
        folds.append(Tested(train, test, found))
    settings = Evaluation(n_permutations=N_PERMUTATIONS)
    metrics = score_control("response_time", folds, targets, settings, seed)
    row = metrics.set_index("metric").loc["balanced_accuracy"]
    return {"p": row["p"], "value": row["value"], "low": row["ci_low"], "high": row["ci_high"]}


def compared(first: Heldout, second: Heldout, rng: np.random.Generator) -> Outcome:
    """Return difference, interval and p-value of two decoders."""
    row = compare_labels(first, second, n_permutations=N_PERMUTATIONS, rng=rng)
    return {"p": row["p"], "value": row["value"], "low": row["ci_low"], "high": row["ci_high"]}


def across_kinds(
    design: Design, seed: int, *, own_codes: float = 0.0, by_names: bool = False
) -> Outcome:
    """Train ridge regression on one kind of trials and test it on another, in the same runs.

    With *own_codes* each kind has patterns of its own, orthogonal to those of the other kind and
    of this standard deviation: both can be decoded, and nothing is shared. With *by_names* the
    p-value is that of exchanged names of labels.
    """
    rng = np.random.default_rng(seed)
    person, targets = draw_person(design, rng)
    n_trials, n_classes = len(person.target_rows), design.n_classes
    second = rng.random(n_trials) < 0.5
    axes = np.linalg.qr(rng.standard_normal((design.n_voxels, 2 * n_classes)))[0].T
    axes *= own_codes * np.sqrt(design.n_voxels)
    betas = person.betas + axes[person.target_rows + n_classes * second]
    person = replace(person, betas=betas.astype(np.float32))
    scores, fold_of = np.empty((n_trials, n_classes)), np.zeros(n_trials, int)
    for number, sides in enumerate(separate_runs(person.trials, ~second, second), start=1):
        scaled, _ = zscore_betas(person.betas, np.full(n_trials, "1"), sides.train)
        now = replace(person, betas=scaled)
        held = now.subset(sides.test)
        held = replace(held, trials=held.trials.assign(split="test"))
        train = now.subset(sides.train)
        scores[sides.test] = ridge_of_labellings(
            train, held, targets, train.target_rows[None]
        )[0]
        fold_of[sides.test] = number
    found = replace(
        heldout(person.subset(second), targets, scores[second], fold_of[second]),
        trains_on_tested=False,
    )
    metrics = score_classification(
        found, settings=Evaluation(n_permutations=N_PERMUTATIONS), rng=rng
    ).metrics
    row = metrics.set_index("metric").loc["balanced_accuracy"]
    exchange = find_exchange(found.true, found.runs, found.folds)
    p = row["p"] if not by_names else exchange_names(
        found.true, found.guesses.first, exchange, N_PERMUTATIONS, rng
    )
    return {"p": p, "value": row["value"], "low": row["ci_low"], "high": row["ci_high"],
            "truth": 1 / n_classes if own_codes else np.nan}
