"""Counterbalancing by subsampling: trials whose labels do not follow confounds.

Each label keeps as many trials as the others, with about the same values of the confounds. Trials
are chosen by labels and confounds alone and never by responses: what responses are like, given
label and confound, stays as it is. Choosing further trials until a correlation vanishes, in
contrast, was found to bias accuracy upwards [1]_.

References
----------
.. [1] Snoek, Miletić and Scholte (2019), How to control for confounds in decoding analyses of
   neuroimaging data, NeuroImage 184:741.
.. [2] Austin (2011), Optimal caliper widths for propensity-score matching, Pharmaceutical
   Statistics 10:150.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy.optimize import linear_sum_assignment

CALIPER = 0.2
"""Largest difference of a confound between matched trials, in standard deviations [2]_."""

_OTHER_RUN = CALIPER
"""What a match in another run costs: as much as the largest difference."""

_NEVER = 1e6


def match_labels(labels: np.ndarray, confounds: pd.DataFrame, runs: np.ndarray) -> np.ndarray:
    """Choose trials so that confounds are distributed alike over labels.

    Each trial of the rarest label is matched with one trial of every other label (optimal
    assignment without replacement; the same run is preferred). Trials without a match in every
    label are left out.

    Parameters
    ----------
    labels : ndarray of str, shape (n_trials,)
    confounds : DataFrame, n_trials rows
        Without missing values. Matched trials differ by at most :data:`CALIPER` standard
        deviations in each numeric column, and not at all in other columns.
    runs : ndarray of str, shape (n_trials,)

    Returns
    -------
    ndarray of bool, shape (n_trials,)
        Trials to keep, the same number of each label.
    """
    names, counts = np.unique(labels, return_counts=True)
    rarest = names[counts.argmin()]
    own = np.flatnonzero(labels == rarest)
    columns = [_standardise(confounds[name]) for name in confounds]
    partners = []
    for name in names[names != rarest]:
        other = np.flatnonzero(labels == name)
        cost = _OTHER_RUN * (runs[own][:, None] != runs[other]).astype(float)
        for values, limit in columns:
            difference = np.abs(values[own][:, None] - values[other])
            cost += np.where(difference <= limit + 1e-9, difference, _NEVER)
        rows, found = linear_sum_assignment(cost)
        matched = np.full(len(own), -1)
        is_match = cost[rows, found] < _NEVER
        matched[rows[is_match]] = other[found[is_match]]
        partners.append(matched)
    sets = np.stack([own, *partners])
    kept = np.zeros(len(labels), dtype=bool)
    kept[sets[:, (sets >= 0).all(axis=0)].ravel()] = True
    return kept


def _standardise(values: pd.Series) -> tuple[np.ndarray, float]:
    """Return numbers in standard deviations, or codes of categories, and the largest difference."""
    numbers = pd.to_numeric(values, errors="coerce")
    if numbers.isna().any():
        return pd.factorize(values.astype(str))[0].astype(float), 0.0
    found = numbers.to_numpy(float)
    return (found - found.mean()) / (found.std() or 1.0), CALIPER
