"""The app's default decoder as estimators of scikit-learn."""

from __future__ import annotations

from dataclasses import replace
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.base import ClassifierMixin, RegressorMixin
from sklearn.utils import column_or_1d
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, validate_data

from bids_decoder.api.images import ArrayError, voxels_of
from bids_decoder.api.parameters import check_whole
from bids_decoder.api.people import (
    label_targets,
    make_person,
    rows_in,
    runs_of,
    value_targets,
    vector_targets,
)
from bids_decoder.api.pretrainer import EpisodicPretrainer
from bids_decoder.api.troi_base import TROIBase
from bids_decoder.models.store import Model, load_model
from bids_decoder.training.decoders import check_same_targets
from bids_decoder.trials import Targets


class TROIDecoder(ClassifierMixin, TROIBase):
    """Decode labels or stimuli with a trainable region of interest.

    The decoder of the app: voxels are weighted by their share of signal, detected with a smooth
    latent field, and an input layer is fitted on them in closed form; with a pretrained model,
    through the trunk that participants share. Responses are z-scored with statistics of
    training trials.

    Parameters
    ----------
    mask_img : image, path, or masker of nilearn, optional
        Where the voxels are. Needed for images; for arrays it tells positions, so that neighbours
        inform each other.
    space : str
        Name of the standard space of the mask; only a pretrained model of the same space is a
        prior for voxels.
    pretrained : EpisodicPretrainer, Model, or path, optional
        Fitted on other participants. A path is that of ``desc-pretrained_model.safetensors``.
    embeddings : DataFrame or mapping, optional
        One vector per stimulus. Then stimuli are decoded by their vectors, also those without
        training trials (zero-shot). A pretrained model of images needs vectors of its image
        encoder.
    selector : str
        How voxels are chosen (``--troi``).
    n_voxels : int, optional
        Number of voxels of the region; estimated by default.
    spatial_prior : {"auto", "never"}
        Whether what neighbouring voxels share is used where training trials say so
        (``[troi] spatial_prior``), which needs a mask.
    calibration_folds : int
        Runs are left out in so many folds to calibrate probabilities; 0 saves this time, and
        there is no :meth:`predict_proba`.
    random_state : int, RandomState, or None

    Attributes
    ----------
    classes_ : ndarray, shape (n_classes,)
        Labels, or all stimuli of *embeddings*.
    voxels_ : ndarray of bool, shape (n_voxels,)
        Voxels that were selected; :meth:`voxels_image` makes an image of them. Where responses are
        filtered, voxels around them have weights, too.
    scores_ : ndarray of float32, shape (n_voxels,)
        Map from which they were chosen.
    fitted_ : FittedDecoder
        Weights and all that their use needs.
    n_features_in_ : int

    Examples
    --------
    >>> import numpy as np
    >>> from bids_decoder import TROIDecoder
    >>> rng = np.random.default_rng(0)
    >>> y, runs = np.tile(["face", "house"], 20), np.repeat([1, 2, 3, 4], 10)
    >>> X = rng.standard_normal((40, 50))                  # trials by voxels
    >>> X[y == "face", :5] += 3
    >>> decoder = TROIDecoder(random_state=0).fit(X[runs < 4], y[runs < 4], groups=runs[runs < 4])
    >>> decoder.score(X[runs == 4], y[runs == 4])
    1.0
    >>> decoder.predict_proba(X[runs == 4]).shape
    (10, 2)
    """

    _gives_numbers = False

    def __init__(
        self, *, mask_img: Any = None, space: str = "", pretrained: Any = None,
        embeddings: Any = None, selector: str = "graded", n_voxels: int | None = None,
        spatial_prior: str = "auto", calibration_folds: int = 5, random_state: Any = None,
    ) -> None:
        self.mask_img = mask_img
        self.space = space
        self.pretrained = pretrained
        self.embeddings = embeddings
        self.selector = selector
        self.n_voxels = n_voxels
        self.spatial_prior = spatial_prior
        self.calibration_folds = calibration_folds
        self.random_state = random_state

    def fit(self, X: Any, y: Any, groups: Any = None) -> TROIDecoder:
        """Fit the decoder to the trials of one participant.

        Parameters
        ----------
        X : array (n_trials, n_voxels), or images
            Single-trial responses, in order of time within runs.
        y : array, shape (n_trials,)
            Labels; with *embeddings*, stimuli.
        groups : array, shape (n_trials,), optional
            Run of each trial; by default all are of one run. Differences between runs do not enter
            the fit, and calibration leaves out whole runs.

        Returns
        -------
        TROIDecoder

        Raises
        ------
        ArrayError
            If there is one class only, *y* holds stimuli without vector, or a parameter is out of
            range.
        InputError
            If a pretrained model is of other targets.
        """
        self._check_parameters()
        check_whole("calibration_folds", self.calibration_folds, 0)
        X, voxels = self._read(X)
        X, y = validate_data(self, X, y, dtype=np.float32, ensure_min_samples=2)
        if self.embeddings is None:
            check_classification_targets(y)
            self.classes_ = np.unique(y)
            targets = label_targets(self.classes_)
        else:
            self.classes_, targets = vector_targets(self.embeddings)
        if len(np.unique(y)) < 2:
            raise ArrayError(
                "y", "it holds one class only", "give trials of two or more classes"
            )
        pretrained = read_pretrained(self.pretrained)
        if pretrained is not None:
            targets = _alike(targets, pretrained)
        rows = rows_in(y, np.array(targets.ids), "y:")
        person = make_person(
            X, rows, runs_of(groups, len(X)), voxels_of(X.shape[1], voxels).grid, targets=targets,
            space=self.space,
        )
        self._fit_person(person, targets, self.calibration_folds, pretrained)
        return self

    @property
    def _calibrates(self) -> bool:
        return self.calibration_folds > 1

    def __sklearn_clone__(self) -> TROIDecoder:
        """Copy without what was fitted, but with what was learned from other participants."""
        copy = super().__sklearn_clone__()
        copy.pretrained = self.pretrained
        return copy


