"""Score predictions of folds of stimuli: tables of metrics, predictions, comparisons."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from bids_decoder.analyses.decode.matches import MatchedFold, null_folds
from bids_decoder.analyses.decode.scoring import Scored, Scoring, nearest_stimuli
from bids_decoder.evaluation.identification import (
    FoldMatch,
    IdentificationScores,
    compare_identification,
    score_identification,
)
from bids_decoder.interfaces.heldout import Heldout
from bids_decoder.trials import Targets


@dataclass(frozen=True, eq=False)
class _StimulusFolds(Scoring):
    """Scores of predictions that were compared with the stimuli of their fold.

    Parameters
    ----------
    matches, nulls : sequence of MatchedFold
    """

    matches: Sequence[MatchedFold]
    nulls: Sequence[MatchedFold]

    def score(self, name: str) -> IdentificationScores:
        """Score identification by one model among the stimuli of each fold."""
        null = null_folds(self.nulls, name)
        least = max(self.nulls[0].least_p, 1 / (1 + len(null[0].averaged))) if null else np.nan
        scheme = self.nulls[0].exchange if self.nulls else {}
        return score_identification(self._matched(name), null, scheme, least, name)

    def compare(self, first: str, second: str) -> list[dict[str, Any]]:
        """Compare how well two models identify stimuli."""
        return [compare_identification(self._matched(first), self._matched(second))]

    def predictions(self) -> pd.DataFrame:
        """Return one row per test trial of all folds: the nearest stimuli of its fold."""
        tables = [nearest_stimuli(fold, self.targets) for fold in self.folds]
        return pd.concat(tables, ignore_index=True)

    def _matched(self, name: str) -> list[FoldMatch]:
        return [fold.models[name] for fold in self.matches]


def score_stimulus_folds(
    heldout: list[Heldout], folds: Sequence[MatchedFold], nulls: Sequence[MatchedFold],
    targets: Targets,
) -> Scored:
    """Score decoder and baselines on the same folds and permutations.

    Parameters
    ----------
    heldout : list of Heldout
        For the table of predictions.
    folds : sequence of MatchedFold
        The same folds, under the true pairing.
    nulls : sequence of MatchedFold
        Of the same folds, where all steps were fitted again on permuted stimuli.
    targets : Targets

    Returns
    -------
    Scored
        Nearest stimuli in the table of predictions are among those of the fold.
    """
    return _StimulusFolds(heldout, targets, folds, nulls).tables()
