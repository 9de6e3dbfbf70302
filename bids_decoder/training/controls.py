"""Decoding from one confound alone, on the split of the decoder and permuted as it is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from sklearn.naive_bayes import GaussianNB

from bids_decoder.evaluation.baselines import WHOLE, ridge_of_labellings, run_baselines
from bids_decoder.evaluation.folds import assert_no_test, is_crossed
from bids_decoder.evaluation.identification import FoldMatch
from bids_decoder.training.refit import permute_fold
from bids_decoder.training.refit_stimuli import match_vectors, permute_stimuli, refit_ridge
from bids_decoder.trials import Person, Targets

SMOOTHING = 0.01
"""Share of the variance of a confound that is added to its variance within classes; a confound that
is the same in all trials of a class has none."""


class ControlFold(NamedTuple):
    """What a confound alone says about the test trials of one fold.

    Parameters
    ----------
    scores : ndarray, shape (n_test, n_dims)
        Class scores, or predicted target vectors or values.
    null_rows : ndarray of int or None, shape (n_permutations, n_test)
        Permuted classes or values of the test trials.
    null_scores : ndarray or None, shape (n_permutations, n_test, n_classes or n_columns)
    null_means : ndarray or None, shape (n_permutations, n_columns)
        Means of the permuted values of the training trials; None for other targets.
    exchange : dict
        How labels, values or stimuli were permuted; empty without permutations.
    match : FoldMatch or None
        In folds of stimuli: the predictions beside the stimuli of the fold.
    null_match : FoldMatch or None
        The same under each permutation of the stimuli.
    least_p : float
        Smallest p-value possible.
    """

    scores: np.ndarray
    null_rows: np.ndarray | None = None
    null_scores: np.ndarray | None = None
    null_means: np.ndarray | None = None
    exchange: Mapping[str, Any] = {}
    match: FoldMatch | None = None
    null_match: FoldMatch | None = None
    least_p: float = np.nan


def control_fold(
    train: Person, test: Person, targets: Targets, n_refits: int, permutation_seed: int,
    together: Sequence[Sequence[str]] = (),
) -> ControlFold:
    """Decode the test trials of one fold from a confound.

    Parameters
    ----------
    train, test : Person
        Their ``betas`` are the regressors of one confound.
    targets : Targets
        Labels are decoded with Gaussian naive Bayes, with equal priors: unlike a linear classifier
        it finds a class whose values lie between those of others, and one that only varies more.
        Values, and vectors of images and features, are predicted with the ridge regression of the
        baselines.
    n_refits : int
        Permutations of labels or values on which everything is fitted again; 0 on one test set.
    permutation_seed : int
        The same in all folds.
    together : sequence of sequence of str
        Stimuli that folds of stimuli do not separate.

    Returns
    -------
    ControlFold
    """
    assert_no_test(train.trials, np.arange(len(train.trials)))
    rng = np.random.default_rng(permutation_seed)
    if targets.kind == "category":
        return _control_labels(train, test, targets, n_refits, rng)
    everything = np.ones(train.betas.shape[1], dtype=bool)
    found = run_baselines(train, test, targets, everything, seed=0, names=(WHOLE,))[WHOLE]
    if targets.kind == "value":
        return _control_values(found, train, test, targets, n_refits, rng)
    if not is_crossed(train.trials):
        return ControlFold(found)
    match = match_vectors(found, train, test, targets)
    if not n_refits:
        return ControlFold(found, match=match)
    drawn = permute_stimuli(train, test, together, n_refits, rng)
    return ControlFold(
        found, exchange=drawn.exchange.describe(), match=match,
        null_match=refit_ridge(drawn, targets), least_p=drawn.exchange.smallest_p(n_refits),
    )


def _control_labels(
    train: Person, test: Person, targets: Targets, n_refits: int, rng: np.random.Generator
) -> ControlFold:
    n_classes = len(targets.ids)
    scores = classify(train.betas, train.target_rows, test.betas, n_classes)
    if not n_refits:
        return ControlFold(scores)
    drawn = permute_fold(train, test, n_refits, rng)
    nulls = [classify(train.betas, rows, test.betas, n_classes) for rows in drawn.train_rows]
    return ControlFold(
        scores, drawn.test_rows, np.stack(nulls), exchange=drawn.exchange.describe()
    )


def _control_values(
    found: np.ndarray, train: Person, test: Person, targets: Targets, n_refits: int,
    rng: np.random.Generator,
) -> ControlFold:
    if not n_refits:
        return ControlFold(found)
    drawn = permute_fold(train, test, n_refits, rng, targets.numbers)
    return ControlFold(
        found, drawn.test_rows, ridge_of_labellings(train, test, targets, drawn.train_rows),
        targets.vectors[drawn.train_rows].mean(axis=1), drawn.exchange.describe(),
    )


def classify(
    train: np.ndarray, classes: np.ndarray, test: np.ndarray, n_classes: int
) -> np.ndarray:
    """Fit Gaussian naive Bayes and return the log probability of each class.

    Parameters
    ----------
    train : ndarray, shape (n_train, n_regressors)
    classes : ndarray of int, shape (n_train,)
    test : ndarray, shape (n_test, n_regressors)
    n_classes : int

    Returns
    -------
    ndarray, shape (n_test, n_classes)
        Up to a constant for each trial. Classes without training trials have the lowest value;
        all are equal where the confound does not vary over training trials.
    """
    present = np.unique(classes)
    if not train.var(axis=0).max() > 0:
        return np.zeros((len(test), n_classes))
    priors = np.full(len(present), 1 / len(present))
    model = GaussianNB(priors=priors, var_smoothing=SMOOTHING).fit(train, classes)
    likelihood = model.predict_joint_log_proba(test)
    scores = np.full((len(test), n_classes), likelihood.min() - 1.0)
    scores[:, model.classes_] = likelihood
    return scores
