"""Scores of applied decoders, where it is known what was shown."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from bids_decoder.config import Evaluation
from bids_decoder.evaluation.classification import Heldout, LabelScores, score_classification
from bids_decoder.evaluation.multiple import correct_scores
from bids_decoder.evaluation.retrieval import Embedded, RetrievalScores, score_retrieval
from bids_decoder.trials import Targets


@dataclass(frozen=True, eq=False)
class KnownTrials:
    """Predictions for new trials of which it is known what was shown.

    Parameters
    ----------
    embedding : ndarray, shape (n_trials, n_dims)
    scores : ndarray, shape (n_trials, n_candidates)
    truth : ndarray of str, shape (n_trials,)
        Label or stimulus.
    runs : ndarray of str, shape (n_trials,)
    candidates : Targets
        Answers among which the decoder chose.
    gallery : ndarray, shape (n_candidates, n_dims)
        The candidates in the space of the predictions.
    """

    embedding: np.ndarray
    scores: np.ndarray
    truth: np.ndarray
    runs: np.ndarray
    candidates: Targets
    gallery: np.ndarray

    @property
    def are_enough(self) -> bool:
        """Whether two or more answers occur, so that exchanging them changes something."""
        return len(set(self.truth.tolist())) > 1

    def embedded(self) -> Embedded:
        """Return the predictions to search what was shown by."""
        return Embedded(
            self.embedding, self.truth, self.runs, self.gallery, np.array(self.candidates.ids)
        )


def score_known(
    known: KnownTrials, settings: Evaluation, seed: int
) -> LabelScores | RetrievalScores | None:
    """Score labels, or retrieval among the stimuli that were shown.

    No prediction depends on what was shown, so that exchanging it against fixed predictions is
    exact.

    Parameters
    ----------
    known : KnownTrials
    settings : Evaluation
    seed : int

    Returns
    -------
    LabelScores, RetrievalScores or None
        With corrected p-values; None where fewer than two different answers occur.
    """
    if not known.are_enough:
        return None
    rng, kind = np.random.default_rng(seed), known.candidates.kind
    found: LabelScores | RetrievalScores
    if kind == "category":
        found = score_classification(
            Heldout(
                known.scores, known.truth, known.candidates.ids, known.runs,
                np.ones(len(known.truth), dtype=int), trains_on_tested=False,
            ),
            settings=settings, rng=rng,
        )
    else:
        found = score_retrieval(known.embedded(), settings, rng)
    return found._replace(metrics=correct_scores(found.metrics, kind))
