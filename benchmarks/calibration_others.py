"""Simulated datasets of images, encoding models and participants for calibration.py."""

from __future__ import annotations

import numpy as np
from calibration_labels import FEW, N_PERMUTATIONS, Outcome

from bids_decoder.config import Evaluation
from bids_decoder.evaluation.association import associate
from bids_decoder.evaluation.prevalence import group_effect, permutation_prevalence
from bids_decoder.evaluation.retrieval import Embedded, compare_retrieval, score_retrieval
from bids_decoder.evaluation.ridge import ridge_predict
from bids_decoder.evaluation.subjects import (
    PermutedRounds,
    permute_people,
    score_subjects,
    subject_folds,
)
from bids_decoder.evaluation.voxelwise import Encoded, Measured, compare_encoders, score_encoding
from bids_decoder.seeds import derive_seed

SETTINGS = Evaluation(n_permutations=N_PERMUTATIONS, n_draws=5)
N_TRAIN, N_VOXELS, N_DIMS, N_RUNS = 80, 30, 8, 5
FRESH_SETS = 12
"""New sets of images on which the true value of a trained model is measured."""


def limits(row: object, **more: float) -> Outcome:
    """Return the outcome in a row of a table of metrics."""
    return {"p": row["p"], "value": row["value"], "low": row["ci_low"], "high": row["ci_high"],
            **more}


class ImageTrials:
    """Responses to training images once and to *n_images* test images twice, in five runs.

    Parameters
    ----------
    signal : float
    seed : int
    n_images : int
    """

    def __init__(self, signal: float, seed: int, n_images: int) -> None:
        self.rng, self.n_images = np.random.default_rng(seed), n_images
        self.tuning = np.random.default_rng(0).standard_normal((N_DIMS, N_VOXELS)) * signal
        self.features = self.rng.standard_normal((N_TRAIN + n_images, N_DIMS))
        tested = np.repeat(np.arange(n_images) + N_TRAIN, 2)
        self.shown = np.concatenate([np.arange(N_TRAIN), tested])
        self.train = self.shown < N_TRAIN
        self.of_run = 0.5 * self.rng.standard_normal((N_RUNS, N_VOXELS))
        betas, self.runs = self.respond(self.features[self.shown])
        self.mean, self.sd = betas[self.train].mean(axis=0), betas[self.train].std(axis=0)
        self.betas = (betas - self.mean) / self.sd

    def respond(self, features: np.ndarray, first: int = 0) -> tuple[np.ndarray, np.ndarray]:
        """Draw responses in the runs in turn, from *first* on; noise is in part that of the run."""
        noise = self.rng.standard_normal((len(features), N_VOXELS))
        runs = (np.arange(len(features)) + first) % N_RUNS
        return features @ self.tuning + noise + self.of_run[runs], runs.astype(str)

    def fit(self, *new: np.ndarray) -> list[np.ndarray]:
        """Predict the features of test trials, then those of new responses."""
        train = self.train
        tested = [self.betas[~train], *((one - self.mean) / self.sd for one in new)]
        predicted = ridge_predict(
            self.betas[train], self.features[self.shown[train]], np.concatenate(tested),
            self.runs[train],
        )
        return np.split(predicted, np.cumsum([len(one) for one in tested])[:-1])

    @property
    def names(self) -> np.ndarray:
        """Ids of the images."""
        return np.array([f"im{k:03d}" for k in range(len(self.features))])


def retrieval(
    signal: float, seed: int, n_images: int = 20, metric: str = "top1", similarity: str = "cosine"
) -> Outcome:
    """Predict features of images by ridge regression; find each among those tested.

    The true accuracy is that of the trained decoder on new sets of images in the same runs.
    """
    data, fresh = ImageTrials(signal, seed, n_images), []
    if signal:
        sets = data.rng.standard_normal((FRESH_SETS, n_images, N_DIMS))
        fresh = [data.respond(one)[0] for one in sets]
    predicted, *new = data.fit(*fresh)
    trials = Embedded(
        predicted, data.names[data.shown[~data.train]], data.runs[~data.train], data.features,
        data.names,
    )
    metrics = score_retrieval(trials, SETTINGS, data.rng).metrics
    unit = "single" if metric == "top1" else "averaged"
    row = metrics.query(
        f"metric == '{metric}' and direction == 'b2i' and unit == '{unit}' "
        f"and similarity == '{similarity}'"
    ).iloc[0]
    if not signal or metric != "top1" or similarity != "cosine":
        return limits(row)
    hits = []
    for one, features in zip(new, sets, strict=True):
        cosines = one @ (features / np.linalg.norm(features, axis=1, keepdims=True)).T
        hits.append(cosines.argmax(axis=1) == np.arange(n_images))
    return limits(row, truth=float(np.mean(hits)))


