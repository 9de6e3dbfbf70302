"""Who and what went into pretraining, for the card of the model."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np

from bids_decoder.evaluation.splits import assert_no_test
from bids_decoder.trials import Person, Targets


class SeenPeople:
    """Collects who and what went into pretraining while the people pass by."""

    def __init__(self) -> None:
        self.labels: list[str] = []
        self.n_trials: dict[str, int] = {}
        self.rows: set[int] = set()

    def watch(self, people: Iterable[Person]) -> Iterator[Person]:
        """Pass the people on; every trial of theirs must be a training trial."""
        for person in people:
            assert_no_test(person.trials, np.arange(len(person.trials)))
            self.labels.append(person.label)
            self.n_trials[person.label] = len(person.trials)
            self.rows |= set(person.target_rows.tolist())
            yield person

    def stimuli(self, targets: Targets) -> list[str]:
        """Give the ids of the targets that were met."""
        return [targets.ids[row] for row in sorted(self.rows)]
