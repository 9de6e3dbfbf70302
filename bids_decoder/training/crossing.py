"""Decoder and baselines, fitted to one kind of trials and applied to another."""

from __future__ import annotations

import numpy as np

from bids_decoder.evaluation.baselines import run_baselines
from bids_decoder.evaluation.similarity import label_scores
from bids_decoder.training.decoders import Decoder, FitContext
from bids_decoder.training.refit import DECODER
from bids_decoder.trials import Person, Targets


def score_models(
    decoder: Decoder, train: Person, test: Person, targets: Targets, context: FitContext
) -> dict[str, np.ndarray]:
    """Fit the decoder and all baselines to training trials and score the test trials.

    Parameters
    ----------
    decoder : Decoder
        Fitted without a pretrained model, which may have learned from trials of both kinds.
    train, test : Person
    targets : Targets
        Categories.
    context : FitContext

    Returns
    -------
    dict of str to ndarray, shape (n_test, n_classes)
        Class scores by model, the decoder first.
    """
    selection, model = decoder.fit(train, targets, None, context)
    scores = label_scores(decoder.predict(model, test.betas), decoder.gallery(model, targets))
    return {
        DECODER: scores,
        **run_baselines(train, test, targets, selection.mask, seed=context.seed),
    }