def images_across_kinds(seed: int, own_codes: float = 0.3, n_images: int = 20) -> Outcome:
    """Train on images of one kind of trials and find images in another, which has its own code.

    Tunings of the second kind are orthogonal to those of the first one and of the same size: the
    images of both kinds can be told apart, and nothing is shared.
    """
    data = ImageTrials(own_codes, seed, n_images)
    first = np.linalg.qr(data.tuning.T)[0]
    second = own_codes * np.random.default_rng([seed, 1]).standard_normal((N_DIMS, N_VOXELS))
    second -= second @ first @ first.T
    tested = data.features[data.shown[~data.train]]
    data.betas[~data.train] += tested @ (second - data.tuning) / data.sd
    (predicted,) = data.fit()
    metrics = score_retrieval(
        Embedded(predicted, data.names[data.shown[~data.train]], data.runs[~data.train],
                 data.features, data.names), SETTINGS, data.rng,
    ).metrics
    row = metrics.query(
        "metric == 'top1' and direction == 'b2i' and unit == 'single' and similarity == 'cosine'"
    ).iloc[0]
    return limits(row, truth=1 / n_images)


def image_comparison(seed: int) -> Outcome:
    """Compare retrieval by two models that are equally good."""
    rng = np.random.default_rng(seed)
    features, names = rng.standard_normal((40, N_DIMS)), np.array([f"im{k:02d}" for k in range(40)])
    shown = np.repeat(np.arange(40), 2)
    shared = features[shown] + rng.standard_normal((80, N_DIMS))
    pair = [
        Embedded(shared + rng.standard_normal((80, N_DIMS)), names[shown], np.repeat("r", 80),
                 features, names)
        for _ in range(2)
    ]
    return limits(compare_retrieval(*pair, SETTINGS, rng))


def encoding(signal: float, seed: int, n_images: int = 20) -> Outcome:
    """Predict responses from features by ridge regression; accuracy over test images.

    The true value is the mean correlation that this model has over many new images.
    """
    data = ImageTrials(signal, seed, n_images)
    train, many = data.train, data.rng.standard_normal((1000, N_DIMS))
    predicted = ridge_predict(
        data.features[data.shown[train]], data.betas[train],
        np.concatenate([data.features[N_TRAIN:], many]), data.runs[train],
    )
    raw, new = predicted[:n_images], predicted[n_images:]
    everything = np.ones(N_VOXELS, dtype=bool)
    model = Encoded(raw, raw, everything.astype(float), everything)
    measured = Measured(
        data.betas[~train], data.names[data.shown[~train]], data.runs[~train], None
    )
    table, _ = score_encoding(
        measured, {"ridge": model}, everything, settings=SETTINGS, seed=seed
    )
    row = table.query("metric == 'correlation' and voxels == 'region'").iloc[0]
    # Two responses to each new image are averaged, as for the images tested.
    answers = (data.respond(many)[0] + data.respond(many, first=1)[0]) / 2
    truth = [np.corrcoef(a, b)[0, 1] for a, b in zip(new.T, answers.T, strict=True)]
    return limits(row, truth=float(np.nan_to_num(truth).mean()))


def encoder_comparison(seed: int, n_images: int = 20) -> Outcome:
    """Compare two encoders that are equally good."""
    rng = np.random.default_rng(seed)
    signal = rng.standard_normal((n_images, N_VOXELS))
    measured = Measured(
        signal + rng.standard_normal(signal.shape),
        np.array([f"i{k:02d}" for k in range(n_images)]), np.repeat("r", n_images), None,
    )
    everything = np.ones(N_VOXELS, dtype=bool)
    raw = [signal + rng.standard_normal(signal.shape) for _ in range(2)]
    models = {name: Encoded(one, one, np.ones(N_VOXELS), everything)
              for name, one in zip("ab", raw, strict=True)}
    table = compare_encoders(
        measured, models, everything, (("a", "b", ""),), settings=SETTINGS, seed=seed
    )
    return limits(table.iloc[0])


