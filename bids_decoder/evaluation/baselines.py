"""Classical decoders that every result is compared with, fitted on the same split."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from sklearn.feature_selection import f_classif
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import LinearSVC

from bids_decoder.components import principal_components
from bids_decoder.errors import UsageError
from bids_decoder.evaluation.encoding import encoding_scores
from bids_decoder.evaluation.folds import assert_disjoint, assert_no_test
from bids_decoder.evaluation.ridge import ridge_predict
from bids_decoder.seeds import derive_seed
from bids_decoder.trials import Person, Targets

MAX_COMPONENTS = 256
N_RANDOM_DRAWS = 5

Voxels = np.ndarray | slice
Fit = Callable[[Person, Person, Targets, Voxels, int], np.ndarray]


def baseline_names(kind: str) -> tuple[str, ...]:
    """List the baselines for a kind of target (``Targets.kind``), in order."""
    ridge = ("ridge-mask", "ridge-all", "ridge-univariate")
    random = tuple(f"ridge-random-{draw}" for draw in range(1, N_RANDOM_DRAWS + 1))
    own = {"category": ("svm-mask", "svm-all"), "value": (MEAN,)}
    return (*ridge, *random, *own.get(kind, ()))


def run_baselines(
    train: Person, test: Person, targets: Targets, mask: np.ndarray, *, seed: int,
    names: Sequence[str] | None = None,
) -> dict[str, np.ndarray]:
    """Fit the classical decoders on training trials and predict the test trials.

    Parameters
    ----------
    train, test : Person
        Training and test trials of one participant; voxels in the same order.
    targets : Targets
        For images and features the ridge predicts principal components of the embeddings of
        the training stimuli; for categories, one-hot labels; for values, the standardised ones.
    mask : ndarray of bool, shape (n_voxels,)
        The decoder's voxels. As many are used by ``-univariate`` (best by
        cross-validated encoding score, or by ANOVA F for labels) and ``-random``.
    seed : int
        For the random voxels and the SVM.
    names : sequence of str, optional
        Some of :func:`baseline_names`; all by default.

    Returns
    -------
    dict of str to ndarray
        Per baseline the predicted embeddings or values, shape (n_test, n_dims), or class scores,
        shape (n_test, n_classes) in the order of ``targets.ids``. The random draws are predicted
        one by one: their mean would be an ensemble that uses more voxels. Score each, then
        use :func:`merge_random_draws`.

    Raises
    ------
    LeakageError
        When a trial of *train* is not a training trial, or is in *test*, or when an image
        is in both.
    UsageError
        For an unknown name, or an empty mask.
    """
    known = baseline_names(targets.kind)
    wanted = known if names is None else tuple(names)
    unknown = sorted(set(wanted) - set(known))
    if unknown or not mask.any():
        raise UsageError(
            f"baselines {', '.join(unknown)}" if unknown else "baselines on a mask",
            "no such baseline" if unknown else "the mask is empty",
            f"use some of {', '.join(known)}",
        )
    assert_sides(train, test, targets)
    predicted = {}
    for name in wanted:
        method, _, region = name.partition("-")
        voxels = _region(region, train, targets, mask, seed)
        fit: Fit = _METHODS[method]
        predicted[name] = fit(train, test, targets, voxels, derive_seed(seed, "baseline", name))
    return predicted


WHOLE = "ridge-all"
"""The baseline whose voxels do not depend on labels."""

MEAN = "mean"
"""The baseline of values that predicts the mean of the training trials."""


def ridge_of_labellings(
    train: Person, test: Person, targets: Targets, train_rows: np.ndarray
) -> np.ndarray:
    """Fit :data:`WHOLE` to many targets of the same trials with one decomposition.

    Parameters
    ----------
    train, test : Person
    targets : Targets
    train_rows : ndarray of int, shape (n_labellings, n_train)

    Returns
    -------
    ndarray, shape (n_labellings, n_test, n_dims)
        As :func:`run_baselines` returns for each labelling alone: every target has its own
        penalty, so that labellings only add targets.
    """
    assert_sides(train, test, targets)
    spaces = [coordinates(rows, targets) for rows in train_rows]
    wanted = np.hstack([space.scores for space in spaces])
    predicted = ridge_predict(train.betas, wanted, test.betas, train.run_groups)
    # Of vectors, the number of components may differ.
    ends = np.cumsum([space.scores.shape[1] for space in spaces])[:-1]
    parts = np.split(predicted, ends, axis=1)
    return np.stack([space.restore(part) for space, part in zip(spaces, parts, strict=True)])


def merge_random_draws(metrics: pd.DataFrame, column: str = "model") -> pd.DataFrame:
    """Replace the rows of models ``ridge-random-<k>`` by their mean, model ``ridge-random``.

    Parameters
    ----------
    metrics : DataFrame
        Columns as in :data:`.tables.METRIC_COLUMNS` or :data:`.comparison.COMPARISON_COLUMNS`.
    column : str
        With the names of the models.

    Returns
    -------
    DataFrame
        Values and limits are means over draws; p is twice the median p (at most 1), which is
        valid however the draws depend on each other.
    """
    drawn = metrics[column].str.fullmatch(r"ridge-random-\d+").to_numpy(dtype=bool)
    if not drawn.any():
        return metrics
    averaged = [c for c in ("value", "chance", "ci_low", "ci_high") if c in metrics]
    ps = [name for name in ("p", "p_tail") if name in metrics]
    keys = [name for name in metrics.columns if name not in (*averaged, column, *ps)]
    merged = (
        metrics[drawn].groupby(keys, dropna=False, sort=False)
        .agg({**dict.fromkeys(averaged, "mean"), **dict.fromkeys(ps, _joint_p)})
        .reset_index().assign(**{column: "ridge-random"})
    )
    return pd.concat([metrics[~drawn], merged[metrics.columns]], ignore_index=True)


def _joint_p(p: pd.Series) -> float:
    return float("nan") if p.isna().any() else min(1.0, 2 * float(p.median()))


def assert_sides(train: Person, test: Person, targets: Targets) -> None:
    """Check before a fit that training and test share no trial, nor, for stimuli, a stimulus.

    Raises
    ------
    LeakageError
    """
    assert_no_test(train.trials, np.arange(len(train.trials)))
    assert_disjoint(_trial_ids(train), _trial_ids(test))
    if not targets.over_runs:
        assert_disjoint(train.trials["stimulus"], test.trials["stimulus"])


def _trial_ids(person: Person) -> list[str]:
    pairs = zip(person.trials["run_group"], person.trials["trial"], strict=True)
    return [f"{run} trial {number}" for run, number in pairs]


def _region(
    name: str, train: Person, targets: Targets, mask: np.ndarray, seed: int
) -> Voxels:
    """Return the voxels of one baseline; all of them as a slice, which avoids a copy."""
    n_voxels, budget = len(mask), int(mask.sum())
    if name == "mask":
        return np.flatnonzero(mask)
    if name in ("all", ""):
        return slice(None)
    if name == "univariate":
        order = np.argsort(-univariate_scores(train, targets), kind="stable")
        return np.sort(order[:budget])
    rng = np.random.default_rng(derive_seed(seed, "baseline", "voxels", name))
    return np.sort(rng.choice(n_voxels, budget, replace=False))


def univariate_scores(train: Person, targets: Targets) -> np.ndarray:
    """Score each voxel by itself on training trials.

    Returns
    -------
    ndarray, shape (n_voxels,)
        Cross-validated encoding correlation, or the F of an analysis of variance over labels.
    """
    if targets.kind != "category":
        features = coordinates(train.target_rows, targets).scores
        return encoding_scores(train.betas, features, train.run_groups)
    varying = np.ptp(train.betas, axis=0) > 0
    scores = np.zeros(len(varying))
    scores[varying] = f_classif(np.asarray(train.betas)[:, varying], train.target_rows)[0]
    return np.nan_to_num(scores)


@dataclass(frozen=True, eq=False)
class Coordinates:
    """What ridge regression predicts for training trials, and the way back to target vectors.

    Parameters
    ----------
    scores : ndarray, shape (n_trials, n_components)
    components : ndarray, shape (n_components, n_dims)
    mean : ndarray, shape (n_dims,)
    """

    scores: np.ndarray
    components: np.ndarray
    mean: np.ndarray

    def restore(self, scores: np.ndarray) -> np.ndarray:
        """Return the target vectors (n, n_dims) that have these scores (n, n_components)."""
        return scores @ self.components + self.mean


def coordinates(rows: np.ndarray, targets: Targets) -> Coordinates:
    """Compute what ridge regression predicts, from the targets of training trials only.

    Parameters
    ----------
    rows : ndarray of int, shape (n_trials,)
        Row of the target of each training trial.
    targets : Targets

    Returns
    -------
    Coordinates
        Labels: one-hot vectors, whose predictions are divided by the frequency of the label, since
        balanced accuracy is the headline. Values: each column standardised over the trials.
        Others: principal components of the vectors of the stimuli.
    """
    return _COORDINATES.get(targets.kind, _components)(rows, targets)


def _onehot(rows: np.ndarray, targets: Targets) -> Coordinates:
    scores = np.eye(len(targets.ids))[rows]
    # The prediction of a label without training trials is 0, and stays so.
    frequency = np.maximum(scores.sum(axis=0), 1) / len(rows)
    return Coordinates(scores, np.diag(1 / frequency), np.zeros(len(frequency)))


def _standardised(rows: np.ndarray, targets: Targets) -> Coordinates:
    values = np.asarray(targets.vectors[rows], dtype=np.float64)
    mean, spread = values.mean(axis=0), values.std(axis=0)
    spread[spread == 0] = 1.0
    return Coordinates((values - mean) / spread, np.diag(spread), mean)


def _components(rows: np.ndarray, targets: Targets) -> Coordinates:
    rows, trial_rows = np.unique(rows, return_inverse=True)
    vectors = np.asarray(targets.vectors[rows])
    mean, axes, _ = principal_components(vectors)
    axes = axes[:MAX_COMPONENTS]
    scores = vectors @ axes.T - axes @ mean
    return Coordinates(scores[trial_rows], axes, mean)


_COORDINATES: dict[str, Callable[[np.ndarray, Targets], Coordinates]] = {
    "category": _onehot, "value": _standardised,
}


def _ridge(
    train: Person, test: Person, targets: Targets, voxels: Voxels, seed: int
) -> np.ndarray:
    space = coordinates(train.target_rows, targets)
    return space.restore(ridge_predict(
        train.betas[:, voxels], space.scores, test.betas[:, voxels], train.run_groups
    ))


def _mean(
    train: Person, test: Person, targets: Targets, voxels: Voxels, seed: int
) -> np.ndarray:
    mean = coordinates(train.target_rows, targets).mean
    return np.repeat(mean[None], len(test.betas), axis=0)


def _svm(
    train: Person, test: Person, targets: Targets, voxels: Voxels, seed: int
) -> np.ndarray:
    machine = make_pipeline(StandardScaler(), LinearSVC(C=1.0, random_state=seed))
    machine.fit(train.betas[:, voxels], train.target_rows)
    return scores_of_classes(machine, test.betas[:, voxels], len(targets.ids))


def scores_of_classes(machine: Any, betas: np.ndarray, n_classes: int) -> np.ndarray:
    """Return the score of every class for each trial by a fitted linear classifier.

    Parameters
    ----------
    machine : scikit-learn classifier
        Fitted to class numbers, with ``decision_function``.
    betas : ndarray, shape (n_trials, n_voxels)
    n_classes : int

    Returns
    -------
    ndarray, shape (n_trials, n_classes)
        Classes without training trials have the lowest score of all.
    """
    decision = machine.decision_function(betas)
    if decision.ndim == 1:
        decision = np.stack([-decision, decision], axis=1)
    scores = np.full((len(decision), n_classes), decision.min() - 1.0)
    scores[:, machine.classes_] = decision
    return scores


_METHODS: dict[str, Fit] = {"ridge": _ridge, "svm": _svm, MEAN: _mean}
