"""Score held-out predictions of all folds: tables of metrics and predictions."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple, Protocol

import numpy as np
import pandas as pd

from bids_decoder.config import Evaluation
from bids_decoder.evaluation.baselines import MEAN, merge_random_draws
from bids_decoder.evaluation.classification import Heldout as HeldoutLabels
from bids_decoder.evaluation.classification import LabelScores, score_classification
from bids_decoder.evaluation.comparison import (
    COMPARISON_COLUMNS,
    VALUE_COMPARISON_COLUMNS,
    compare_labels,
)
from bids_decoder.evaluation.multiple import correct_scores
from bids_decoder.evaluation.retrieval import (
    RetrievalScores,
    compare_retrieval,
    score_retrieval,
)
from bids_decoder.evaluation.similarity import cosine_similarity, label_scores
from bids_decoder.evaluation.tables import Nulls, join_nulls
from bids_decoder.evaluation.values import (
    HeldoutValues,
    RefittedValues,
    ValueScores,
    compare_values,
    score_values,
)
from bids_decoder.interfaces.heldout import Heldout, Predicted
from bids_decoder.interfaces.null_predictions import FoldNulls, join_folds
from bids_decoder.training.ablations import PREFIX
from bids_decoder.trials import KINDS, Targets

N_BEST = 5
_TRIAL = ["run_group", "trial", "stimulus", "label", "split", "fold"]


class Scored(NamedTuple):
    """Tables of :func:`score_heldout`."""

    metrics: pd.DataFrame
    predictions: pd.DataFrame
    nulls: Nulls
    comparisons: pd.DataFrame


class _ModelScores(Protocol):
    """Tables of one model."""

    @property
    def metrics(self) -> pd.DataFrame: ...

    @property
    def nulls(self) -> Nulls: ...


@dataclass(frozen=True, eq=False)
class Scoring(ABC):
    """Scores of one kind of target; the subclasses know what is compared with what.

    Parameters
    ----------
    folds : list of Heldout
    targets : Targets
    """

    folds: list[Heldout]
    targets: Targets

    comparison_columns = tuple(COMPARISON_COLUMNS)

    @abstractmethod
    def score(self, name: str) -> _ModelScores:
        """Score one model."""

    @abstractmethod
    def compare(self, first: str, second: str) -> list[dict[str, Any]]:
        """Compare two models."""

    @abstractmethod
    def predictions(self) -> pd.DataFrame:
        """Return one row per test trial, of the decoder."""

    def tables(self) -> Scored:
        """Score all models, and compare the decoder with each baseline."""
        found = [self.score(name) for name in self.folds[0].models]
        metrics = merge_random_draws(pd.concat([one.metrics for one in found], ignore_index=True))
        return Scored(
            correct_scores(metrics, self.targets.kind), self.predictions(),
            join_nulls([one.nulls for one in found]), self._comparisons(),
        )

    def _comparisons(self) -> pd.DataFrame:
        rows = [
            {"first": "decoder", "second": name, **found}
            for name in self.folds[0].models if name != "decoder" and not name.startswith(PREFIX)
            for found in self.compare("decoder", name)
        ]
        table = pd.DataFrame(rows, columns=list(self.comparison_columns))
        return merge_random_draws(table, "second")


@dataclass(frozen=True, eq=False)
class _Predictions(Scoring):
    """Scores of predictions, and of those of the same trials with everything fitted again.

    Parameters
    ----------
    settings : Evaluation
    seed : int
    nulls : sequence of FoldNulls
    """

    settings: Evaluation
    seed: int
    nulls: Sequence[FoldNulls]

    @property
    def rng(self) -> np.random.Generator:
        """A new generator: every model has the same pools and permutations."""
        return np.random.default_rng(self.seed)

    @cached_property
    def trials(self) -> pd.DataFrame:
        """Test trials of all folds."""
        return pd.concat([fold.trials for fold in self.folds], ignore_index=True)

    @property
    def runs(self) -> np.ndarray:
        """Run of each test trial."""
        return self.trials["run_group"].to_numpy(str)

    @property
    def fold_of(self) -> np.ndarray:
        """Fold of each test trial; 1 for a fixed split."""
        return self.trials["fold"].replace("", "1").astype(int).to_numpy()

    def parts(self, name: str) -> list[Predicted]:
        """Return the predictions of one model, fold by fold."""
        return [fold.models[name] for fold in self.folds]


class _Labels(_Predictions):
    """Scores of decoded labels."""

    def score(self, name: str) -> LabelScores:
        """Score one model as a classifier."""
        return score_classification(
            self._heldout(name), settings=self.settings, rng=self.rng, model=name,
            refitted=join_folds(list(self.nulls), name),
        )

    def compare(self, first: str, second: str) -> list[dict[str, Any]]:
        """Compare which trials two models label correctly."""
        return [compare_labels(
            self._heldout(first), self._heldout(second),
            n_permutations=self.settings.n_permutations, rng=self.rng,
        )]

    def predictions(self) -> pd.DataFrame:
        """Return one row per test trial, with the label that the decoder chooses."""
        names = np.arange(len(self.targets.ids))
        scores = np.concatenate([class_scores(part) for part in self.parts("decoder")])
        table = _ranked(self.trials, scores, self.targets, names)
        return table.assign(predicted_label=table["top1"], correct=table["rank_b2i"] == 1)

    def _heldout(self, name: str) -> HeldoutLabels:
        return HeldoutLabels(
            np.concatenate([class_scores(part) for part in self.parts(name)]),
            self.trials["label"].to_numpy(str), self.targets.ids, self.runs, self.fold_of,
        )


class _Stimuli(_Predictions):
    """Scores of stimuli that are retrieved from a fixed set of test stimuli."""

    def score(self, name: str) -> RetrievalScores:
        """Score retrieval by one model, in both directions."""
        (fold,) = self.folds
        return score_retrieval(
            fold.embedded(name, self.targets.ids), self.settings, self.rng,
            training_mean=fold.models[name].training_mean, model=name,
        )

    def compare(self, first: str, second: str) -> list[dict[str, Any]]:
        """Compare the ranks that two models assign to the right stimuli."""
        (fold,) = self.folds
        models = (fold.embedded(model, self.targets.ids) for model in (first, second))
        return [compare_retrieval(*models, self.settings, self.rng)]

    def predictions(self) -> pd.DataFrame:
        """Return one row per test trial: the nearest stimuli, and the rank of the right one."""
        (fold,) = self.folds
        return nearest_stimuli(fold, self.targets)


class _Values(_Predictions):
    """Scores of predicted values; the reference is the mean of the training trials."""

    comparison_columns = tuple(VALUE_COMPARISON_COLUMNS)

    def score(self, name: str) -> ValueScores:
        """Score the values that one model predicts, column by column."""
        return score_values(
            self._heldout(name), settings=self.settings, rng=self.rng, model=name,
            refitted=self._refitted(name),
        )

    def compare(self, first: str, second: str) -> list[dict[str, Any]]:
        """Compare the errors of two models, column by column."""
        return compare_values(
            self._heldout(first), self._heldout(second),
            n_permutations=self.settings.n_permutations, rng=self.rng,
        )

    def predictions(self) -> pd.DataFrame:
        """Return one row per test trial: true and predicted values, and the training mean."""
        found, table = self._heldout("decoder"), self.trials[_TRIAL].copy()
        for number, name in enumerate(self.targets.columns):
            table[f"true_{name}"] = found.true[:, number]
            table[f"predicted_{name}"] = found.predicted[:, number]
            table[f"training_mean_{name}"] = found.reference[:, number]
        return table

    def _heldout(self, name: str) -> HeldoutValues:
        predicted, reference = (
            np.concatenate([part.values for part in self.parts(model)]).astype(np.float64)
            for model in (name, MEAN)
        )
        rows = self.targets.rows_of(self.trials["value"].to_numpy(str))
        return HeldoutValues(
            predicted, reference, rows, self.targets.vectors, self.targets.columns, self.runs,
            self.fold_of,
        )

    def _refitted(self, name: str) -> RefittedValues | None:
        found, means = (join_folds(list(self.nulls), model) for model in (name, MEAN))
        if found is None or means is None:
            return None
        reference = means.scores[:len(found.scores)]
        return RefittedValues(found.true, found.scores, reference, found.exchange)


_SCORINGS: dict[str, type[_Predictions]] = {
    "category": _Labels, "image": _Stimuli, "features": _Stimuli, "value": _Values,
}


def score_heldout(
    folds: list[Heldout], targets: Targets, settings: Evaluation, seed: int,
    nulls: Sequence[FoldNulls] = (),
) -> Scored:
    """Score decoder and baselines on the same trials, pools and permutations.

    Parameters
    ----------
    folds : list of Heldout
        One for a fixed split, several for cross-validation over runs.
    targets : Targets
    settings : Evaluation
    seed : int
        Every model has a generator with this seed.
    nulls : sequence of FoldNulls
        Of the same folds, where all steps were fitted again on permuted labels.

    Returns
    -------
    metrics, predictions, comparisons : DataFrame
        Long table over models; one row per test trial, of the decoder only; the decoder against
        each baseline.
    nulls : Nulls
        Of all models.
    """
    return _SCORINGS[targets.kind](folds, targets, settings, seed, nulls).tables()


def nearest_stimuli(fold: Heldout, targets: Targets) -> pd.DataFrame:
    """Return one row per test trial of a fold: the nearest of its stimuli, rank of the right one.

    Parameters
    ----------
    fold : Heldout
    targets : Targets
        Images or features.
    """
    shown = targets.rows_of(np.unique(fold.trials["stimulus"].to_numpy(str)))
    part = fold.models["decoder"]
    scores = cosine_similarity(part.values, part.gallery[shown])
    table = _ranked(fold.trials, scores, targets, shown)
    return table.assign(predicted_label=None, correct=table["rank_b2i"] == 1)


def class_scores(result: Predicted) -> np.ndarray:
    """Return the score of every target for every trial, (n_trials, n_ids)."""
    return label_scores(result.values, result.gallery)


def _ranked(
    trials: pd.DataFrame, scores: np.ndarray, targets: Targets, candidates: np.ndarray
) -> pd.DataFrame:
    """Return one row per test trial: stimulus, nearest targets, rank of the right one."""
    truth = trials[KINDS[targets.kind].column].to_numpy(str)
    names = np.array(targets.ids)[candidates]
    best = names[np.argsort(-scores, axis=1, kind="stable")]
    table = trials[_TRIAL].copy()
    table["rank_b2i"] = 1 + (best == truth[:, None]).argmax(axis=1)
    for place in range(min(N_BEST, len(names))):
        table[f"top{place + 1}"] = best[:, place]
    return table
