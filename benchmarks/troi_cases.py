"""Participants of the benchmarks of picture decoding: simulated, and pretrained on the others."""

from __future__ import annotations

import dataclasses
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from pathlib import Path

import numpy as np
import pandas as pd

from bids_decoder.config import Settings
from bids_decoder.files import content_key
from bids_decoder.glm.normalise import zscore_betas
from bids_decoder.models.store import Model, load_model, save_model
from bids_decoder.seeds import derive_seed
from bids_decoder.simulate.responses import (
    SimulatedPerson,
    SimulatedTrials,
    make_world,
    simulate_person,
)
from bids_decoder.simulate.world import ResponseSettings, World
from bids_decoder.training.decoders import FitContext
from bids_decoder.training.ensemble import load_decoder
from bids_decoder.training.shared_models import MIN_RUNS_FOR_OWN_TRUNK
from bids_decoder.trials import Person, Targets

PEOPLE = (1, 2, 3, 4)


@dataclass(frozen=True)
class Scale:
    """A named setting: the simulation, trials of each source participant, test images."""

    responses: ResponseSettings
    source_trials: int
    n_test_images: int


SCALES = {
    "recommended": Scale(ResponseSettings(), 1500, 1000),
    "small": Scale(
        ResponseSettings(shape=(24, 24, 20), n_roi=800, median_ncsnr=0.4, n_features=32,
                         n_embedding=64),
        500, 400,
    ),
}


@dataclass(frozen=True)
class Plan:
    """All that decides a result besides seed, target, trials and method."""

    scale: Scale
    settings: Settings
    device: str

    @cached_property
    def group_key(self) -> str:
        """What a pretrained model depends on."""
        return content_key([dataclasses.asdict(self.scale), dataclasses.asdict(
            self.settings.network)])[:12]

    @cached_property
    def key(self) -> str:
        """What a result depends on."""
        return content_key([self.group_key, dataclasses.asdict(self.settings.troi)])[:12]

    def context(self, selector: str, seed: int) -> FitContext:
        """Return what a fit gets besides the data."""
        troi = replace(self.settings.troi, selector=selector)
        return FitContext(self.settings.network, troi, seed, self.device)


@dataclass(frozen=True, eq=False)
class Case:
    """One target participant with some training trials, and the test."""

    truth: SimulatedPerson
    train: Person
    test: Person
    targets: Targets
    pretrained: Model | None
    scratch: Model | None


@lru_cache(maxsize=1)
def world_of(responses: ResponseSettings, seed: int) -> World:
    """Return the group of participants of one seed."""
    return make_world(responses, seed)


@lru_cache(maxsize=len(PEOPLE))
def source_trials(scale: Scale, seed: int, subject: int) -> SimulatedPerson:
    """Simulate the training trials of a source participant."""
    return simulate_person(
        world_of(scale.responses, seed), subject, n_train=scale.source_trials, n_test_images=2,
        n_repeats=1,
    )


def make_person(
    subject: int, truth: SimulatedPerson, trials: SimulatedTrials, split: str,
    rows: np.ndarray, position: dict[str, int],
) -> Person:
    """Bring simulated trials into the program's form, z-scored within sessions.

    Test sessions, which hold no training trial, are normalised by their own statistics.
    """
    sessions = trials.sessions.astype(str)
    betas, _ = zscore_betas(trials.betas[rows], sessions[rows], np.ones(len(rows), bool))
    table = pd.DataFrame({
        "trial": np.arange(1, len(rows) + 1),
        "run_group": [f"ses-{s}_run-{r:02d}" for s, r in
                      zip(sessions[rows], trials.runs[rows], strict=True)],
        "stimulus": trials.images[rows], "split": split, "fold": None,
    })
    target_rows = np.array([position[name] for name in trials.images[rows]])
    return Person(f"{subject:02d}", truth.grid, betas, table, target_rows, space="simulated")


def make_targets(parts: list[SimulatedTrials]) -> Targets:
    """Put the pictures of several participants into one table."""
    vectors = {
        name: vector for part in parts
        for name, vector in zip(part.images, part.embeddings, strict=True)
    }
    return Targets(tuple(vectors), np.stack(list(vectors.values())), "features")


def pretrained_model(plan: Plan, seed: int, target: int, cache: Path) -> Model:
    """Pretrain on everybody but the target, or take the model from the cache."""
    path = cache / f"group-{plan.group_key}_seed-{seed}_target-{target}.safetensors"
    if path.is_file():
        return load_model(path)
    sources = [s for s in PEOPLE if s != target]
    people = {s: source_trials(plan.scale, seed, s) for s in sources}
    targets = make_targets([p.train for p in people.values()])
    position = {name: row for row, name in enumerate(targets.ids)}
    started = time.perf_counter()
    model = load_decoder("troi").pretrain(
        [make_person(s, p, p.train, "train", np.arange(len(p.train.images)), position)
         for s, p in people.items()],
        targets, plan.context("all", derive_seed(seed, "pretrain", target)),
    )
    seconds = round(time.perf_counter() - started, 1)
    print(f"seed {seed} target {target}: pretrained in {seconds} s", file=sys.stderr, flush=True)
    save_model(path, Model(model.tensors, {**model.card, "seconds": seconds}))
    return load_model(path)


def cases(
    plan: Plan, seed: int, target: int, counts: list[int], readouts: list[str], cache: Path
) -> Iterator[tuple[int, Case]]:
    """Simulate a target participant and give a case for each number of training trials."""
    pretrained = pretrained_model(plan, seed, target, cache)
    truth = simulate_person(
        world_of(plan.scale.responses, seed), target, n_train=max(750, *counts),
        n_test_images=plan.scale.n_test_images,
    )
    targets = make_targets([truth.train, truth.test])
    position = {name: row for row, name in enumerate(targets.ids)}
    everything = np.arange(len(truth.test.images))
    test = make_person(target, truth, truth.test, "test", everything, position)
    for count in counts:
        train = make_person(target, truth, truth.train, "train", np.arange(count), position)
        scratch = None
        if "scratch" in readouts and len(np.unique(train.run_groups)) >= MIN_RUNS_FOR_OWN_TRUNK:
            context = plan.context("all", derive_seed(seed, "scratch", target))
            scratch = load_decoder("troi").pretrain([train], targets, context)
        yield count, Case(truth, train, test, targets, pretrained, scratch)
