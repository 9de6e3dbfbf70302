"""Multi-echo runs with known T2*: maps, weights, reliability and decoding by echo.

Run ``python benchmarks/multiecho.py [n_seeds]``. Simulates five runs of a still head with three
echoes for each seed, combines the echoes, and estimates one response per trial from each echo and
from their combination. Prints two tables: agreement of T2* and weights with the truth and with
``tedana`` called directly; split-half reliability in the responsive voxels and accuracy of
leave-one-run-out LDA there, mean and SD over seeds, and the gain of the combination over each echo.
"""

from __future__ import annotations

import sys
import time

import numpy as np
import pandas as pd
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.model_selection import LeaveOneGroupOut, cross_val_score
from tedana import combine, decay, utils

from bids_decoder import TrialEstimator
from bids_decoder.glm.reliability import split_half_reliability
from bids_decoder.preprocessing.multiecho import combine_echoes, fit_echoes
from bids_decoder.preprocessing.reference import count_non_steady_state
from bids_decoder.simulate.bold import Scene, simulate_run
from bids_decoder.simulate.cortex import draw_cortex
from bids_decoder.simulate.dataset import ECHOES
from bids_decoder.simulate.decay import decay_rate
from bids_decoder.simulate.heads import draw_head, make_phantom

N_RUNS, N_PER_RUN, SPACING = 5, 24, 6.0
LABELS = np.array(["face", "house", "tool", "word"])


def simulate(seed: int) -> tuple[list[np.ndarray], list[pd.DataFrame], dict[str, np.ndarray]]:
    """Return series of each run (voxels, echoes, volumes), events, and the truth by name."""
    rng = np.random.default_rng(seed)
    phantom = make_phantom(4)
    scene = Scene(
        draw_head(phantom, rng), ECHOES, np.eye(4), np.ones(ECHOES.shape, dtype=np.float32)
    )
    cortex = draw_cortex(scene, n_features=len(LABELS), n_voxels=120, signal_sd=0.5, seed=seed,
                         person="01")
    brain = (scene.tissue(phantom.t2star) > 150) & (scene.tissue(phantom.csf) < 0.6)
    brain |= cortex.mask
    runs, events = [], []
    n_volumes = int((4 + SPACING * N_PER_RUN + 14) / ECHOES.t_r)
    for _ in range(N_RUNS):
        shown = rng.permutation(np.repeat(np.arange(len(LABELS)), N_PER_RUN // len(LABELS)))
        table = pd.DataFrame({
            "onset": 4 + SPACING * np.arange(N_PER_RUN), "duration": 2.0,
            "trial_type": LABELS[shown],
        })
        betas = cortex.respond(np.eye(len(LABELS)), shown, rng)
        timing = list(zip(table["onset"], table["duration"], strict=True))
        still = np.zeros((n_volumes, 6))
        images = simulate_run(scene, timing, betas, cortex.mask, still, rng)
        runs.append(np.stack([image[brain] for image in images], axis=1).astype(np.float32))
        events.append(table)
    truth = {"t2star": 1 / scene.tissue(decay_rate(phantom))[brain],
             "responsive": cortex.mask[brain]}
    return runs, events, truth


def agreement(run: np.ndarray, truth: dict[str, np.ndarray]) -> dict[str, float]:
    """Compare the fit of one run with the truth and with tedana."""
    start = time.process_time()
    n_dummy = count_non_steady_state(run[:, :1, None])
    fit = fit_echoes(run, ECHOES.echo_times, n_dummy=n_dummy)
    combined = combine_echoes(run, fit.weights)
    seconds = time.process_time() - start
    times = 1000 * np.array(ECHOES.echo_times)
    _, good = utils.make_adaptive_mask(run)
    t2star, s0, *_ = decay.fit_decay(run, times, good, "loglin", report=False)
    t2star, *_ = decay.modify_t2s_s0_maps(t2s=t2star, s0=s0, adaptive_mask=good, tes=times)
    direct = combine.make_optcom(run, times, good, t2s=t2star)
    used = good == len(times)
    wanted = times * np.exp(-times / (1000 * truth["t2star"][:, None]))
    wanted /= wanted.sum(axis=1, keepdims=True)
    return {
        "r T2* with truth": _r(fit.t2star[used], truth["t2star"][used]),
        "median error of T2* (ms)": 1000 * float(
            np.median(np.abs(fit.t2star - truth["t2star"])[used])
        ),
        "r weights with truth": _r(fit.weights[used], wanted[used]),
        "r combination with tedana": _r(combined, direct),
        "r T2* with tedana": _r(fit.t2star, t2star),
        "share of voxels with all echoes": float(used.mean()),
        "seconds per run": seconds,
    }


def _r(first: np.ndarray, second: np.ndarray) -> float:
    return float(np.corrcoef(first.ravel(), second.ravel())[0, 1])


def scores(
    series: list[np.ndarray], events: list[pd.DataFrame], responsive: np.ndarray
) -> dict[str, float]:
    """Return reliability and accuracy of responses in the responsive voxels."""
    estimator = TrialEstimator(t_r=ECHOES.t_r, slice_time_ref=0.5)
    betas, trials = estimator.fit_transform([run[responsive].T for run in series], events)
    labels, runs = trials["trial_type"].to_numpy(dtype=str), trials["run"].to_numpy()
    for run in np.unique(runs):
        own = runs == run
        betas[own] = (betas[own] - betas[own].mean(axis=0)) / betas[own].std(axis=0)
    lda = LinearDiscriminantAnalysis(solver="lsqr", shrinkage="auto")
    folds = cross_val_score(lda, betas, labels, groups=runs, cv=LeaveOneGroupOut())
    return {
        "reliability": float(np.median(split_half_reliability(betas, labels))),
        "accuracy": float(folds.mean()),
    }


def main(n_seeds: int) -> None:
    """Print both tables."""
    fits, rows = [], []
    for seed in range(n_seeds):
        runs, events, truth = simulate(seed)
        fits.append(agreement(runs[0], truth))
        found = {
            f"echo at {1000 * echo_time:g} ms": [run[:, number] for run in runs]
            for number, echo_time in enumerate(ECHOES.echo_times)
        }
        found["combined"] = [
            combine_echoes(run, fit_echoes(run, ECHOES.echo_times).weights) for run in runs
        ]
        rows += [
            {"seed": seed, "data": name, **scores(series, events, truth["responsive"])}
            for name, series in found.items()
        ]
    print(pd.DataFrame(fits).agg(["mean", "min", "max"]).T.round(4).to_string())
    table = pd.DataFrame(rows).pivot(index="seed", columns="data")
    for measure in ("reliability", "accuracy"):
        values = table[measure]
        gain = values.rsub(values["combined"], axis=0)
        summary = pd.DataFrame({
            "mean": values.mean(), "SD": values.std(), "gain of combined": gain.mean(),
            "seeds with gain": (gain > 0).sum(),
        })
        print(f"\n{measure} ({n_seeds} seeds; chance of the accuracy {1 / len(LABELS):g})")
        print(summary.round(3).to_string())


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 5)
