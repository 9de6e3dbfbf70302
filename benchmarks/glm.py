"""Single-trial GLM: speed against nilearn, memory at scale, and what each rung of the ladder adds.

    python benchmarks/glm.py            all tables, each in a process of its own
    python benchmarks/glm.py lss        200 trials x 50,000 voxels against nilearn per trial
    python benchmarks/glm.py large      1,000 trials x 230,000 voxels, BOLD generated in chunks
    python benchmarks/glm.py ladder     reliability per rung on simulated responses

The time of nilearn is extrapolated from a few trials, since all would take minutes.
"""

from __future__ import annotations

import resource
import subprocess
import sys
import tempfile
import time
import tracemalloc
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from nilearn.glm.first_level import run_glm
from scipy.signal import lfilter

from bids_decoder.glm.base import EstimatorOptions, TrialRun
from bids_decoder.glm.design import Timing, nuisance_matrix
from bids_decoder.glm.estimators import get_estimator
from bids_decoder.glm.glmsingle import GlmSingle
from bids_decoder.glm.hrf import get_hrf, hrf_library
from bids_decoder.glm.normalise import zscore_betas
from bids_decoder.glm.reliability import noise_ceiling, split_half_reliability

NILEARN_TRIALS = 3


def peak_gb() -> float:
    """Largest resident memory of this process so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6


def allocated_gb(function: Callable[[], object]) -> float:
    """Largest memory that a call allocates beyond what is there already."""
    tracemalloc.start()
    function()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak / 1e9


def table(rows: list[tuple]) -> None:
    """Print rows as a Markdown table; the first row is the head."""
    for number, row in enumerate(rows):
        print("| " + " | ".join(map(str, row)) + " |")
        if number == 0:
            print("|" + " --- |" * len(row))


def make_run(bold, timing: Timing, spacing: float, n_trials: int) -> TrialRun:
    """One run of evenly spaced 3-s trials with motion-like confounds in the nuisance."""
    rng = np.random.default_rng(5)
    drift = nuisance_matrix(timing, 1 / 128).to_numpy()
    motion = rng.standard_normal((timing.n_scans, 6)).cumsum(axis=0)
    onsets = 6.0 + spacing * np.arange(n_trials)
    return TrialRun(
        bold, timing, onsets, np.full(n_trials, 3.0), np.column_stack([motion, drift]),
        np.zeros(n_trials, bool), np.arange(n_trials).astype(str),
    )


def bench_lss() -> None:
    """Closed-form LSS against one nilearn GLM per trial, on the same arrays in the same run."""
    n_trials, n_voxels, spacing = 200, 50_000, 4.5
    timing = Timing(460, 2.0, 1.0)
    rng = np.random.default_rng(0)
    white = rng.standard_normal((timing.n_scans, n_voxels), dtype=np.float32)
    run = make_run(lfilter([1], [1, -0.3], white, axis=0).astype(np.float32), timing, spacing,
                   n_trials)
    columns = run.regressors(get_hrf("spm"))
    truth = rng.standard_normal((n_trials, n_voxels), dtype=np.float32)
    run.bold[:] += columns.astype(np.float32) @ truth
    rows = [("noise model", "closed form, s", "largest allocation in it, GB",
             "nilearn per trial, s",
             "nilearn, all trials (extrapolated), s", "times faster", "correlation",
             "largest difference")]
    for noise_model in ("ols", "ar1"):
        out = np.empty((n_trials, n_voxels), dtype=np.float32)
        started = time.perf_counter()
        estimator = get_estimator("lss", EstimatorOptions(noise_model=noise_model))
        estimator.estimate([run], [out])
        seconds = time.perf_counter() - started
        memory = allocated_gb(lambda job=estimator, place=out: job.estimate([run], [place]))
        trials = np.linspace(0, n_trials - 1, NILEARN_TRIALS).astype(int)
        started = time.perf_counter()
        theirs = [nilearn_trial(run, columns, trial, noise_model) for trial in trials]
        each = (time.perf_counter() - started) / NILEARN_TRIALS
        both = np.corrcoef(out[trials].ravel(), np.ravel(theirs))[0, 1]
        rows.append((noise_model, f"{seconds:.2f}", f"{memory:.2f}", f"{each:.2f}",
                     f"{each * n_trials:.0f}", f"{each * n_trials / seconds:.0f}", f"{both:.7f}",
                     f"{np.abs(out[trials] - theirs).max():.1e}"))
    table(rows)


def nilearn_trial(run: TrialRun, columns, trial: int, noise_model: str) -> np.ndarray:
    """The weight of one trial from one nilearn GLM."""
    others = columns.sum(axis=1) - columns[:, trial]
    design = np.column_stack([columns[:, trial], others, run.nuisance])
    labels, results = run_glm(run.bold, design, noise_model=noise_model)
    weights = np.empty(run.bold.shape[1])
    for label, result in results.items():
        weights[labels == label] = result.theta[0]
    return weights


@dataclass(frozen=True)
class GeneratedBold:
    """BOLD that exists only in the block of voxels that is read."""

    shape: tuple[int, int]
    seed: int

    def __getitem__(self, key) -> np.ndarray:
        """Random numbers for all scans of the voxels asked for."""
        start, stop = key[1].start, key[1].stop
        rng = np.random.default_rng([self.seed, start])
        return rng.standard_normal((self.shape[0], stop - start), dtype=np.float32)


def bench_large() -> None:
    """1,000 trials x 230,000 voxels: 20 runs of 50 trials; responses in a memory map."""
    n_runs, n_trials, n_voxels = 20, 50, 230_000
    timing = Timing(190, 1.6, 0.8)
    runs = [make_run(GeneratedBold((190, n_voxels), seed), timing, 5.5, n_trials)
            for seed in range(n_runs)]
    rows = [("noise model", "s", "peak memory of the process, GB", "responses, GB")]
    with tempfile.TemporaryDirectory() as folder:
        for noise_model in ("ols", "ar1"):
            out = [np.lib.format.open_memmap(
                Path(folder) / f"{noise_model}-{seed}.npy", mode="w+", dtype=np.float32,
                shape=(n_trials, n_voxels)) for seed in range(n_runs)]
            started = time.perf_counter()
            get_estimator("lss", EstimatorOptions(noise_model=noise_model)).estimate(runs, out)
            seconds = time.perf_counter() - started
            size = sum(place.nbytes for place in out) / 1e9
            rows.append((noise_model, f"{seconds:.0f}", f"{peak_gb():.2f}", f"{size:.2f}"))
    table(rows)


def simulated_person(n_voxels: int = 3000, n_runs: int = 12, seed: int = 0):
    """Responses as in the natural scenes dataset: 3 repeats, 4 s apart, TR 1.6 s, two test runs.

    Half of the voxels respond, each with one of the shapes of the library; all carry shared
    noise, drift and AR(1) noise.
    """
    rng = np.random.default_rng(seed)
    per_run, timing = 62, Timing(188, 1.6, 0.8)
    n_images = per_run * n_runs // 3
    responds = np.arange(n_voxels) < n_voxels // 2
    ncsnr = np.where(responds, 0.4 * np.exp(0.5 * rng.standard_normal(n_voxels)), 0.0)
    tuning = ncsnr * rng.standard_normal((n_images, n_voxels)) + np.where(responds, 0.7, 0.0)
    shape = rng.integers(0, 20, n_voxels)
    order = np.concatenate([rng.permutation(n_images) for _ in range(3)])
    loading = rng.standard_normal((5, n_voxels)) * 0.5
    runs = []
    for number in range(n_runs):
        images = order[number * per_run : (number + 1) * per_run]
        noise = lfilter([1], [1, -0.4], rng.standard_normal((188, n_voxels)), axis=0)
        shared = lfilter([1], [1, -0.8], rng.standard_normal((188, 5)), axis=0) @ loading
        run = TrialRun(
            (noise + shared).astype(np.float32), timing, 6 + 4.5 * np.arange(per_run),
            np.full(per_run, 3.0), nuisance_matrix(timing, 1 / 128).to_numpy(),
            np.full(per_run, number < n_runs - 2), images.astype(str),
        )
        responses = tuning[images] + np.where(responds, 1, 0) * 0.3 * rng.standard_normal(
            (per_run, n_voxels))
        for which, hrf in enumerate(hrf_library()):
            mine = shape == which
            run.bold[:, mine] += (run.regressors(hrf) @ responses[:, mine]).astype(np.float32)
        runs.append(run)
    return runs, tuning, responds


def bench_ladder() -> None:
    """Reliability of training trials and truth of test trials for each estimator."""
    runs, tuning, responds = simulated_person()
    options = EstimatorOptions()
    ladder = {
        "lss": get_estimator("lss", options),
        "lsa": get_estimator("lsa", options),
        "ridge": get_estimator("ridge", options),
        "lsa + response shape": GlmSingle(options, True, False, False),
        "… + noise components": GlmSingle(options, True, True, False),
        "… + ridge (glmsingle)": GlmSingle(options, True, True, True),
    }
    rows = [("estimator", "median reliability", "median noise ceiling, %",
             "correlation of test trials with truth", "s")]
    train = np.concatenate([run.train for run in runs])
    names = np.concatenate([run.conditions for run in runs])
    groups = np.repeat(np.arange(len(runs)), [run.n_trials for run in runs]).astype(str)
    truth = tuning[names.astype(int)][~train][:, responds]
    truth = (truth - truth.mean(axis=0)) / truth.std(axis=0)
    for name, estimator in ladder.items():
        out = [np.empty((r.n_trials, r.bold.shape[1]), dtype=np.float32) for r in runs]
        started = time.perf_counter()
        estimator.estimate(runs, out)
        seconds = time.perf_counter() - started
        betas, _ = zscore_betas(np.concatenate(out), groups, train)
        reliability = split_half_reliability(betas[train], names[train])[responds]
        ceiling = noise_ceiling(betas[train], names[train])[1][responds]
        test = betas[~train][:, responds]
        test = (test - test.mean(axis=0)) / test.std(axis=0)
        rows.append((name, f"{np.median(reliability):.3f}", f"{np.median(ceiling):.1f}",
                     f"{np.median((test * truth).mean(axis=0)):.3f}", f"{seconds:.1f}"))
    table(rows)


BENCHMARKS = {"lss": bench_lss, "large": bench_large, "ladder": bench_ladder}


def main() -> None:
    """Run the benchmark named on the command line, or all of them."""
    if len(sys.argv) > 1:
        BENCHMARKS[sys.argv[1]]()
        return
    for name, function in BENCHMARKS.items():
        print(f"\n{function.__doc__.splitlines()[0]}\n", flush=True)
        subprocess.run([sys.executable, __file__, name], check=True)


if __name__ == "__main__":
    main()
