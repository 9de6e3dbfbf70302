"""The whole pipeline fitted again on permuted targets: what cross-validation gives by chance."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from bids_decoder.evaluation.baselines import (
    MEAN,
    WHOLE,
    baseline_names,
    coordinates,
    ridge_of_labellings,
    run_baselines,
)
from bids_decoder.evaluation.nulls import Exchange, find_exchange
from bids_decoder.evaluation.similarity import label_scores
from bids_decoder.models.store import Model
from bids_decoder.training.decoders import Decoder, FitContext
from bids_decoder.training.labellings import fits_in_batches, scores_of_labellings
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

    def part(self, first: int, count: int) -> PermutedFold:
        """Return the fold with *count* of the permutations, from number *first* on."""
        rows = slice(first, first + count)
        return replace(self, train_rows=self.train_rows[rows], test_rows=self.test_rows[rows])


def permute_fold(
    train: Person, test: Person, n_permutations: int, rng: np.random.Generator,
    numbers: np.ndarray | None = None,
) -> PermutedFold:
    """Exchange the labels or values of all trials of a person, then deal them out to one fold.

    Parameters
    ----------
    train, test : Person
        All trials of the person; every fold of it, with the same *rng*, gets the same labels.
    n_permutations : int
    rng : numpy.random.Generator
    numbers : ndarray, shape (n_ids, n_columns), optional
        ``Targets.numbers``: the values, where values are decoded.

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
    # Trials that are never test have no number.
    folds = trials["fold"].fillna(0).to_numpy(dtype=int)
    values = None if numbers is None else numbers[rows[order]]
    exchange = find_exchange(rows[order], runs[order], folds[order], values)
    drawn = np.empty((n_permutations, len(rows)), dtype=rows.dtype)
    drawn[:, order] = exchange.draw(n_permutations, rng)
    return PermutedFold(train, test, drawn[:, :n_train], drawn[:, n_train:], exchange)


def refit_fold(
    decoder: Decoder, fold: PermutedFold, targets: Targets, pretrained: Model | None,
    context: FitContext, progress: Callable[[int, int], None] | None = None,
) -> np.ndarray:
    """Select, fit and predict under each permutation, exactly as with the true labels.

    Parameters
    ----------
    decoder : Decoder
    fold : PermutedFold
    targets : Targets
        Categories or values.
    pretrained : Model or None
        Learned from other participants; it has not seen these labels, and stays.
    context : FitContext
        That of the true fit, with the same seed.
    progress : callable, optional
        Called with (permutations done, permutations in all).

    Returns
    -------
    ndarray of float32, shape (n_permutations, n_test, n_classes or n_columns)
        Class scores, or values. All permutations are fitted together where
        :func:`.labellings.fits_in_batches` says so, and one after the other elsewhere.
    """
    network, troi = replace(context.network, prior="none"), context.troi
    is_batched = decoder.name == network.decoder and fits_in_batches(targets.kind, network, troi)
    if pretrained is None and is_batched:
        return scores_of_labellings(
            fold.train, fold.test.betas, targets, fold.train_rows, network, troi, progress
        )
    context = replace(context, network=network)
    found = np.empty((*fold.test_rows.shape, targets.vectors.shape[1]), dtype=np.float32)
    for number, rows in enumerate(fold.train_rows):
        train = replace(fold.train, target_rows=rows)
        _, model = decoder.fit(train, targets, pretrained, context)
        predicted = decoder.predict(model, fold.test.betas)
        found[number] = predicted if targets.kind == "value" else label_scores(
            predicted, decoder.gallery(model, targets)
        )
        if progress is not None:
            progress(number + 1, len(fold.train_rows))
    return found


def refit_baselines(
    decoder: Decoder,
    fold: PermutedFold,
    targets: Targets,
    pretrained: Model | None,
    context: FitContext,
    n_one_by_one: int,
) -> dict[str, np.ndarray]:
    """Fit the baselines under each permutation, on the voxels of the decoder fitted to it.

    Parameters
    ----------
    decoder, fold, targets, pretrained, context
        As for :func:`refit_fold`.
    n_one_by_one : int
        Number of permutations for baselines that no closed form repeats: all but the mean, and
        ridge regression on all voxels, whose kernel does not depend on labels.

    Returns
    -------
    dict of str to ndarray, shape (n_permutations or n_one_by_one, n_test, n_classes or n_columns)
        By baseline.
    """
    names = baseline_names(targets.kind)
    whole = ridge_of_labellings(fold.train, fold.test, targets, fold.train_rows)
    closed = {WHOLE: whole.astype(np.float32)}
    if MEAN in names:
        means = np.stack([coordinates(rows, targets).mean for rows in fold.train_rows])
        closed[MEAN] = np.repeat(means[:, None], len(fold.test.betas), axis=1)
    found: dict[str, list[np.ndarray]] = {name: [] for name in names if name not in closed}
    for rows in fold.train_rows[:n_one_by_one]:
        train = replace(fold.train, target_rows=rows)
        mask = decoder.select(train, targets, pretrained, context).mask
        scores = run_baselines(
            train, fold.test, targets, mask, seed=context.seed, names=list(found)
        )
        for name, values in scores.items():
            found[name].append(values)
    shape = (-1, len(fold.test.betas), targets.vectors.shape[1])
    stacked = {name: np.array(values).reshape(shape) for name, values in found.items()}
    return closed | {name: values.astype(np.float32) for name, values in stacked.items()}
