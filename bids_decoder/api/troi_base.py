"""What the classifier and the regressor of the app's default decoder share."""

from __future__ import annotations

from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted, validate_data

from bids_decoder.api.decoding import DecodingMixin
from bids_decoder.api.images import ArrayError, Voxels, find_voxels, read_array
from bids_decoder.api.parameters import check_choice, check_whole
from bids_decoder.config import Network, Troi
from bids_decoder.evaluation.folds import inner_folds
from bids_decoder.glm.normalise import zscore_betas
from bids_decoder.models.store import Model
from bids_decoder.training.decoders import FitContext
from bids_decoder.training.ensemble import load_decoder as decoder_named
from bids_decoder.training.fitted import FittedDecoder
from bids_decoder.training.fitted_parts import Fit, HeldoutFold, Responses, complete_fit
from bids_decoder.training.selectors import SELECTORS
from bids_decoder.trials import Person, Targets

SPATIAL_PRIORS = ("auto", "never")

ALL = "none"
"""Name of the only group within which trials are z-scored."""


class TROIBase(DecodingMixin, BaseEstimator):
    """Methods and checks of both; their docstrings describe parameters and attributes."""

    __metadata_request__fit = {"groups": True}  # noqa: RUF012

    mask_img: Any
    selector: str
    n_voxels: int | None
    spatial_prior: str
    random_state: Any

    def save(self, path: str | PathLike[str]) -> Path:
        """Write the fitted decoder, for :func:`~bids_decoder.load_decoder`.

        Parameters
        ----------
        path : path-like
            Ends in ``.safetensors``; a card (``.json``) is written beside it.
        """
        return self._fitted.save(Path(path))

    def voxels_image(self) -> Any:
        """Return :attr:`voxels_` as an image on the grid of the mask.

        Raises
        ------
        ArrayError
            Without a mask, by which voxels have no positions.
        """
        grid = self._fitted.grid
        if self.mask_img is None:
            raise ArrayError(
                "voxels_image", "the decoder was fitted to arrays without a mask",
                "give mask_img, the mask with which they were extracted",
            )
        return Voxels(grid).to_image(self.voxels_.astype(np.uint8))

    def _check_parameters(self) -> None:
        """Refuse names that are not known, and numbers out of range."""
        check_choice("selector", self.selector, tuple(SELECTORS))
        check_choice("spatial_prior", self.spatial_prior, SPATIAL_PRIORS)
        if self.n_voxels is not None:
            check_whole("n_voxels", self.n_voxels, 1)

    def _read(self, X: Any) -> tuple[Any, Voxels | None]:
        voxels = None if self.mask_img is None else find_voxels(self.mask_img)
        return read_array(X, voxels), voxels

    def _responses(self, X: Any) -> np.ndarray:
        check_is_fitted(self)
        return validate_data(self, self._read(X)[0], dtype=np.float32, reset=False)

    def _fit_person(
        self, person: Person, targets: Targets, n_folds: int = 0, pretrained: Model | None = None
    ) -> None:
        """Fit the decoder to responses in their own units, and keep what it was fitted on.

        Parameters
        ----------
        person : Person
            Its betas are not z-scored yet.
        targets : Targets
        n_folds : int
            Of the calibration; 0 leaves it out.
        pretrained : Model, optional
        """
        seed = check_random_state(self.random_state).randint(2**31)
        troi = Troi(
            selector=self.selector, budget_voxels=self.n_voxels,
            spatial_prior=self.spatial_prior,  # type: ignore[arg-type]
        )
        context = FitContext(Network(), troi, seed, "cpu")
        decoder = decoder_named("troi")
        everything = np.ones(len(person.betas), dtype=bool)
        train = _scaled(person, everything)
        selection, model = decoder.fit(train, targets, pretrained, context)
        folds = []
        for kept, left in _calibration_folds(person, targets, n_folds):
            own = _scaled(person, kept)
            fitted = decoder.fit(own.subset(kept), targets, pretrained, context)[1]
            folds.append(HeldoutFold(
                own.trials[left].reset_index(drop=True), decoder.predict(fitted, own.betas[left]),
                decoder.gallery(fitted, targets),
            ))
        groups = np.full(len(person.betas), ALL)
        self.fitted_: FittedDecoder = complete_fit(
            Fit(model, targets, folds),
            Responses(person.betas, person.trials, everything, groups, person.grid), "session",
            facts={"participant": "", "dataset": "", "space": person.space, "t_r": None},
        )
        self.voxels_ = selection.mask
        self.scores_ = selection.score

    @property
    def _fitted(self) -> FittedDecoder:
        check_is_fitted(self)
        return self.fitted_

    @property
    def _is_calibrated(self) -> bool:  # type: ignore[override]
        """Whether there are probabilities; before the fit, whether there will be."""
        fitted = getattr(self, "fitted_", None)
        return self._calibrates if fitted is None else fitted.calibration is not None

    @property
    def _calibrates(self) -> bool:
        return False


def _scaled(person: Person, train: np.ndarray) -> Person:
    """Z-score all trials with statistics of those in *train* (boolean)."""
    betas, _ = zscore_betas(person.betas, np.full(len(train), ALL), train)
    return Person(
        person.label, person.grid, betas, person.trials, person.target_rows, person.space
    )


def _calibration_folds(
    person: Person, targets: Targets, n_folds: int
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return training and held-out trials (boolean) of each fold; those of two classes at least."""
    if n_folds < 2:
        return []
    found = []
    for train, test in inner_folds(person.run_groups, n_folds):
        kept, left = (np.isin(np.arange(len(person.betas)), rows) for rows in (train, test))
        if not targets.over_runs:
            # A stimulus is decoded from trials of others only, as in the app.
            kept &= ~np.isin(person.target_rows, person.target_rows[left])
        if len(np.unique(person.target_rows[kept])) > 1:
            found.append((kept, left))
    return found
