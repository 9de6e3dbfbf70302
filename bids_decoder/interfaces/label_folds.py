"""Inputs of nodes that decode labels in one fold, and the labels they exchange."""

from __future__ import annotations

import numpy as np
from nipype.interfaces.base import traits

from bids_decoder.interfaces.responses import ResponsesInputSpec
from bids_decoder.training.search_labels import FoldLabels, label_fold
from bids_decoder.trials import Person


class LabelFoldInputSpec(ResponsesInputSpec):
    """Inputs: responses, the fold, and how often labels are exchanged."""

    fold = traits.Int(0, usedefault=True, desc="fold that is test; 0 for a fixed split")
    n_permutations = traits.Int(mandatory=True)
    permutation_seed = traits.Int(mandatory=True, desc="the same in all folds")


def exchange_labels(
    inputs: LabelFoldInputSpec, train: Person, test: Person, n_classes: int
) -> FoldLabels:
    """Exchange the labels of a fold as its inputs say.

    Parameters
    ----------
    inputs : LabelFoldInputSpec
    train, test : Person
        Trials of a person; ``target_rows`` are classes.
    n_classes : int

    Returns
    -------
    FoldLabels
    """
    return label_fold(
        train, test, n_classes, inputs.n_permutations,
        np.random.default_rng(inputs.permutation_seed), is_crossed=inputs.fold > 0,
    )