def participants(
    signal: float, seed: int, metric: str = "balanced_accuracy", n_people: int = 40
) -> Outcome:
    """Cross-validate ridge regression over participants of two classes, 24 and 16."""
    rng, n_rounds, n_splits = np.random.default_rng(seed), 3, 5
    classes = rng.permutation((np.arange(n_people) < 0.4 * n_people).astype(int))
    pattern = np.random.default_rng(0).standard_normal(60)
    features = rng.standard_normal((n_people, 60)) + signal * np.outer(classes, pattern)
    kernel = features @ features.T
    rounds = subject_folds(classes, n_splits, n_rounds, seed)
    scores = np.stack([score_people(kernel, classes, folds) for folds in rounds])
    n_permutations = FEW if signal else N_PERMUTATIONS
    labels, blocks = permute_people(classes, None, n_permutations, seed)
    null = np.stack([
        score_people(kernel, one, subject_folds(one, n_splits, 1, derive_seed(seed, "k", k))[0])
        for k, one in enumerate(labels)
    ])
    table, _ = score_subjects(
        scores, classes, n_splits=n_splits, model="ridge", settings=Evaluation(n_permutations=1),
        rng=rng, permuted=PermutedRounds(labels, null, blocks),
    )
    against = (permute_people(classes, None, N_PERMUTATIONS, seed + 1)[0] == scores[0].argmax(1))
    fixed = (scores[0].argmax(axis=1) == classes).mean()
    p_fixed = (1 + (against.mean(axis=1) >= fixed - 1e-9).sum()) / (1 + N_PERMUTATIONS)
    return limits(table.set_index("metric").loc[metric], fixed=p_fixed)


def score_people(kernel: np.ndarray, classes: np.ndarray, folds: np.ndarray) -> np.ndarray:
    """Return scores of both classes for held-out participants by kernel ridge, (n_people, 2)."""
    score = np.empty(len(classes))
    for fold in np.unique(folds):
        train, test = folds != fold, folds == fold
        # Classes have equal weight, so that the larger one is not preferred.
        wanted = np.where(classes[train] == 1, 1 / classes[train].mean(),
                          -1 / (1 - classes[train].mean()))
        penalty = np.trace(kernel) / len(kernel) * np.eye(train.sum())
        score[test] = kernel[np.ix_(test, train)] @ np.linalg.solve(
            kernel[np.ix_(train, train)] + penalty, wanted
        )
    return np.stack([-score, score], axis=1)


def prevalence(share: float, seed: int, kind: str = "global", n_people: int = 12) -> Outcome:
    """Test prevalence; a *share* of the participants carries information.

    With ``kind="majority"`` half of them do without signal, which is the border of that null.
    """
    rng = np.random.default_rng(seed)
    share = max(share, 0.5) if kind == "majority" else share
    carries = rng.random(n_people) < share
    values = rng.normal(0.5, 0.05, (n_people, N_PERMUTATIONS + 1))
    values[carries, 0] += 0.2
    found = permutation_prevalence(values[:, 0], values[:, 1:])
    return {"p": found.p_majority if kind == "majority" else found.p_global,
            "value": found.largest_rejected}


def effect(mean: float, seed: int, n_people: int = 12) -> Outcome:
    """Test the mean of decoder minus baseline over participants; differences are skewed."""
    rng = np.random.default_rng(seed)
    values = mean + 0.05 * (rng.exponential(size=n_people) - rng.exponential(size=n_people))
    found = group_effect(values, n_permutations=999, rng=rng)
    return {"p": found.p, "value": found.mean, "low": found.ci_low, "high": found.ci_high,
            "truth": mean}


def groups(difference: float, seed: int, n_people: int = 24) -> Outcome:
    """Compare two groups of participants within three sites that differ."""
    rng = np.random.default_rng(seed)
    site, group = np.arange(n_people) % 3, np.arange(n_people) // 3 % 2
    scores = 0.1 * site + difference * group + 0.05 * rng.standard_normal(n_people)
    found = associate(scores, group, n_permutations=199, rng=rng, blocks=site)
    return {"p": found.p, "value": found.value}
