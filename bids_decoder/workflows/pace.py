"""Seconds that nodes take: as measured for nodes of one kind, else by a table."""

from __future__ import annotations

import re
from collections import Counter

Kind = tuple[str, str]
"""Stage, and name of the node without numbers."""

_USUAL = {
    "reconstruct": 18.0, "bias": 10.0, "pretrain": 7.0, "refit": 6.0, "bold_to_t1w": 6.0,
    "to_": 6.0, "motion": 3.0, "search_": 1.7, "to_person": 1.5, "reference": 1.5,
    "maps": 1.4, "resample": 1.4, "score": 1.3, "brain_mask": 1.1, "select": 1.0,
    "single_trial": 0.5,
}
"""Seconds of nodes whose names begin so, on raw data of the size of the demo."""
_OTHER = 0.05


def kind_of(stage: str, leaf: str) -> Kind:
    """Return the kind of a node.

    Examples
    --------
    >>> kind_of("preprocess", "motion_0") == kind_of("preprocess", "motion_12")
    True
    """
    return stage, re.sub(r"\d+", "", leaf)


class Pace:
    """What nodes that have ended took, and what others will take.

    Another thread may ask while nodes are recorded: each kind changes in one step.
    """

    def __init__(self) -> None:
        self._ended: dict[Kind, tuple[int, float]] = {}

    def record(self, kind: Kind, seconds: float) -> None:
        """Record a node that has ended."""
        number, before = self._ended.get(kind, (0, 0.0))
        self._ended[kind] = (number + 1, before + seconds)

    def seconds(self, waiting: Counter[Kind]) -> float:
        """Return the work of nodes that have not ended.

        Parameters
        ----------
        waiting : Counter
            Number of nodes of each kind.
        """
        scale = self._scale()
        return sum(number * self._of(kind, scale) for kind, number in list(waiting.items()))

    def one(self, kind: Kind) -> float:
        """Return the work of one node."""
        return self._of(kind, self._scale())

    def _of(self, kind: Kind, scale: float) -> float:
        number, seconds = self._ended.get(kind, (0, 0.0))
        return seconds / number if number else scale * _usual(kind)

    def _scale(self) -> float:
        """Return how much longer nodes take here than the table says."""
        ended = list(self._ended.items())
        usual = sum(number * _usual(kind) for kind, (number, _) in ended)
        return sum(seconds for _, (_, seconds) in ended) / usual if usual else 1.0


def _usual(kind: Kind) -> float:
    fitting = [begin for begin in _USUAL if kind[1].startswith(begin)]
    return _USUAL[max(fitting, key=len)] if fitting else _OTHER