class TROIRegressor(RegressorMixin, TROIBase):
    """Decode numbers with a trainable region of interest, in closed form.

    Parameters
    ----------
    mask_img, selector, n_voxels, spatial_prior, random_state
        See :class:`TROIDecoder`.

    Attributes
    ----------
    voxels_, scores_, fitted_, n_features_in_
        See :class:`TROIDecoder`.

    Examples
    --------
    >>> import numpy as np
    >>> from bids_decoder import TROIRegressor
    >>> rng = np.random.default_rng(0)
    >>> y = rng.standard_normal(60)
    >>> X = 0.5 * rng.standard_normal((60, 30))
    >>> X[:, :5] += y[:, None]
    >>> TROIRegressor(random_state=0).fit(X[:40], y[:40]).score(X[40:], y[40:]) > 0.8
    True
    """

    _gives_numbers = True

    def __init__(
        self, *, mask_img: Any = None, selector: str = "graded", n_voxels: int | None = None,
        spatial_prior: str = "auto", random_state: Any = None,
    ) -> None:
        self.mask_img = mask_img
        self.selector = selector
        self.n_voxels = n_voxels
        self.spatial_prior = spatial_prior
        self.random_state = random_state

    def fit(self, X: Any, y: Any, groups: Any = None) -> TROIRegressor:
        """Fit the decoder to the trials of one participant.

        Parameters
        ----------
        X : array (n_trials, n_voxels), or images
        y : array, shape (n_trials,) or (n_trials, n_columns)
            Numbers.
        groups : array, shape (n_trials,), optional
            Run of each trial; by default all are of one run.

        Returns
        -------
        TROIRegressor

        Raises
        ------
        ArrayError
            If a parameter is out of range, or *groups* do not fit.
        """
        self._check_parameters()
        X, voxels = self._read(X)
        X, y = validate_data(
            self, X, y, dtype=np.float32, multi_output=True, y_numeric=True, ensure_min_samples=2
        )
        y = column_or_1d(y, warn=True) if y.ndim == 2 and y.shape[1] == 1 else y
        rows, targets = value_targets(np.asarray(y, dtype=np.float64).reshape(len(y), -1))
        person = make_person(
            X, rows, runs_of(groups, len(X)), voxels_of(X.shape[1], voxels).grid, targets=targets
        )
        self._fit_person(person, targets)
        return self


def read_pretrained(pretrained: Any) -> Model | None:
    """Return the model of an EpisodicPretrainer, a Model, or the path of one; None stays.

    Raises
    ------
    ArrayError
        For anything else.
    """
    if isinstance(pretrained, EpisodicPretrainer):
        check_is_fitted(pretrained)
        return pretrained.model_
    if isinstance(pretrained, str | PathLike):
        return load_model(Path(pretrained))
    if not (pretrained is None or isinstance(pretrained, Model)):
        raise ArrayError(
            f"pretrained of type {type(pretrained).__name__}", "it is no model",
            "give an EpisodicPretrainer that is fitted, its model_, or the path of one",
        )
    return pretrained


def _alike(targets: Targets, pretrained: Model) -> Targets:
    """Check that a pretrained model is of these targets; vectors may be those of its images.

    The same labels in another order (the app sorts them as text) take the order of the model.

    Raises
    ------
    InputError
        If targets differ.
    """
    told = pretrained.card.get("targets", {})
    if targets.kind == "features" and told.get("kind") == "image":
        targets = replace(targets, kind="image", source=told["encoder"])
    labels = told.get("labels", [])
    if targets.kind == "category" and sorted(targets.ids) == sorted(labels):
        targets = replace(targets, ids=tuple(labels))
    check_same_targets(pretrained, targets)
    return targets
