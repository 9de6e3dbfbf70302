"""Scores of cross-decoding: one row of the matrix, kind by kind."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import NamedTuple

import numpy as np
import pandas as pd

from bids_decoder.analyses.cross.outputs import (
    METRICS,
    NULL_DISTRIBUTIONS,
    PREDICTED,
    PREDICTED_STIMULI,
)
from bids_decoder.config import Evaluation
from bids_decoder.evaluation.baselines import merge_random_draws
from bids_decoder.evaluation.classification import Heldout as HeldoutLabels
from bids_decoder.evaluation.classification import LabelScores, score_classification
from bids_decoder.evaluation.kinds import Row
from bids_decoder.evaluation.label_names import exchange_names
from bids_decoder.evaluation.multiple import is_headline
from bids_decoder.evaluation.nulls import find_exchange
from bids_decoder.evaluation.retrieval import RetrievalScores, score_retrieval
from bids_decoder.interfaces.heldout import Heldout
from bids_decoder.interfaces.null_predictions import FoldNulls, join_folds
from bids_decoder.trials import Targets

DECODER = "decoder"


class ScoredRow(NamedTuple):
    """Tables of :func:`score_row`."""

    metrics: pd.DataFrame
    predictions: pd.DataFrame
    nulls: pd.DataFrame


@dataclass(frozen=True, eq=False)
class _Cell:
    """What is known of the trials of one tested kind."""

    row: Row
    kind: str
    targets: Targets
    heldout: Heldout
    nulls: Sequence[FoldNulls]

    @property
    def is_crossed(self) -> bool:
        """Whether trials are tested by cross-validation within the training kind."""
        return self.row.crosses_own and self.kind == self.row.train

    @cached_property
    def own(self) -> Heldout:
        """Return the predictions of trials of this kind."""
        chosen = (self.heldout.trials["kind"] == self.kind).to_numpy()
        return Heldout(self.heldout.trials[chosen], {
            name: replace(model, values=model.values[chosen])
            for name, model in self.heldout.models.items()
        })

    def score(
        self, model: str, settings: Evaluation, seed: int
    ) -> LabelScores | RetrievalScores:
        """Score one model, with the permutations that all models share."""
        score = self._score_labels if self.targets.over_runs else self._score_stimuli
        return score(model, settings, seed)

    def _score_stimuli(self, model: str, settings: Evaluation, seed: int) -> RetrievalScores:
        # There is one fit. All kinds of a matrix have the same stimuli, and so the same pools.
        return score_retrieval(
            self.own.embedded(model, self.targets.ids), settings, np.random.default_rng(seed),
            training_mean=self.own.models[model].training_mean, model=model,
        )

    def labelled(self, model: str) -> HeldoutLabels:
        """Return the class scores of a model."""
        trials = self.own.trials
        return HeldoutLabels(
            self.own.models[model].values, trials["label"].to_numpy(str),
            tuple(self.row.classes), trials["run_group"].to_numpy(str),
            trials["fold"].astype(int).to_numpy(), trains_on_tested=self.is_crossed,
        )

    def _score_labels(self, model: str, settings: Evaluation, seed: int) -> LabelScores:
        return score_classification(
            self.labelled(model), settings=settings, rng=np.random.default_rng(seed), model=model,
            refitted=join_folds(list(self.nulls), model) if self.is_crossed else None,
        )

    def describe(self) -> dict[str, object]:
        """Return the columns of metrics that are the same for all models."""
        trials = self.own.trials
        return {
            "train": self.row.train, "test": self.kind,
            "n_train": round(trials["n_train"].astype(float).mean(), 1),
            "n_fits": trials["fold"].nunique(), "n_seen": int((trials["seen"] == "True").sum()),
        }


def score_row(
    row: Row, targets: Targets, heldout: Heldout, nulls: Sequence[FoldNulls],
    settings: Evaluation, seed: int,
) -> ScoredRow:
    """Score decoder and baselines on each tested kind.

    Parameters
    ----------
    row : Row
    targets : Targets
        Labels of the row, or stimuli.
    heldout : Heldout
        Class scores (vectors) of all tested trials, fit by fit; trials have their ``kind``.
    nulls : sequence of FoldNulls
        Of the training kind, where it is tested, in the order of folds.
    settings : Evaluation
    seed : int

    Returns
    -------
    metrics, predictions, nulls : DataFrame
        The last two are of the decoder only.
    """
    metrics, predictions, chance = [], [], []
    for kind in row.tests:
        cell = _Cell(row, kind, targets, heldout, nulls)
        scores = {name: cell.score(name, settings, seed) for name in heldout.models}
        first = scores[DECODER]
        table = merge_random_draws(pd.concat(
            [one.metrics for one in scores.values()], ignore_index=True
        ))
        metrics.append(table.assign(
            exchanged=first.nulls.scheme.get("ExchangedUnits"),
            p_names=_name_p_values(cell, table, settings, seed), **cell.describe(),
        ))
        predictions.append(_predictions(cell, first))
        drawn = first.nulls.table
        chance.append(drawn[is_headline(drawn, targets.kind)].assign(train=row.train, test=kind))
    return ScoredRow(
        pd.concat(metrics, ignore_index=True).reindex(columns=list(METRICS)),
        pd.concat(predictions, ignore_index=True).reindex(
            columns=list(PREDICTED if targets.over_runs else PREDICTED_STIMULI)
        ),
        pd.concat(chance, ignore_index=True).reindex(columns=list(NULL_DISTRIBUTIONS)),
    )


def _name_p_values(
    cell: _Cell, table: pd.DataFrame, settings: Evaluation, seed: int
) -> np.ndarray:
    """Return ``p_names`` of each row of a table of metrics; NaN where it is not computed."""
    found = np.full(len(table), np.nan)
    is_across = cell.targets.over_runs and cell.kind != cell.row.train
    if is_across and settings.n_permutations:
        held = cell.labelled(DECODER)
        tested = (table["model"] == DECODER) & (table["metric"] == "balanced_accuracy")
        found[tested] = exchange_names(
            held.true, held.guesses.first, find_exchange(held.true, held.runs, held.folds),
            settings.n_permutations, np.random.default_rng(seed),
        )
    return found


def _predictions(cell: _Cell, scores: LabelScores | RetrievalScores) -> pd.DataFrame:
    trials = cell.own.trials
    if not cell.targets.over_runs:
        found = scores.predictions[["rank_b2i", "top1", "pool_size"]].set_index(trials.index)
        return trials.join(found).assign(train=cell.row.train, test=cell.kind)
    guessed = scores.predictions["predicted_label"].to_numpy()
    return trials.assign(
        train=cell.row.train, test=cell.kind, predicted_label=guessed, fit=trials["fold"],
        correct=guessed == trials["label"].to_numpy(),
    )
