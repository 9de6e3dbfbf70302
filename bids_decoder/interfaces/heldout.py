"""Files of predictions of held-out trials, read by the nodes that score them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from io import StringIO
from pathlib import Path

import numpy as np
import pandas as pd

from bids_decoder.evaluation.retrieval import Embedded
from bids_decoder.trials import Person, Targets


@dataclass(frozen=True, eq=False)
class Predicted:
    """Predictions of one model for the test trials of one fold.

    Parameters
    ----------
    values : ndarray, shape (n_trials, n_dims)
        Predicted embeddings, or values; class scores when the gallery is the identity.
    gallery : ndarray, shape (n_ids, n_dims)
        All targets in the space of the predictions.
    training_mean : ndarray or None, shape (n_dims,)
        Mean prediction of training trials.
    features : ndarray or None, shape (n_trials, n_features)
        Predicted target vectors, less the mean of the training stimuli, where they are scored.
        Files do not hold them.
    """

    values: np.ndarray
    gallery: np.ndarray
    training_mean: np.ndarray | None
    features: np.ndarray | None = None


@dataclass(frozen=True, eq=False)
class Heldout:
    """Test trials of one fold and the predictions of each model for them."""

    trials: pd.DataFrame
    models: dict[str, Predicted]

    def embedded(self, name: str, ids: Sequence[str]) -> Embedded:
        """Return the predictions of one model, to search stimuli by; *ids* are of the gallery."""
        model = self.models[name]
        return Embedded(
            model.values, self.trials["stimulus"].to_numpy(str),
            self.trials["run_group"].to_numpy(str), model.gallery, np.array(ids),
        )


def save_heldout(path: Path, trials: pd.DataFrame, models: dict[str, Predicted]) -> Path:
    """Write the predictions of one fold as npz without pickles."""
    arrays = {"trials": np.array(trials.to_csv(sep="\t", index=False))}
    for name, result in models.items():
        arrays[f"{name}/values"] = result.values
        arrays[f"{name}/gallery"] = result.gallery
        if result.training_mean is not None:
            arrays[f"{name}/mean"] = result.training_mean
    np.savez(path, **arrays)
    return path


def read_heldout(path: Path | str) -> Heldout:
    """Read what :func:`save_heldout` wrote."""
    with np.load(path, allow_pickle=False) as content:
        arrays = dict(content)
    table = StringIO(str(arrays.pop("trials")))
    text = pd.read_csv(table, sep="\t", dtype=str, keep_default_na=False)
    names = dict.fromkeys(key.split("/")[0] for key in arrays)
    return Heldout(text, {
        name: Predicted(
            arrays[f"{name}/values"], arrays[f"{name}/gallery"], arrays.get(f"{name}/mean")
        )
        for name in names
    })


def training_mean(train: Person, targets: Targets) -> np.ndarray:
    """Return the mean target over the stimuli of training trials, shape (n_dims,)."""
    return targets.vectors[np.unique(train.target_rows)].mean(axis=0)
