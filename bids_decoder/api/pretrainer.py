"""Pretraining across participants as an estimator of scikit-learn."""

from __future__ import annotations

from collections.abc import Sequence
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.utils import check_random_state, check_X_y
from sklearn.utils.validation import check_is_fitted

from bids_decoder.api.images import ArrayError, find_voxels, read_array, voxels_of
from bids_decoder.api.parameters import check_whole
from bids_decoder.api.people import (
    label_targets,
    make_person,
    rows_in,
    runs_of,
    vector_targets,
)
from bids_decoder.config import Network, Troi
from bids_decoder.glm.normalise import zscore_betas
from bids_decoder.models.store import Model, save_model
from bids_decoder.training.decoders import FitContext, describe_targets
from bids_decoder.training.ensemble import load_decoder as decoder_named
from bids_decoder.trials import Person, Targets


class EpisodicPretrainer(BaseEstimator):
    """Learn target space and trunk of the decoder from other participants.

    The pretraining of the app: many calibration sets of whole runs are drawn from each
    participant, and the trunk learns to decode the trials that are left out.

    Parameters
    ----------
    embeddings : DataFrame or mapping, optional
        One vector per stimulus; without it labels are decoded.
    mask_img : image, path, masker of nilearn, or list of them, optional
        One for all participants, or one for each.
    space : str
        Name of the standard space that all masks share; then maps of the participants become a
        prior for the voxels of new ones.
    epochs : int
        Of the trunk; 0 chooses their number on left-out stimuli.
    device : str
        ``cpu``, ``cuda`` or ``cuda:N``.
    random_state : int, RandomState, or None

    Attributes
    ----------
    model_ : Model
        For ``TROIDecoder(pretrained=...)``.
    classes_ : ndarray
        Labels or stimuli.

    Examples
    --------
    >>> import numpy as np
    >>> from bids_decoder import EpisodicPretrainer, TROIDecoder
    >>> rng = np.random.default_rng(0)
    >>> vectors = {f"s{k}": rng.standard_normal(4) for k in range(24)}
    >>> names, runs = np.array(list(vectors)), np.repeat([1, 2, 3, 4], 6)
    >>> seen = np.stack(list(vectors.values()))
    >>> people = [seen @ rng.standard_normal((4, 30)) for _ in range(2)]
    >>> pretrainer = EpisodicPretrainer(embeddings=vectors, epochs=1, random_state=0)
    >>> pretrainer = pretrainer.fit(people, [names] * 2, [runs] * 2)
    >>> pretrainer.model_.card["participants"]
    ['1', '2']
    """

    def __init__(
        self, *, embeddings: Any = None, mask_img: Any = None, space: str = "", epochs: int = 0,
        device: str = "cpu", random_state: Any = None,
    ) -> None:
        self.embeddings = embeddings
        self.mask_img = mask_img
        self.space = space
        self.epochs = epochs
        self.device = device
        self.random_state = random_state

    def fit(
        self, X: Sequence[Any], y: Sequence[Any], groups: Sequence[Any] | None = None
    ) -> EpisodicPretrainer:
        """Pretrain on source participants.

        Parameters
        ----------
        X : list of array (n_trials, n_voxels), or of images
            Single-trial responses of each participant: training trials only.
        y : list of array, each of shape (n_trials,)
            Labels, or stimuli of *embeddings*.
        groups : list of array, each of shape (n_trials,), optional
            Run of each trial.

        Returns
        -------
        EpisodicPretrainer

        Raises
        ------
        ArrayError
            If the lists differ in length, or *epochs* is out of range.
        """
        check_whole("epochs", self.epochs, 0)
        runs = [None] * len(X) if groups is None else groups
        has_masks = isinstance(self.mask_img, list | tuple)
        masks = self.mask_img if has_masks else [self.mask_img] * len(X)
        if not len(X) == len(y) == len(runs) == len(masks) or not len(X):
            raise ArrayError(
                "participants", f"{len(X)} arrays of responses, {len(y)} of targets, {len(runs)} "
                f"of runs, {len(masks)} masks", "give one of each for every participant",
            )
        if self.embeddings is None:
            self.classes_ = np.unique(np.concatenate([np.asarray(own) for own in y]))
            targets = label_targets(self.classes_)
        else:
            self.classes_, targets = vector_targets(self.embeddings)
        people = [
            self._person(str(number), data, targets)
            for number, data in enumerate(zip(X, y, runs, masks, strict=True), 1)
        ]
        context = FitContext(
            Network(pretrain_epochs=self.epochs), Troi(),
            check_random_state(self.random_state).randint(2**31), self.device,
        )
        model = decoder_named("troi").pretrain(people, targets, context)
        self.model_ = Model(model.tensors, {**model.card, "targets": describe_targets(targets)})
        return self

    def _person(
        self, label: str, data: tuple[Any, Any, Any, Any], targets: Targets
    ) -> Person:
        """Check and z-score the trials of one participant."""
        X, y, groups, mask = data
        voxels = None if mask is None else find_voxels(mask)
        X, y = check_X_y(read_array(X, voxels), np.asarray(y), dtype=np.float32)
        everything = np.ones(len(X), dtype=bool)
        betas, _ = zscore_betas(X, np.full(len(X), ""), everything)
        return make_person(
            betas, rows_in(y, np.array(targets.ids), f"y of participant {label}:"),
            runs_of(groups, len(X)), voxels_of(X.shape[1], voxels).grid, targets=targets,
            label=label, space=self.space,
        )

    def save(self, path: str | PathLike[str]) -> Path:
        """Write the model, for ``TROIDecoder(pretrained=path)``.

        Parameters
        ----------
        path : path-like
            Ends in ``.safetensors``; a card (``.json``) is written beside it.
        """
        check_is_fitted(self)
        return save_model(Path(path), self.model_)
