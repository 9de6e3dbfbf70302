"""Curves of all models, their fits, and how much data a score needs, as tables."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from bids_decoder.analyses.learning.amounts import Amounts
from bids_decoder.analyses.learning.fits import SubsetHits
from bids_decoder.analyses.learning.outputs import CURVE, FITTED, NEEDS, WITHOUT_NEED
from bids_decoder.evaluation.curve_fit import (
    FARTHEST,
    TAIL,
    Fit,
    fit_curves,
    needed_size,
    next_targets,
    rise_interval,
)
from bids_decoder.evaluation.learning_curve import Hits, curve_inflation, resample_curve
from bids_decoder.evaluation.multiple import headline_of
from bids_decoder.seeds import derive_seed

_N_POINTS = 60


@dataclass(frozen=True, eq=False)
class Design:
    """What the curves of all models share.

    Parameters
    ----------
    sizes : sequence of int
        Numbers of training runs.
    amounts : Amounts
    kind : str
        ``Targets.kind``.
    pool_size : int
        Of retrieval, as the settings have it.
    target : float or None
        Headline score whose need is asked for.
    seed : int
    """

    sizes: Sequence[int]
    amounts: Amounts
    kind: str
    pool_size: int
    target: float | None
    seed: int

    @property
    def array(self) -> np.ndarray:
        """Return the sizes as floats, (n_sizes,)."""
        return np.asarray(self.sizes, dtype=np.float64)

    def in_units(self, runs: float) -> dict[str, float]:
        """Return a number of runs in trials and minutes, NaN where unknown."""
        minutes = self.amounts.minutes_per_run
        return {
            "trials": runs * self.amounts.trials_per_run,
            "minutes": np.nan if minutes is None else runs * minutes,
        }

    def targets(self, metric: str, value: float) -> tuple[float, ...]:
        """Return the scores whose need is estimated."""
        is_headline = metric == headline_of(self.kind)["metric"]
        if self.target is not None and is_headline:
            return (self.target,)
        return next_targets(value)


class Measured(NamedTuple):
    """Tables of :func:`measure_curves`."""

    curve: pd.DataFrame
    fitted: pd.DataFrame
    needs: pd.DataFrame


def measure_curves(parts: Iterable[SubsetHits], design: Design) -> Measured:
    """Compute the curves of all models with their intervals, and fit them.

    Parameters
    ----------
    parts : iterable of SubsetHits
        Of all folds and draws; draws after the first one lack the subset of all runs, which is the
        same in all.
    design : Design

    Returns
    -------
    curve, fitted, needs : DataFrame
        Columns of :data:`.outputs.CURVE`, :data:`.outputs.FITTED` and :data:`.outputs.NEEDS`.
    """
    found = sorted(parts, key=lambda part: (part.fold, part.draw))
    curve, fitted, needs = [], [], []
    for model, metric in found[0].values:
        hits, chance = _join(found, (model, metric)), _chance(found, metric, design)
        # The same resamples for all models.
        rng = np.random.default_rng(derive_seed(design.seed, "bootstrap", metric))
        value, drawn = hits.curve(), resample_curve(hits, rng)
        names = {"model": model, "metric": metric}
        curve += [
            {**names, **row, **_facts(found, chance, metric, design)}
            for row in _measured(value, drawn, design)
        ]
        variance = drawn.var(axis=0)
        fit = fit_curves(design.array, value[None], variance)
        resampled = fit_curves(design.array, drawn, variance)
        fitted += [{**names, **row} for row in _continued(fit, resampled, design)]
        needs += [
            {**names, **row} for row in _needs(fit, resampled, drawn, (metric, value[-1]), design)
        ]
    return Measured(*(
        pd.DataFrame(rows, columns=list(columns))
        for rows, columns in ((curve, CURVE), (fitted, FITTED), (needs, NEEDS))
    ))


def _join(parts: Sequence[SubsetHits], name: tuple[str, str]) -> Hits:
    """Put the trials of all folds side by side."""
    folds = list(dict.fromkeys(part.fold for part in parts))
    first = [part for part in parts if part.draw == 0]
    values = [
        _stack_draws([part.values[name] for part in parts if part.fold == fold]) for fold in folds
    ]
    labels, clusters = (
        np.concatenate([getattr(part, field) for part in first]) for field in ("labels", "clusters")
    )
    sizes = np.array([(len(part.labels), part.n_train[-1]) for part in first])
    return Hits(
        np.concatenate(values, axis=2), np.unique(labels, return_inverse=True)[1],
        np.unique(clusters, return_inverse=True)[1], curve_inflation(sizes[:, 0], sizes[:, 1]),
    )


def _stack_draws(draws: Sequence[np.ndarray]) -> np.ndarray:
    """Return (n_sizes, n_draws, n_trials); the largest subset of the first draw counts for all."""
    n_sizes = len(draws[0])
    whole = [np.concatenate([one, draws[0][len(one):n_sizes]]) for one in draws]
    return np.stack(whole, axis=1)


def _chance(parts: Sequence[SubsetHits], metric: str, design: Design) -> float:
    if metric == "two_way":
        return 0.5
    if metric == "top1":
        n_tested = len(np.unique(np.concatenate([part.clusters for part in parts])))
        return 1 / min(n_tested, design.pool_size)
    return 1 / len(np.unique(np.concatenate([part.labels for part in parts])))


def _facts(
    parts: Sequence[SubsetHits], chance: float, metric: str, design: Design
) -> dict[str, Any]:
    first = [part for part in parts if part.draw == 0]
    return {
        "chance": chance, "n": sum(len(part.labels) for part in first),
        "pool_size": round(1 / chance) if metric == "top1" else np.nan,
        "split": "cv" if len(first) > 1 else "test", "n_folds": len(first),
        "n_draws": len({part.draw for part in parts}),
    }


def _measured(value: np.ndarray, drawn: np.ndarray, design: Design) -> list[dict[str, Any]]:
    low, high = np.clip(np.quantile(drawn, [TAIL, 1 - TAIL], axis=0), 0, 1)
    return [
        {"n_runs": int(size), **design.in_units(size), "value": value[k],
         "ci_low": min(low[k], value[k]), "ci_high": max(high[k], value[k])}
        for k, size in enumerate(design.sizes)
    ]


def _continued(fit: Fit, resampled: Fit, design: Design) -> list[dict[str, Any]]:
    """Return the fitted curve up to :data:`.curve_fit.FARTHEST` times the data."""
    last = max(design.sizes)
    grid = np.linspace(min(design.sizes), FARTHEST * last, _N_POINTS)
    (value,) = fit.at(grid)
    low, high = np.clip(np.quantile(resampled.at(grid), [TAIL, 1 - TAIL], axis=0), 0, 1)
    return [
        {"n_runs": runs, **design.in_units(runs), "value": value[k], "ci_low": low[k],
         "ci_high": high[k], "shape": fit.names[0], "measured": bool(runs <= last)}
        for k, runs in enumerate(grid)
    ]


def _needs(
    fit: Fit, resampled: Fit, drawn: np.ndarray, score: tuple[str, float], design: Design
) -> list[dict[str, Any]]:
    metric, value = score
    rise = dict(zip(("rise_low", "rise_high"), rise_interval(drawn), strict=True))
    targets = design.targets(metric, value)
    rows = []
    for target in targets or (np.nan,):
        if not targets or (rise["rise_low"] <= 0 and value < target):
            verdict = "no rise" if targets else "ceiling"
            rows.append({"target": target, "verdict": verdict,
                         **dict.fromkeys(WITHOUT_NEED, np.nan), **rise})
            continue
        need = needed_size(fit, resampled, target)
        # What was measured counts, whatever side of it the fitted curve is on.
        if value >= target:
            runs = min(need.value, max(design.sizes))
        else:
            runs = max(need.value, design.amounts.runs_now + 1)
        ends = [_known(n) for n in (runs, need.low, need.high)]
        minutes = [design.in_units(n)["minutes"] for n in ends]
        rows.append({
            "target": target, "verdict": _verdict(runs, design),
            **dict(zip(WITHOUT_NEED, (*ends, *minutes), strict=True)), **rise,
        })
    return rows


def _known(runs: float) -> float:
    return runs if np.isfinite(runs) else np.nan


def _verdict(runs: float, design: Design) -> str:
    if runs <= design.amounts.runs_now:
        return "reached"
    return "forecast" if np.isfinite(runs) else "beyond"
