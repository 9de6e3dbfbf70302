"""Decoding over time, and from each time to all others: temporal generalisation [1]_.

The classifier of :mod:`.regions` is fitted to the responses of training trials at one time from
the onset on, and tested on the responses of held-out trials at every time. Responses of each time
are z-scored by their own training trials, so that a pattern is found again whatever its height.

References
----------
.. [1] King and Dehaene (2014), Characterizing the dynamics of mental representations: the temporal
   generalization method, Trends in Cognitive Sciences 18:203.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from bids_decoder.evaluation.folds import assert_no_test
from bids_decoder.evaluation.search_maps import Accuracy
from bids_decoder.evaluation.time_scores import TimeFold
from bids_decoder.training.regions import Progress, decode_labels
from bids_decoder.training.search_labels import FoldLabels
from bids_decoder.training.searchlight import Fold
from bids_decoder.trials import Person

Sides = Callable[[int], tuple[Person, Person]]


@dataclass(frozen=True, eq=False)
class AccuracyAtTimes:
    """Balanced accuracy of test trials whose responses at all times follow each other.

    Parameters
    ----------
    accuracy : Accuracy
        Of the test trials.
    n_times : int
    """

    accuracy: Accuracy
    n_times: int

    def __call__(self, scores: np.ndarray, rows: slice) -> np.ndarray:
        """Return the share of one fold in balanced accuracy, (n_labellings, 1, n_times)."""
        parts = np.split(scores, self.n_times, axis=2)
        return np.stack([self.accuracy(part, rows) for part in parts], axis=-1)


def decode_times(
    sides: Sides, n_times: int, labels: FoldLabels, n_classes: int,
    progress: Progress | None = None,
) -> TimeFold:
    """Decode the labels of the test trials of a fold, from every time to every time.

    Parameters
    ----------
    sides : callable
        Returns training and test trials with the responses at the time of a number; the trials
        and their order are the same for all times.
    n_times : int
    labels : FoldLabels
        Labellings of these trials; the first one is true.
    n_classes : int
    progress : callable, optional
        Called with (times done, times in all).

    Returns
    -------
    TimeFold

    Raises
    ------
    LeakageError
        When a trial that is fitted is not a training trial.
    """
    test, everywhere = _join_tests(sides, n_times)
    n_test = len(test.trials)
    measure = AccuracyAtTimes(Accuracy(labels.test, labels.weights), n_times)
    voxels = [np.arange(everywhere.shape[1])]
    values, predicted, shrinkage = [], [], []
    for time in range(n_times):
        train = sides(time)[0]
        assert_no_test(train.trials, np.arange(len(train.trials)))
        fold = Fold(train.betas, everywhere, labels.train, n_classes)
        found = decode_labels(fold, voxels, "lda", measure)
        values.append(found.values[:, 0])
        predicted.append(found.predicted[0].reshape(n_times, n_test)[time])
        shrinkage.append(found.shrinkage[0])
        if progress is not None:
            progress(time + 1, n_times)
    return TimeFold(
        np.stack(values, axis=1), np.stack(predicted), test.target_rows, test.run_groups,
        np.array(shrinkage),
    )


def _join_tests(sides: Sides, n_times: int) -> tuple[Person, np.ndarray]:
    """Return the test trials, and their responses at all times, (n_times * n_test, n_voxels)."""
    first = sides(0)[1]
    # Filled time by time: a list of all times beside the joined array takes twice the memory.
    joined = np.empty((n_times, *first.betas.shape), dtype=first.betas.dtype)
    joined[0] = first.betas
    for time in range(1, n_times):
        joined[time] = sides(time)[1].betas
    return first, joined.reshape(-1, first.betas.shape[1])
