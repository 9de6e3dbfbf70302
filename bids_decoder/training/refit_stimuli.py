"""The whole pipeline fitted again on permuted stimuli: what folds of stimuli give by chance."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import pandas as pd

from bids_decoder.evaluation.baselines import (
    WHOLE,
    baseline_names,
    ridge_of_labellings,
    run_baselines,
)
from bids_decoder.evaluation.identification import (
    FoldMatch,
    Prediction,
    match_fold,
    stack_matches,
)
from bids_decoder.evaluation.nulls import exchange_stimuli
from bids_decoder.models.store import Model
from bids_decoder.training.decoders import Decoder, FitContext
from bids_decoder.training.refit import PermutedFold
from bids_decoder.trials import Person, Targets


def permute_stimuli(
    train: Person, test: Person, together: Sequence[Sequence[str]], n_permutations: int,
    rng: np.random.Generator,
) -> PermutedFold:
    """Exchange stimuli among the responses of a person, then deal them out to one fold.

    All trials of a stimulus get the vector of the same other one, so that training and test have
    no stimulus in common under any permutation.

    Parameters
    ----------
    train, test : Person
        All trials of the person; every fold of it, with the same *rng*, gets the same pairing.
    together : sequence of sequence of str
        See :func:`.nulls.exchange_stimuli`.
    n_permutations : int
    rng : numpy.random.Generator

    Returns
    -------
    PermutedFold
    """
    trials = pd.concat([train.trials, test.trials], ignore_index=True)
    names = trials["stimulus"].to_numpy(dtype=str)
    runs = trials["run_group"].to_numpy(dtype=str)
    # Folds hold the same trials in another order.
    order = np.lexsort((trials["trial"].to_numpy(dtype=int), runs))
    exchange, members = exchange_stimuli(names[order], runs[order], together)
    _, first, stimulus_of = np.unique(names, return_index=True, return_inverse=True)
    row_of = np.concatenate([train.target_rows, test.target_rows])[first]
    place = np.empty(len(first), dtype=int)
    for group in members:
        kept = group[group >= 0]
        place[kept] = np.arange(len(kept))
    groups = np.empty((n_permutations, len(names)), dtype=int)
    groups[:, order] = exchange.draw(n_permutations, rng)
    rows = row_of[members[groups, place[stimulus_of]]]
    n_train = len(train.target_rows)
    return PermutedFold(train, test, rows[:, :n_train], rows[:, n_train:], exchange)


def refit_decoder(
    decoder: Decoder, fold: PermutedFold, targets: Targets, pretrained: Model | None,
    context: FitContext, progress: Callable[[int, int], None] | None = None,
) -> FoldMatch:
    """Select, fit and predict under each permutation, exactly as with the true stimuli.

    Parameters
    ----------
    decoder : Decoder
    fold : PermutedFold
        Of :func:`permute_stimuli`.
    targets : Targets
        Vectors of images or features.
    pretrained : Model or None
    context : FitContext
        That of the true fit, with the same seed.
    progress : callable, optional
        Called with (permutations done, permutations in all).

    Returns
    -------
    FoldMatch
        One pairing for each permutation.
    """
    context, found = replace(context, network=replace(context.network, prior="none")), []
    for rows, test_rows in zip(fold.train_rows, fold.test_rows, strict=True):
        train = replace(fold.train, target_rows=rows)
        test = replace(fold.test, target_rows=test_rows)
        _, model = decoder.fit(train, targets, pretrained, context)
        embedding = decoder.predict(model, test.betas)
        found.append(match_predictions(
            embedding, decoder.gallery(model, targets), decoder.feature_vectors(model, embedding),
            train, test, targets,
        ))
        if progress is not None:
            progress(len(found), len(fold.train_rows))
    return stack_matches(found)


def match_predictions(
    values: np.ndarray, gallery: np.ndarray, features: np.ndarray, train: Person, test: Person,
    targets: Targets,
) -> FoldMatch:
    """Compare the predictions of one fold with its stimuli.

    Parameters
    ----------
    values : ndarray, shape (n_test, n_dims)
        Predicted embeddings.
    gallery : ndarray, shape (n_ids, n_dims)
        All targets in the same space.
    features : ndarray, shape (n_test, n_features)
        Predicted target vectors, less the mean of the training stimuli.
    train, test : Person
        Of which the rows of targets are read.
    targets : Targets
    """
    _, first, stimulus_of = np.unique(
        test.trials["stimulus"].to_numpy(dtype=str), return_index=True, return_inverse=True
    )
    rows = test.target_rows[first]
    mean = targets.vectors[np.unique(train.target_rows)].mean(axis=0)
    found = Prediction(values, gallery[rows], features, targets.vectors[rows] - mean)
    return match_fold(found, stimulus_of)


def match_vectors(
    predicted: np.ndarray, train: Person, test: Person, targets: Targets
) -> FoldMatch:
    """Compare predicted target vectors (n_test, n_dims) with the stimuli of the fold."""
    mean = targets.vectors[np.unique(train.target_rows)].mean(axis=0)
    values = predicted - mean
    return match_predictions(values, targets.vectors - mean, values, train, test, targets)


def refit_ridge(fold: PermutedFold, targets: Targets) -> FoldMatch:
    """Fit ridge regression on all voxels under each permutation, with one decomposition."""
    predicted = ridge_of_labellings(fold.train, fold.test, targets, fold.train_rows)
    return stack_matches([
        match_vectors(
            values, replace(fold.train, target_rows=rows),
            replace(fold.test, target_rows=test_rows), targets,
        )
        for values, rows, test_rows in zip(
            predicted, fold.train_rows, fold.test_rows, strict=True
        )
    ])


def refit_vector_baselines(
    decoder: Decoder, fold: PermutedFold, targets: Targets, pretrained: Model | None,
    context: FitContext, n_one_by_one: int,
) -> dict[str, FoldMatch]:
    """Fit the baselines under each permutation, on the voxels of the decoder fitted to it.

    Parameters
    ----------
    decoder, fold, targets, pretrained, context
        As for :func:`refit_decoder`.
    n_one_by_one : int
        Number of permutations for all baselines but ridge regression on all voxels.

    Returns
    -------
    dict of str to FoldMatch
        By baseline; those for which there is no permutation are left out.
    """
    found: dict[str, list[FoldMatch]] = {}
    names = [name for name in baseline_names(targets.kind) if name != WHOLE]
    for rows, test_rows in zip(
        fold.train_rows[:n_one_by_one], fold.test_rows[:n_one_by_one], strict=True
    ):
        train = replace(fold.train, target_rows=rows)
        test = replace(fold.test, target_rows=test_rows)
        mask = decoder.select(train, targets, pretrained, context).mask
        scores = run_baselines(train, test, targets, mask, seed=context.seed, names=names)
        for name, values in scores.items():
            found.setdefault(name, []).append(match_vectors(values, train, test, targets))
    stacked = {name: stack_matches(parts) for name, parts in found.items()}
    return {WHOLE: refit_ridge(fold, targets), **stacked}
