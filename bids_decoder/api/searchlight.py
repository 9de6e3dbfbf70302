"""Searchlights as an estimator of scikit-learn."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator
from sklearn.model_selection import LeaveOneGroupOut, check_cv
from sklearn.utils import check_random_state, check_X_y
from sklearn.utils.multiclass import check_classification_targets

from bids_decoder.api.images import ArrayError, find_voxels, read_array, voxels_of
from bids_decoder.api.parameters import is_whole
from bids_decoder.api.people import label_targets, make_person, runs_of
from bids_decoder.evaluation.search_maps import SearchMaps
from bids_decoder.glm.normalise import zscore_betas
from bids_decoder.training.search_fold import map_folds, search_fold
from bids_decoder.training.search_labels import label_fold
from bids_decoder.training.searchlight_settings import LEAST_SHRINKAGE
from bids_decoder.training.searchlight_settings import Searchlight as Settings
from bids_decoder.trials import Person

ESTIMATORS = ("lda", "ridge", "gnb", "crossnobis")


class Searchlight(BaseEstimator):
    """Decode labels from a sphere around every voxel, under cross-validation.

    The searchlight of the app (``--searchlight``): everything is computed in closed form, also for
    permuted labels.

    Parameters
    ----------
    mask_img : image, path, or masker of nilearn
        Voxels that are centres and members of spheres.
    radius : float or None
        Of the spheres, in millimetres.
    n_voxels : int or None
        Instead of a radius: so many nearest voxels, the centre included.
    estimator : {"lda", "ridge", "gnb", "crossnobis"}
        Linear discriminant analysis, ridge regression, Gaussian naive Bayes; or the mean
        crossnobis distance of all pairs of labels.
    shrinkage : float or None
        Of the covariance, 0.001 to 1; None estimates it from training trials, without labels.
    cv : int, splitter, or iterable, optional
        Folds; each trial is tested at most once, and trains wherever it is not tested. By
        default each run is left out once.
    n_permutations : int
        Labels are permuted, within runs where possible, and everything is fitted again.
    random_state : int, RandomState, or None

    Attributes
    ----------
    scores_ : ndarray, shape (n_voxels,)
        Balanced accuracy over all folds, or mean distance, in the order of the mask's voxels.
    scores_img_ : image
    chance_ : float
    p_values_, p_values_max_, p_values_tfce_ : ndarray, shape (n_voxels,)
        Of each sphere alone; corrected for all spheres, by the largest value of permuted maps, or
        after cluster enhancement. None without permutations.
    classes_ : ndarray
    n_features_in_ : int

    Examples
    --------
    >>> import nibabel as nib, numpy as np
    >>> from bids_decoder import Searchlight
    >>> rng = np.random.default_rng(0)
    >>> y, runs = np.tile(["face", "house"], 12), np.repeat([1, 2, 3], 8)
    >>> betas = rng.standard_normal((24, 64))                  # trials by voxels
    >>> betas[y == "face", :4] += 3
    >>> mask = nib.Nifti1Image(np.ones((4, 4, 4), np.uint8), np.diag([2, 2, 2, 1.0]))
    >>> search = Searchlight(mask, radius=3).fit(betas, y, groups=runs)
    >>> search.scores_img_.shape, bool(search.scores_[:4].mean() > 0.9)
    ((4, 4, 4), True)
    """

    __metadata_request__fit = {"groups": True}  # noqa: RUF012

    def __init__(
        self, mask_img: Any = None, *, radius: float | None = 8.0, n_voxels: int | None = None,
        estimator: str = "lda", shrinkage: float | None = None, cv: Any = None,
        n_permutations: int = 0, random_state: Any = None,
    ) -> None:
        self.mask_img = mask_img
        self.radius = radius
        self.n_voxels = n_voxels
        self.estimator = estimator
        self.shrinkage = shrinkage
        self.cv = cv
        self.n_permutations = n_permutations
        self.random_state = random_state

    def fit(self, X: Any, y: Any, groups: Any = None) -> Searchlight:
        """Search all spheres.

        Parameters
        ----------
        X : array (n_trials, n_voxels), or images
            Single-trial responses; z-scored here with statistics of training trials.
        y : array, shape (n_trials,)
            Labels.
        groups : array, shape (n_trials,), optional
            Run of each trial.

        Returns
        -------
        Searchlight

        Raises
        ------
        ArrayError
            If arrays, images and mask do not fit, parameters are out of range, there is one class
            only, folds overlap, or a fold does not train on all trials that it does not test.
        """
        settings = self._settings()
        voxels = find_voxels(self.mask_img)
        X, y = check_X_y(read_array(X, voxels), y, dtype=np.float32)
        check_classification_targets(y)
        voxels = voxels_of(X.shape[1], voxels)
        self.classes_, rows = np.unique(y, return_inverse=True)
        if len(self.classes_) < 2:
            raise ArrayError(
                "y", "it holds one class only", "give trials of two or more classes"
            )
        runs = runs_of(groups, len(X))
        targets = label_targets(self.classes_)
        person = make_person(X, rows, runs, voxels.grid, targets=targets)
        found = self._search(person, self._folds(X, y, groups), settings)
        self._keep(found, voxels.to_image)
        self.n_features_in_ = X.shape[1]
        return self

    def _settings(self) -> Settings:
        """Return the settings of the app, after a check of the parameters."""
        bad = {
            f"estimator {self.estimator!r}": self.estimator not in ESTIMATORS,
            f"radius {self.radius}, n_voxels {self.n_voxels}":
                (self.radius is None) == (self.n_voxels is None)
                or (self.radius is not None and not 0 <= self.radius < np.inf)
                or (self.n_voxels is not None and not is_whole(self.n_voxels, 1)),
            f"n_permutations {self.n_permutations}": not is_whole(self.n_permutations, 0),
            f"shrinkage {self.shrinkage}": self.shrinkage is not None
            and not LEAST_SHRINKAGE <= self.shrinkage <= 1,
            "no mask_img": self.mask_img is None,
        }
        wrong = [name for name, is_bad in bad.items() if is_bad]
        if wrong:
            raise ArrayError(
                f"Searchlight: {'; '.join(wrong)}", "parameters are out of range",
                "give mask_img, one of radius (mm) and n_voxels (the other None), a whole number "
                "of permutations of 0 or more, an estimator of "
                f"{', '.join(ESTIMATORS)}, a shrinkage from {LEAST_SHRINKAGE} to 1 or None",
            )
        return Settings(
            self.radius, self.n_voxels, self.estimator,  # type: ignore[arg-type]
            self.shrinkage,
        )

    def _folds(self, X: np.ndarray, y: np.ndarray, groups: Any) -> list[np.ndarray]:
        """Return the test trials of each fold."""
        has_runs = self.cv is None and groups is not None
        splitter = LeaveOneGroupOut() if has_runs else check_cv(self.cv, y, classifier=True)
        folds = []
        for train, test in splitter.split(X, y, groups):
            trained, tested = _as_mask(train, len(y)), _as_mask(test, len(y))
            if not np.array_equal(trained, ~tested):
                raise ArrayError(
                    f"fold {len(folds) + 1} of the searchlight",
                    f"it trains on {trained.sum()} and tests {tested.sum()} of {len(y)} trials, "
                    "but each fold trains on all trials that it does not test",
                    "give a cv whose training trials are the others, as LeaveOneGroupOut, "
                    "GroupKFold or PredefinedSplit, and leave out unused trials before",
                )
            folds.append(np.flatnonzero(tested))
        tested = np.concatenate(folds)
        if len(np.unique(tested)) < len(tested):
            raise ArrayError(
                "folds of the searchlight", "some trials are tested in several of them",
                "give a cv that partitions the trials",
            )
        return folds

    def _search(
        self, person: Person, folds: list[np.ndarray], settings: Settings
    ) -> SearchMaps:
        numbers = np.zeros(len(person.betas), dtype=int)
        for number, test in enumerate(folds, 1):
            numbers[test] = number
        own = pd.array(np.where(numbers > 0, numbers, None), dtype="Int64")
        person = replace(person, trials=person.trials.assign(fold=own))
        seed = check_random_state(self.random_state).randint(2**31)
        n_labellings = 1 + self.n_permutations
        values = [np.empty((n_labellings, person.grid.n_voxels), np.float32) for _ in folds]
        facts = []
        for number, filled in enumerate(values, 1):
            sides = _sides(person, numbers == number)
            labels = label_fold(
                *sides, len(self.classes_), self.n_permutations, np.random.default_rng(seed),
                is_crossed=len(folds) > 1,
            )
            facts.append(search_fold(
                sides, labels, settings, filled, n_folds=len(folds),
                rng=np.random.default_rng([seed, number]),
            ))
        return map_folds(values, facts, person.grid, settings)

    def _keep(self, maps: SearchMaps, to_image: Callable[[np.ndarray], Any]) -> None:
        self.scores_, self.chance_ = maps.values, maps.chance
        self.p_values_, self.p_values_max_ = maps.p, maps.p_max
        self.p_values_tfce_ = maps.p_tfce
        self.scores_img_ = to_image(maps.values.astype(np.float32))


def _as_mask(chosen: Any, n_trials: int) -> np.ndarray:
    """Return indices or a boolean mask of trials as a mask (n_trials,)."""
    mask = np.zeros(n_trials, dtype=bool)
    mask[np.asarray(chosen)] = True
    return mask


def _sides(person: Person, is_test: np.ndarray) -> tuple[Person, Person]:
    """Return training and test trials, z-scored with statistics of the training trials."""
    one = np.full(len(is_test), "")
    scaled = replace(
        person, betas=zscore_betas(person.betas, one, ~is_test)[0],
        trials=person.trials.assign(split=np.where(is_test, "test", "train")),
    )
    return scaled.subset(~is_test), scaled.subset(is_test)
