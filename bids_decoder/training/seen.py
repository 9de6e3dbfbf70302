"""Record of the participants and stimuli of a pretraining, for the model card."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np

from bids_decoder.evaluation.folds import assert_no_test
from bids_decoder.trials import Person, Targets


class SeenPeople:
    """Record participants, numbers of trials and stimuli while participants are iterated."""

    def __init__(self) -> None:
        self.labels: list[str] = []
        self.n_trials: dict[str, int] = {}
        self.rows: set[int] = set()

    def watch(self, people: Iterable[Person]) -> Iterator[Person]:
        """Iterate over participants; raise LeakageError if a trial is not a training trial."""
        for person in people:
            assert_no_test(person.trials, np.arange(len(person.trials)))
            self.labels.append(person.label)
            self.n_trials[person.label] = len(person.trials)
            self.rows |= set(person.target_rows.tolist())
            yield person
            del person  # before the next one is loaded

    def stimuli(self, targets: Targets) -> list[str]:
        """Return the ids of the targets that occurred."""
        return [targets.ids[row] for row in sorted(self.rows)]
