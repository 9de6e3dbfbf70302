"""Fitted decoders as objects with scikit-learn's methods, and reading them from files."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import replace
from os import PathLike
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.metrics import accuracy_score, r2_score
from sklearn.utils import Tags, check_array
from sklearn.utils.metaestimators import available_if

from bids_decoder.api.images import ArrayError, Voxels, find_voxels, read_array
from bids_decoder.api.people import vector_targets
from bids_decoder.errors import InputError
from bids_decoder.models.store import load_card, load_model
from bids_decoder.training.fitted import ENTRY, FittedDecoder, Scaling, load_fitted
from bids_decoder.training.zero_shot import candidates_of, decoder_without_trials, why_not
from bids_decoder.trials import VoxelGrid

SCALINGS = ("own", "training")


def load_decoder(
    path: str | PathLike[str], *, scaling: Scaling = "own", mask_img: Any = None,
    embeddings: Any = None,
) -> LoadedDecoder:
    """Load the decoder of a participant, or a model of other participants, for use on new data.

    Parameters
    ----------
    path : path-like
        ``*_desc-decoder_model.safetensors`` of the app, the folder ``sub-<label>/model`` that
        holds it, or a file that :meth:`TROIDecoder.save` wrote. Or a pretrained model
        (``desc-pretrained_model.safetensors``, the folder ``group``, or a file that
        :meth:`EpisodicPretrainer.save` wrote): then participants without labelled trials are
        decoded by maps of the source participants in a standard space (zero-shot).
    scaling : {"own", "training"}
        How new trials are z-scored. ``own``: by the trials of the call, without their labels, as
        sessions differ in gain and offset: give the trials of one session at a time. Fewer than
        four trials are z-scored by the training trials. ``training``: always by the training
        trials, so that each trial is decoded alone.
    mask_img : masker of nilearn, optional
        Reads images instead of the decoder's own mask, which it must agree with. For a pretrained
        model an image, path or masker of any voxels in its standard space; by default the voxels
        of its maps.
    embeddings : DataFrame or mapping, optional
        For a pretrained model of stimuli: vectors of the stimuli to choose among, by the encoder
        of pretraining.

    Returns
    -------
    LoadedDecoder

    Raises
    ------
    MissingInputError
        If there is no such file.
    InputError
        If it holds no decoder, or a folder holds several; if a pretrained model has no maps in a
        standard space, or stimuli to choose among are not given.

    Examples
    --------
    >>> import bids_decoder
    >>> decoder = bids_decoder.load_decoder("out/sub-01/model")               # doctest: +SKIP
    >>> labels = decoder.predict("sub-01_ses-2_betaseries.nii.gz")            # doctest: +SKIP
    >>> chances = decoder.predict_proba("sub-01_ses-2_betaseries.nii.gz")     # doctest: +SKIP
    """
    place = _find_file(Path(path))
    card = load_card(place)
    if ENTRY not in card and "participants" in card:
        fitted = _zero_shot(place, scaling, mask_img, embeddings)
        return LoadedDecoder(fitted, scaling, mask_img if hasattr(mask_img, "transform") else None)
    if embeddings is not None:
        raise InputError(
            f"model {place}", "is the decoder of a participant, which chooses among the stimuli "
            "that it was fitted to", "leave embeddings out",
        )
    return LoadedDecoder(load_fitted(place), scaling, mask_img)


def _find_file(place: Path) -> Path:
    """Return the file of a model; of a folder, that of its only decoder or pretrained model."""
    if not place.is_dir():
        return place
    names = ("*desc-decoder_model.safetensors", "*desc-pretrained_model.safetensors")
    found = next((files for name in names if (files := sorted(place.glob(name)))), [])
    if len(found) != 1:
        raise InputError(
            f"decoder in {place}", f"{len(found)} files {' or '.join(names)}",
            "give the path of one file",
        )
    return found[0]


def _zero_shot(place: Path, scaling: Scaling, mask_img: Any, embeddings: Any) -> FittedDecoder:
    """Return a pretrained model as the decoder of a participant without labelled trials."""
    model = load_model(place)
    common = model.card.get("common") or {}
    why = why_not(model.card, common.get("space", ""))
    if why is not None or scaling == "training":
        raise InputError(
            f"model {place}", why[0] if why else "the participant has no training trials, by whose "
            "statistics scaling='training' would z-score",
            "fit a decoder of the participant on labelled trials: "
            f"TROIDecoder(pretrained={str(place)!r}).fit(X, y, groups)" if why
            else "use scaling='own', with the trials of one session at a time",
        )
    if embeddings is None:
        targets = candidates_of(model)
    else:
        targets = replace(vector_targets(embeddings)[1], kind=model.card["targets"]["kind"])
    if embeddings is not None and targets.kind == "category":
        raise InputError(f"model {place}", "it decodes labels", "leave embeddings out")
    part = model.part("common")
    grid = VoxelGrid(part["mask"] > 0, part["affine"]) if mask_img is None else (
        find_voxels(mask_img).grid
    )
    return decoder_without_trials(model, grid, targets, {
        "participant": "", "dataset": model.card.get("dataset", ""), "space": common["space"],
        "normalise": model.card.get("glm", {}).get("normalise", "session"),
    })


def _has_calibration(estimator: DecodingMixin) -> bool:
    return estimator._is_calibrated


def _has_answers(estimator: DecodingMixin) -> bool:
    return not estimator._gives_numbers


class DecodingMixin(ClassNamePrefixFeaturesOutMixin, TransformerMixin, ABC):
    """Methods of estimators that hold a :class:`~bids_decoder.training.fitted.FittedDecoder`."""

    classes_: np.ndarray
    _fitted: FittedDecoder
    _gives_numbers: bool
    _is_calibrated: bool
    _scaling: Scaling = "training"

    def __sklearn_tags__(self) -> Tags:
        """Tell scikit-learn that embeddings are in single precision."""
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = []
        return tags

    @abstractmethod
    def _responses(self, X: Any) -> np.ndarray:
        """Return responses as an array (n_trials, n_voxels)."""

    def transform(self, X: Any) -> np.ndarray:
        """Return the embeddings of trials in the target space (the latents).

        Parameters
        ----------
        X : array (n_trials, n_voxels), or images
            Single-trial responses.

        Returns
        -------
        ndarray of float32, shape (n_trials, n_dims)
            Predicted values, where numbers are decoded.
        """
        betas = self._responses(X)
        one = np.full(len(betas), "")
        return self._fitted.embed(self._fitted.scale(betas, one, self._scaling))

    @property
    def _n_features_out(self) -> int:
        return self._fitted.gallery.shape[1]

    def _scores(self, X: Any) -> np.ndarray:
        """Score all candidates, (n_trials, n_classes), in the order of ``classes_``."""
        scores = self._fitted.scores(self.transform(X))
        places = {name: place for place, name in enumerate(self._fitted.targets.ids)}
        return scores[:, [places[str(name)] for name in self.classes_.tolist()]]

    @available_if(_has_answers)
    def decision_function(self, X: Any) -> np.ndarray:
        """Score labels, or stimuli, for each trial.

        Parameters
        ----------
        X : array (n_trials, n_voxels), or images

        Returns
        -------
        ndarray, shape (n_trials, n_classes), or (n_trials,) with two classes
            Evidence for labels, cosines for stimuli; of two classes, how much more for the second.
        """
        scores = self._scores(X)
        return scores[:, 1] - scores[:, 0] if scores.shape[1] == 2 else scores

    @available_if(_has_calibration)
    def predict_proba(self, X: Any) -> np.ndarray:
        """Return calibrated probabilities.

        Parameters
        ----------
        X : array (n_trials, n_voxels), or images

        Returns
        -------
        ndarray, shape (n_trials, n_classes)
            Columns in the order of ``classes_``. The calibration was fitted on trials that were
            held out of the training.
        """
        return self._fitted.probabilities(self._scores(X))

    def predict(self, X: Any) -> np.ndarray:
        """Predict the label, the stimulus or the value of each trial.

        Parameters
        ----------
        X : array (n_trials, n_voxels), or images

        Returns
        -------
        ndarray, shape (n_trials,)
            (n_trials, n_columns) where several numbers are decoded.
        """
        if not _has_answers(self):
            values = self.transform(X)
            return values[:, 0] if values.shape[1] == 1 else values
        best = self._scores(X).argmax(axis=1)
        return self.classes_[best]


class LoadedDecoder(DecodingMixin, BaseEstimator):
    """Decoder of one participant, as :func:`load_decoder` returns it; it is not fitted again.

    It reads arrays with one column per voxel of :attr:`mask_img`, in the order of nilearn's
    maskers and in the units of the beta series; or images on the same grid.

    Parameters
    ----------
    fitted : FittedDecoder
    scaling : {"own", "training"}
        See :func:`load_decoder`.
    mask_img : masker of nilearn, optional

    Attributes
    ----------
    classes_ : ndarray of str, shape (n_classes,)
        Labels or stimuli among which it chooses; absent where numbers are decoded.
    n_features_in_ : int
        Number of voxels.
    """

    def __init__(
        self, fitted: FittedDecoder, scaling: Scaling = "own", mask_img: Any = None
    ) -> None:
        self.fitted = fitted
        self.scaling = scaling
        self.mask_img = mask_img
        self._check()

    @property
    def _fitted(self) -> FittedDecoder:  # type: ignore[override]
        return self.fitted

    @property
    def _scaling(self) -> Scaling:  # type: ignore[override]
        return self.scaling

    @property
    def _gives_numbers(self) -> bool:  # type: ignore[override]
        return self.fitted.targets.kind == "value"

    @property
    def _is_calibrated(self) -> bool:  # type: ignore[override]
        return self.fitted.calibration is not None

    @property
    def classes_(self) -> np.ndarray:  # type: ignore[override]
        """Labels or stimuli among which it chooses, as text."""
        if not _has_answers(self):
            raise AttributeError("this decoder predicts numbers and has no classes_")
        return np.array(self.fitted.targets.ids)

    def _check(self) -> None:
        """Check the parameters against the decoder."""
        if self.scaling not in SCALINGS:
            raise ArrayError(
                f"scaling {self.scaling!r}", "no such scaling", f"use {' or '.join(SCALINGS)}"
            )
        if self.mask_img is None:
            return
        given, own = self._voxels.grid, self.fitted.grid
        if not (own.holds(given.mask.shape, given.affine) and np.array_equal(given.mask, own.mask)):
            raise ArrayError(
                "mask_img", "its voxels are not those of the decoder, in shape, affine or mask",
                "give a masker with the decoder's mask_image()",
            )

    def __sklearn_is_fitted__(self) -> bool:
        """Tell scikit-learn that nothing has to be fitted."""
        return True

    def __sklearn_tags__(self) -> Tags:
        """Tell scikit-learn whether labels or numbers are predicted."""
        tags = super().__sklearn_tags__()
        tags.estimator_type = "classifier" if _has_answers(self) else "regressor"
        return tags

    @property
    def n_features_in_(self) -> int:
        """Number of voxels."""
        return self.fitted.grid.n_voxels

    @property
    def participant(self) -> str:
        """Label of the participant, without ``sub-``; empty where it was not told."""
        return str(self.fitted.facts.get("participant", ""))

    @property
    def card(self) -> dict[str, Any]:
        """What is known of the model: training participants, numbers of trials, settings."""
        return dict(self.fitted.model.card)

    def mask_image(self) -> nib.Nifti1Image:
        """Return the mask of the voxels that the decoder selected."""
        return Voxels(self.fitted.grid).mask_img

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """Return the accuracy; r2 where numbers are decoded.

        Parameters
        ----------
        X : array (n_trials, n_voxels), or images
        y : array, shape (n_trials,)
            Labels or stimuli, compared as text; or numbers.
        sample_weight : array, shape (n_trials,), optional
        """
        if not _has_answers(self):
            return float(r2_score(y, self.predict(X), sample_weight=sample_weight))
        truth = np.asarray(y).astype(str)
        return float(accuracy_score(truth, self.predict(X), sample_weight=sample_weight))

    @property
    def _voxels(self) -> Voxels:
        return Voxels(self.fitted.grid) if self.mask_img is None else find_voxels(self.mask_img)

    def _responses(self, X: Any) -> np.ndarray:
        self._check()
        betas = check_array(read_array(X, self._voxels), dtype=np.float32)
        if betas.shape[1] != self.n_features_in_:
            raise ArrayError(
                f"array with {betas.shape[1]} columns",
                f"the decoder reads {self.n_features_in_} voxels",
                "extract them with mask_image() from images on its grid",
            )
        return betas
