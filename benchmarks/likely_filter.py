"""Labels and values decoded with and without the filter that is chosen by evidence.

    python benchmarks/likely_filter.py simulation --kinds category value --trials 24 60 120 312
    python benchmarks/likely_filter.py haxby --betas FOLDER --participant 1 --runs 4 6 8 11

``simulation``: one participant of ``bids_decoder/simulate``, without pretraining, with tuning and
half of the noise smooth, and responses blurred, over so many voxels (full width at half maximum).
Runs have 12 trials, or 24 from 100 training trials on; 12 more are tested. ``haxby``: a beta
series on disk; training runs are successive ones, from each run on, all others are tested.

For each row: balanced accuracy in percent (of values: correlation times 100) without and with the
filter, mean gain and its standard error over seeds or choices, and how often each filter was used
(power of the covariance, width in millimetres).
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from refits import load_person
from sklearn.metrics import balanced_accuracy_score

from bids_decoder.config import Network, Troi
from bids_decoder.evaluation.similarity import label_scores
from bids_decoder.glm.normalise import zscore_betas
from bids_decoder.seeds import derive_seed
from bids_decoder.simulate.brains import draw_brain
from bids_decoder.simulate.responses import make_world
from bids_decoder.simulate.sessions import simulate_session
from bids_decoder.simulate.world import ResponseSettings
from bids_decoder.stimuli.targets import make_targets
from bids_decoder.training.decoders import FitContext
from bids_decoder.training.troi import TroiDecoder
from bids_decoder.trials import Person, Targets, VoxelGrid

SMOOTHNESS = (
    (4.0, 2.0, 0.0), (4.0, 4.0, 0.0), (4.0, 0.0, 0.0), (2.0, 2.0, 0.0), (0.0, 2.0, 0.0),
    (0.0, 4.0, 0.0), (0.0, 0.0, 0.0), (4.0, 2.0, 2.0), (1.5, 2.0, 2.0), (0.0, 0.0, 2.0),
)
"""Of tuning, noise and blur, in voxels."""

N_TEST_RUNS, N_DIMENSIONS, OWN = 12, 4, 0.3
"""``OWN``: share of the variance of what brains respond to that labels do not explain."""

WITH = FitContext(Network(), Troi(), 1, "cpu")
WITHOUT = replace(WITH, troi=Troi(spatial_prior="never"))


@dataclass(frozen=True)
class Design:
    """What is simulated.

    Parameters
    ----------
    kind : {"category", "value"}
    n_trials : int
        For training.
    n_labels : int
    smoothness : tuple of float
        See :data:`SMOOTHNESS`.
    ncsnr : float
        Median ratio of signal to noise of voxels in the region.
    """

    kind: str
    n_trials: int
    n_labels: int
    smoothness: tuple[float, float, float]
    ncsnr: float


def simulate(design: Design, seed: int) -> tuple[Person, Targets, np.ndarray]:
    """Return a participant, z-scored by training trials, targets, and which trials are training."""
    is_value = design.kind == "value"
    n_dimensions = N_DIMENSIONS if is_value else max(N_DIMENSIONS, design.n_labels)
    tuning, noise, blur = design.smoothness
    world = make_world(ResponseSettings(
        shape=(20, 20, 16), n_roi=300, median_ncsnr=design.ncsnr, n_features=n_dimensions,
        n_embedding=n_dimensions, tuning_fwhm=tuning, noise_fwhm=noise,
    ), seed)
    brain = draw_brain(world, np.random.default_rng(derive_seed(seed, "brain")))
    rng = np.random.default_rng(derive_seed(seed, "trials"))
    per_run = 12 if design.n_trials < 100 else 24
    n_runs = design.n_trials // per_run + N_TEST_RUNS
    latents = rng.standard_normal((n_runs * per_run, n_dimensions))
    if is_value:
        texts = [repr(float(value)) for value in 50 + 20 * latents[:, 0]]
        targets = make_targets("value", texts, columns=("rating",))
        rows = targets.rows_of(np.array(texts))
    else:
        labels = np.arange(per_run) % design.n_labels
        rows = np.concatenate([rng.permutation(labels) for _ in range(n_runs)])
        centres = rng.standard_normal((design.n_labels, n_dimensions))
        latents = np.sqrt(1 - OWN) * centres[rows] + np.sqrt(OWN) * latents
        names = tuple(f"label{number}" for number in range(design.n_labels))
        targets = Targets(names, np.eye(design.n_labels, dtype=np.float32), "category")
    place = np.tile(np.arange(per_run), n_runs)
    betas = simulate_session(world, brain, latents.astype(np.float32), place, rng)
    grid = VoxelGrid(world.brain, np.diag([2.0, 2.0, 2.0, 1.0]))
    if blur:
        betas = grid.geometry.kernel(blur * grid.geometry.spacing_mm).mean(betas)
    runs = np.repeat([f"run-{number:03d}" for number in range(n_runs)], per_run)
    train = np.repeat(np.arange(n_runs), per_run) < n_runs - N_TEST_RUNS
    trials = pd.DataFrame({"trial": np.arange(len(runs)), "run_group": runs})
    return Person("01", grid, betas, trials, rows), targets, train


def compare(person: Person, targets: Targets, train: np.ndarray) -> tuple[float, float, str]:
    """Return the scores without and with the filter, and the filter."""
    scaled, _ = zscore_betas(person.betas, np.full(len(train), "1"), train)
    trials = person.trials.assign(split=np.where(train, "train", "test"), fold=np.nan)
    whole = replace(person, betas=scaled, trials=trials)
    known, test = whole.subset(np.flatnonzero(train)), whole.subset(np.flatnonzero(~train))
    scores, decoder = [], TroiDecoder()
    for context in (WITHOUT, WITH):
        _, model = decoder.fit(known, targets, None, context)
        predicted = decoder.predict(model, test.betas)
        if targets.kind == "value":
            true = targets.vectors[test.target_rows, 0]
            scores.append(100 * np.corrcoef(predicted[:, 0], true)[0, 1])
        else:
            found = label_scores(predicted, decoder.gallery(model, targets)).argmax(axis=1)
            scores.append(100 * balanced_accuracy_score(test.target_rows, found))
    card = model.card
    used = (f"{card['noise_filter_power']:g}, {card['noise_filter_fwhm_mm']:g} mm"
            if card.get("noise_filter") else "none")
    return scores[0], scores[1], used


def line(name: str, found: list[tuple[float, float, str]]) -> str:
    """Describe a row."""
    scores = np.array([one[:2] for one in found])
    gains = scores[:, 1] - scores[:, 0]
    error = gains.std(ddof=1) / np.sqrt(len(gains)) if len(gains) > 1 else np.nan
    used = "; ".join(f"{key}: {count}" for key, count in Counter(f[2] for f in found).items())
    means = " ".join(f"{value:5.1f}" for value in scores.mean(axis=0))
    return f"{name:45s} {means} {gains.mean():+5.1f} ± {error:.1f}   {used}"


def simulated(args: argparse.Namespace) -> Iterator[str]:
    """Yield the rows of all simulations."""
    for kind in args.kinds:
        for smoothness in SMOOTHNESS:
            for n_trials in args.trials:
                design = Design(kind, n_trials, args.labels, smoothness, args.ncsnr)
                found = [compare(*simulate(design, seed)) for seed in args.seeds]
                tuning, noise, blur = smoothness
                name = f"{kind}, {n_trials} trials, {tuning:g}, {noise:g}, {blur:g} voxels"
                yield line(name, found)


def measured(args: argparse.Namespace) -> Iterator[str]:
    """Yield a row for each number of training runs of a beta series."""
    person, targets = load_person(args.betas, args.participant)
    names = np.unique(person.run_groups)
    for count in args.runs:
        found = []
        for first in range(len(names)):
            chosen = names[(first + np.arange(count)) % len(names)]
            found.append(compare(person, targets, np.isin(person.run_groups, chosen)))
        yield line(f"{count} runs", found)


def main() -> None:
    """Print the rows."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("data", choices=("simulation", "haxby"))
    parser.add_argument("--kinds", nargs="+", default=["category", "value"])
    parser.add_argument("--labels", type=int, default=4)
    parser.add_argument("--trials", type=int, nargs="+", default=[24, 60, 120, 312])
    parser.add_argument("--ncsnr", type=float, default=0.2)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3, 4, 5])
    parser.add_argument("--betas", type=Path)
    parser.add_argument("--participant", default="1")
    parser.add_argument("--runs", type=int, nargs="+", default=[4, 6, 8, 11])
    args = parser.parse_args()
    torch.set_num_threads(1)
    for row in simulated(args) if args.data == "simulation" else measured(args):
        print(row, flush=True)


if __name__ == "__main__":
    main()
