"""Responses to conditions of one participant, and models of their distances."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from bids_decoder.analyses.rsa.models import (
    condition_column,
    conditions_of,
    labels_of,
    make_model,
    model_of_labels,
    model_of_vectors,
)
from bids_decoder.analyses.rsa.options import FEATURES, LABEL
from bids_decoder.interfaces.responses import TABLE, read_trials, scale_responses
from bids_decoder.interfaces.targets import read_targets
from bids_decoder.trials import Targets


@dataclass(frozen=True, eq=False)
class Conditions:
    """Trials of the conditions that have distances, and models of these.

    Parameters
    ----------
    betas : ndarray of float32, shape (n_trials, n_voxels)
        z-scored.
    numbers : ndarray of int, shape (n_trials,)
        Condition of each trial.
    runs : ndarray of int, shape (n_trials,)
    names : list of str
        Of the conditions.
    models : dict of str to ndarray, each of shape (n_conditions, n_conditions)
    """

    betas: np.ndarray
    numbers: np.ndarray
    runs: np.ndarray
    names: list[str]
    models: dict[str, np.ndarray]

    @property
    def stacked(self) -> np.ndarray:
        """All models, (n_models, n_conditions, n_conditions)."""
        return np.stack(list(self.models.values()))

    @property
    def facts(self) -> dict[str, Any]:
        """What was measured, for sidecars."""
        return {
            "conditions": self.names, "models": list(self.models),
            "n_runs": int(self.runs.max()) + 1, "n_trials": len(self.betas),
        }


def load_conditions(
    folder: Path, targets_file: Path, kind: str, normalise: str, words: Mapping[str, str]
) -> Conditions:
    """Load the responses to all conditions of a participant.

    Parameters
    ----------
    folder : Path
        Of ``CollectResponses``.
    targets_file : Path
    kind : {"category", "image", "features"}
        Of the targets.
    normalise : {"session", "run"}
    words : mapping of str to str
        Name -> ``label``, ``features`` or path of a table.
    """
    # Nothing is fitted to labels or targets: all trials give the statistics.
    trials = read_trials(folder / TABLE).assign(split="train")
    betas = scale_responses(folder, trials, normalise, np.arange(len(trials)))
    names = conditions_of(trials, kind)
    column = trials[condition_column(kind)].astype(str)
    used = column.isin(names).to_numpy()
    numbers = pd.Categorical(column[used], categories=names).codes.astype(int)
    runs = pd.factorize(trials["run_group"][used])[0]
    models = _models(words, trials, names, read_targets(targets_file))
    return Conditions(betas[used], numbers, runs, names, models)


def _models(
    words: Mapping[str, str], trials: pd.DataFrame, names: list[str], targets: Targets
) -> dict[str, np.ndarray]:
    found = {}
    for name, word in words.items():
        if word == LABEL:
            known = labels_of(trials, names)
            found[name] = model_of_labels([known[one] for one in names])
        elif word == FEATURES:
            vectors = targets.vectors[targets.rows_of(np.array(names))]
            found[name] = model_of_vectors(vectors, targets.sketched)
        else:
            found[name] = make_model(word, names)
    return found
