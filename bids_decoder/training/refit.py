"""The whole pipeline fitted again on permuted labels: what cross-validation gives by chance."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from bids_decoder.evaluation.baselines import WHOLE, ridge_of_labellings, run_baselines
from bids_decoder.evaluation.nulls import Exchange, find_exchange
from bids_decoder.evaluation.similarity import normalise
from bids_decoder.models.store import Model
from bids_decoder.training.decoders import Decoder, FitContext
from bids_decoder.trials import Person, Targets

DECODER = "decoder"


@dataclass(frozen=True, eq=False)
class PermutedFold:
    """One fold of cross-validation under permuted labels.

    Parameters
    ----------
    train, test : Person
    train_rows : ndarray of int, shape (n_permutations, n_train)
        Row of the permuted label of each training trial in the targets.
    test_rows : ndarray of int, shape (n_permutations, n_test)
    exchange : Exchange
        How labels were exchanged; the same in all folds.
    """

    train: Person
    test: Person
    train_rows: np.ndarray
    test_rows: np.ndarray
    exchange: Exchange


def permute_fold(
    train: Person, test: Person, n_permutations: int, rng: np.random.Generator
) -> PermutedFold:
    """Exchange the labels of all trials of a person, then deal them out to one fold.

    Parameters
    ----------
    train, test : Person
        All trials of the person; every fold of it, with the same *rng*, gets the same labels.
    n_permutations : int
    rng : numpy.random.Generator

    Returns
    -------
    PermutedFold
    """
    n_train = len(train.target_rows)
    trials = pd.concat([train.trials, test.trials], ignore_index=True)
    rows = np.concatenate([train.target_rows, test.target_rows])
    runs = trials["run_group"].to_numpy(dtype=str)
    # Folds hold the same trials in another order.
    order = np.lexsort((trials["trial"].to_numpy(dtype=int), runs))
    exchange = find_exchange(rows[order], runs[order])
    drawn = np.empty((n_permutations, len(rows)), dtype=rows.dtype)
    drawn[:, order] = exchange.draw(n_permutations, rng)
    return PermutedFold(train, test, drawn[:, :n_train], drawn[:, n_train:], exchange)


def refit_fold(
    decoder: Decoder, fold: PermutedFold, targets: Targets, pretrained: Model | None,
    context: FitContext, baselines: Sequence[str] = (),
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, np.ndarray]:
    """Select, fit and predict under each permutation, exactly as with the true labels.

    Parameters
    ----------
    decoder : Decoder
    fold : PermutedFold
    targets : Targets
        Categories.
    pretrained : Model or None
        Learned from other participants; it has not seen these labels, and stays.
    context : FitContext
        That of the true fit, with the same seed.
    baselines : sequence of str
        See :func:`~bids_decoder.evaluation.baselines.baseline_names`.
    progress : callable, optional
        Called with (permutations done, permutations in all).

    Returns
    -------
    dict of str to ndarray of float32, shape (n_permutations, n_test, n_classes)
        Scores of ``"decoder"`` and of each baseline.
    """
    context = replace(context, network=replace(context.network, prior="none"))
    shape = (*fold.test_rows.shape, len(targets.ids))
    found = {name: np.empty(shape, dtype=np.float32) for name in (DECODER, *baselines)}
    if WHOLE in baselines:
        found[WHOLE][:] = ridge_of_labellings(fold.train, fold.test, targets, fold.train_rows)
    others = [name for name in baselines if name != WHOLE]
    for number, rows in enumerate(fold.train_rows):
        train = replace(fold.train, target_rows=rows)
        selection, model = decoder.fit(train, targets, pretrained, context)
        predicted = decoder.predict(model, fold.test.betas)
        found[DECODER][number] = class_scores(predicted, decoder.gallery(model, targets))
        if others:
            classical = run_baselines(
                train, fold.test, targets, selection.mask, seed=context.seed, names=others
            )
            for name, scores in classical.items():
                found[name][number] = scores
        if progress is not None:
            progress(number + 1, len(fold.train_rows))
    return found


def class_scores(predicted: np.ndarray, gallery: np.ndarray) -> np.ndarray:
    """Compute the score of every class for every trial, (n_trials, n_classes)."""
    return np.asarray(predicted) @ normalise(gallery).T
