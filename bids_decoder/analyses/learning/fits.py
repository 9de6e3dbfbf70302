"""Decoders fitted to subsets of the training trials, and what they say about the test trials."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bids_decoder.evaluation.baselines import assert_sides
from bids_decoder.evaluation.learning_curve import label_hits, stimulus_hits
from bids_decoder.evaluation.similarity import label_scores
from bids_decoder.interfaces.heldout import Predicted
from bids_decoder.interfaces.predicting import predict_baselines, predict_test
from bids_decoder.models.store import Model
from bids_decoder.training.ablations import PREFIX
from bids_decoder.training.decoders import Decoder, FitContext
from bids_decoder.trials import Person, Targets

SCRATCH = f"{PREFIX}pretraining"

BASELINES = {"category": ("ridge-mask", "ridge-all", "svm-mask")}
"""By kind of target; for others those of :data:`_OTHERS`."""

_OTHERS = ("ridge-mask", "ridge-all")

Found = dict[str, dict[str, np.ndarray]]
"""Hits of the test trials, (n_test,), by model and metric."""


@dataclass(frozen=True, eq=False)
class SubsetHits:
    """Hits of the test trials of one fold after training on the subsets of one draw.

    Parameters
    ----------
    fold, draw : int
    values : dict of (str, str) to ndarray, shape (n_sizes, n_test)
        By model and metric.
    labels, clusters : ndarray of str, shape (n_test,)
        Label (one for all where stimuli are decoded), and run or stimulus of each trial.
    n_train : ndarray of int, shape (n_sizes,)
        Training trials.
    """

    fold: int
    draw: int
    values: dict[tuple[str, str], np.ndarray]
    labels: np.ndarray
    clusters: np.ndarray
    n_train: np.ndarray


def hits_of_subset(
    decoder: Decoder, sides: tuple[Person, Person], targets: Targets, pretrained: Model | None,
    context: FitContext, pool_size: int,
) -> Found:
    """Fit the decoder and the baselines to some training trials, and score the test trials.

    Parameters
    ----------
    decoder : Decoder
    sides : tuple of Person
        Training trials of a subset of runs, and test trials, both z-scored with statistics of the
        former.
    targets : Targets
    pretrained : Model or None
        Where there is one, the decoder is fitted without it, too.
    context : FitContext
    pool_size : int

    Returns
    -------
    dict
        See :data:`Found`.

    Raises
    ------
    LeakageError
        When a test trial is among the training trials.
    """
    train, test = sides
    assert_sides(train, test, targets)
    selection, model = decoder.fit(train, targets, pretrained, context)
    predicted = {"decoder": predict_test(decoder, model, train, test, targets)}
    if pretrained is not None:
        _, alone = decoder.fit(train, targets, None, context)
        predicted[SCRATCH] = predict_test(decoder, alone, train, test, targets)
    predicted |= predict_baselines(
        train, test, targets, selection.mask, context.seed, BASELINES.get(targets.kind, _OTHERS)
    )
    return {name: _hits(found, test, targets, pool_size) for name, found in predicted.items()}


def _hits(
    found: Predicted, test: Person, targets: Targets, pool_size: int
) -> dict[str, np.ndarray]:
    if targets.kind == "category":
        return label_hits(label_scores(found.values, found.gallery), test.target_rows)
    return stimulus_hits(found.values, found.gallery, test.target_rows, pool_size)


def stack_sizes(
    fold: int, draw: int, sizes: Sequence[Found], sides: Sequence[tuple[Person, Person]],
    targets: Targets,
) -> SubsetHits:
    """Join what :func:`hits_of_subset` found for subsets of one draw, smallest first."""
    test = sides[0][1].trials
    is_category = targets.kind == "category"
    labels = test["label"].to_numpy(str) if is_category else np.full(len(test), "all")
    clusters = test["run_group" if is_category else "stimulus"].to_numpy(str)
    values = {
        (model, metric): np.stack([found[model][metric] for found in sizes])
        for model, hits in sizes[0].items() for metric in hits
    }
    n_train = np.array([len(train.trials) for train, _ in sides])
    return SubsetHits(fold, draw, values, labels, clusters, n_train)


def save_hits(path: Path, hits: SubsetHits) -> Path:
    """Write hits as npz without pickles."""
    values: dict[str, Any] = {f"hits/{a}/{b}": array for (a, b), array in hits.values.items()}
    np.savez(
        path, fold=hits.fold, draw=hits.draw, labels=hits.labels, clusters=hits.clusters,
        n_train=hits.n_train, **values,
    )
    return path


def read_hits(path: Path | str) -> SubsetHits:
    """Read what :func:`save_hits` wrote."""
    with np.load(path, allow_pickle=False) as content:
        arrays = dict(content)
    return SubsetHits(
        int(arrays["fold"]), int(arrays["draw"]), dict(_named(arrays)), arrays["labels"],
        arrays["clusters"], arrays["n_train"],
    )


def _named(arrays: dict[str, np.ndarray]) -> Iterator[tuple[tuple[str, str], np.ndarray]]:
    for key, array in arrays.items():
        if key.startswith("hits/"):
            _, model, metric = key.split("/")
            yield (model, metric), array
