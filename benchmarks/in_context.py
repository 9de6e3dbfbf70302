"""Decoders that read a calibration set in context, without a step of fitting: against the default.

    python benchmarks/in_context.py --seeds 5 --cache folder
    python benchmarks/in_context.py --seeds 5 --cache folder --trials 200 --decoders default set

Participants are those of the small setting of ``benchmarks/troi.py``. Three of a group are for
pretraining; calibration trials of the fourth are context only, and no gradient is computed on them.

``default``: kernel ridge from weighted voxels, then the pretrained trunk (``[troi] stage2 =
"none"``). ``inverse``: encoding weights of each voxel are estimated from the calibration trials in
closed form, with a prior variance from the voxel's share of signal, and inverted with the
covariance of their residuals; then a trunk that was trained on latents of the same kind.
``diagonal``: the same without covariance of noise between voxels. ``set``: as in BrainCoDec
(arXiv 2604.08537) each voxel is a token of its encoding weights; by attention through inducing
points (set transformer, Lee et al. 2019, arXiv 1810.00825) it knows all others, and a network that
voxels share decides what its response contributes to the latents. It is trained on episodes of the
source participants with the contrastive loss.
All receive the same voxels and the same weights of voxels.

Columns: top-1 among 300 images of means over three repeats, brain to image by cosine, by CSLS and
by optimal transport (both transductive), image to brain, and one repeat; seconds from the
calibration trials to the predictions. Results are kept in the cache.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from unittest.mock import patch

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn
from troi_cases import PEOPLE, SCALES, Case, Plan, cases, make_person, make_targets, source_trials
from troi_scores import decoder_readout, retrieval_scores, select
from troi_tables import interval

from bids_decoder.config_files import settings_from_dict
from bids_decoder.files import read_json, write_json
from bids_decoder.models.losses import softclip
from bids_decoder.seeds import derive_seed
from bids_decoder.stimuli.targets import TargetSpace
from bids_decoder.training import adaptation, episodes, trust
from bids_decoder.training.episodes import calibration_sets
from bids_decoder.training.input_layer import InputFit
from bids_decoder.training.run_means import centre_runs
from bids_decoder.training.weightings import signal_weights
from bids_decoder.trials import Person

SHOWN = ("b2i_cosine_3", "b2i_csls_3", "b2i_sinkhorn_3", "i2b_cosine_3", "b2i_cosine_1", "seconds")
N_STEPS, BATCH, N_INDUCING, WIDTH, RATE = 2000, 256, 32, 128, 1e-3
N_EPISODES = 24
"""About so many calibration sets of the source participants, of all sizes."""


def encode(
    betas: np.ndarray, latents: np.ndarray, run_groups: np.ndarray, shares: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Estimate encoding weights (n_latents, n_voxels), noise (n_voxels,) and residuals."""
    wanted = centre_runs(np.asarray(latents, dtype=np.float64), run_groups)
    responses = centre_runs(np.asarray(betas, dtype=np.float64), run_groups)
    left, values, right = np.linalg.svd(wanted, full_matrices=False)
    size = np.square(wanted).sum() / len(wanted)
    ratio = shares / np.maximum(1 - shares, 1e-6) / size
    gain = ratio * values[:, None] / (1 + ratio * values[:, None] ** 2)
    weight = right.T @ (gain * (left.T @ responses))
    noise = np.maximum(np.square(responses).mean(axis=0) * (1 - shares), 1e-9)
    return weight, noise, responses - wanted @ weight


def invert(
    betas: np.ndarray, latents: np.ndarray, run_groups: np.ndarray,
    voxel_weights: np.ndarray | None = None, penalty: object = None,
    group_weight: object = None, *, covariance: bool,
) -> InputFit:
    """Take the place of :func:`.input_layer.fit_input_layer`: the inverse of an encoding model.

    Weights of the voxels are their shares of signal; the other two arguments are not used.
    """
    shares = np.full(betas.shape[1], 0.05) if voxel_weights is None else voxel_weights
    weight, noise, rest = encode(betas, latents, run_groups, np.minimum(shares, 0.9))
    scaled = (weight / np.sqrt(noise)).T
    if covariance:
        # Noise of variance 1 in each voxel, plus the covariance of the residuals (Woodbury).
        units = rest / np.sqrt(noise)
        inner = len(units) * np.eye(len(units)) + units @ units.T
        scaled = scaled - units.T @ np.linalg.solve(inner, units @ scaled)
    layer = scaled / np.sqrt(noise)[:, None] * (shares > 0)[:, None]
    gain = max(float(np.linalg.norm(layer)), 1e-12) / np.sqrt(layer.shape[1])
    layer = (layer / gain).astype(np.float32)
    bias = -np.asarray(betas, dtype=np.float64).mean(axis=0) @ layer
    return InputFit(layer, bias.astype(np.float32), 0.0, len(betas), gain)


class SetDecoder(nn.Module):
    """From tokens of voxels (n_voxels, n_tokens) to a linear decoder of their responses."""

    def __init__(self, n_tokens: int, n_latents: int) -> None:
        super().__init__()
        self.embed = nn.Sequential(nn.Linear(n_tokens, WIDTH), nn.GELU(), nn.Linear(WIDTH, WIDTH))
        self.inducing = nn.Parameter(torch.randn(N_INDUCING, WIDTH) / WIDTH**0.5)
        self.gather = nn.MultiheadAttention(WIDTH, 4, batch_first=True)
        self.spread = nn.MultiheadAttention(WIDTH, 4, batch_first=True)
        self.head = nn.Sequential(nn.GELU(), nn.Linear(WIDTH, n_latents))
        self.skip = nn.Linear(n_tokens, n_latents, bias=False)
        nn.init.zeros_(self.head[-1].weight)
        nn.init.zeros_(self.head[-1].bias)
        nn.init.zeros_(self.skip.weight)
        with torch.no_grad():
            # The start is the diagonal inverse.
            self.skip.weight[:, :n_latents] = torch.eye(n_latents)
        self.mix = nn.Linear(n_latents, n_latents)
        nn.init.eye_(self.mix.weight)
        nn.init.zeros_(self.mix.bias)
        self.log_scale = nn.Parameter(torch.tensor(2.0))

    def forward(self, tokens: Tensor, responses: Tensor) -> Tensor:
        """Return latents (n_trials, n_latents) of *responses* (n_trials, n_voxels)."""
        own = self.embed(tokens)[None]
        summary, _ = self.gather(self.inducing[None], own, own, need_weights=False)
        around, _ = self.spread(own, summary, summary, need_weights=False)
        layer = self.skip(tokens) + 0.1 * self.head(own + around)[0]
        return self.mix(responses @ layer / tokens.shape[0] ** 0.5)


@dataclass(frozen=True, eq=False)
class Episode:
    """Tokens of a calibration set (n_voxels, n_tokens), and trials that were held out."""

    tokens: Tensor
    responses: Tensor
    wanted: Tensor


def make_episode(
    person: Person, vectors: np.ndarray, chosen: np.ndarray, weights: np.ndarray | None,
    tested: np.ndarray, test_rows: np.ndarray, n_voxels: int,
) -> Episode:
    """Describe each voxel by its calibration trials; responses are divided by their noise."""
    context = person.subset(chosen)
    wanted = vectors[context.target_rows]
    shares = signal_weights(context, wanted) if weights is None else weights
    weight, noise, _ = encode(context.betas, wanted, context.run_groups, np.minimum(shares, 0.9))
    kept = np.sort(np.argsort(-shares, kind="stable")[:n_voxels])
    scaled = (weight / np.sqrt(noise)).T[kept]
    size = max(float(np.linalg.norm(scaled)) / np.sqrt(scaled.size), 1e-12)
    about = np.stack([shares[kept] / max(shares.max(), 1e-9),
                      np.full(len(kept), np.log2(len(wanted)) / 10)], axis=1)
    tokens = np.concatenate([scaled / size, about], axis=1)
    centred = (tested - context.betas.mean(axis=0))[:, kept] / np.sqrt(noise[kept])
    return Episode(*(torch.from_numpy(np.asarray(part, dtype=np.float32))
                     for part in (tokens, centred, vectors[test_rows])))


def train_set_decoder(plan: Plan, seed: int, target: int, space: TargetSpace) -> SetDecoder:
    """Train on episodes of the source participants."""
    sources = [s for s in PEOPLE if s != target]
    people = {s: source_trials(plan.scale, seed, s) for s in sources}
    targets = make_targets([p.train for p in people.values()])
    position = {name: row for row, name in enumerate(targets.ids)}
    vectors, rng, drawn = space.transform(targets.vectors), np.random.default_rng(seed), []
    for number, truth in people.items():
        person = make_person(number, truth, truth.train, "train",
                             np.arange(len(truth.train.images)), position)
        sets = list(calibration_sets(person.run_groups, rng))
        sets = [chosen for chosen in sets if 80 <= chosen.sum() <= 400]
        for chosen in sets[::max(1, len(sets) * len(sources) // N_EPISODES)]:
            drawn.append(make_episode(
                person, vectors, chosen, None, person.betas[~chosen], person.target_rows[~chosen],
                plan.scale.responses.n_roi,
            ))
    torch.manual_seed(seed)
    model = SetDecoder(drawn[0].tokens.shape[1], vectors.shape[1])
    optimizer = torch.optim.AdamW(model.parameters(), RATE, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, N_STEPS)
    for _ in range(N_STEPS):
        episode = drawn[rng.integers(len(drawn))]
        batch = torch.from_numpy(rng.permutation(len(episode.wanted))[:BATCH])
        embedding = model(episode.tokens, episode.responses[batch])
        loss = softclip(embedding, episode.wanted[batch], model.log_scale.exp())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    return model.eval()


def read_set(
    case: Case, plan: Plan, seed: int, model: SetDecoder, space: TargetSpace
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Predict test trials; give the gallery and the mean prediction of training trials, too."""
    selection, _ = select("graded", case, case.pretrained, plan, seed)
    vectors = space.transform(case.targets.vectors)
    everything = np.ones(len(case.train.betas), dtype=bool)
    found = []
    for person in (case.test, case.train):
        episode = make_episode(case.train, vectors, everything, selection.weights, person.betas,
                               person.target_rows, int(selection.mask.sum()))
        with torch.no_grad():
            found.append(model(episode.tokens, episode.responses).numpy())
    return found[0], vectors, found[1].mean(axis=0)


def read_ridge_or_inverse(
    case: Case, plan: Plan, seed: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Predict by the program's decoder, whose input layer may have been replaced."""
    selection, _ = select("graded", case, case.pretrained, plan, seed)
    return decoder_readout(case, selection, case.pretrained, plan.context("graded", seed))


DECODERS: dict[str, Callable | None] = {
    "default": None, "inverse": lambda *a, **k: invert(*a, **k, covariance=True),
    "diagonal": lambda *a, **k: invert(*a, **k, covariance=False), "set": None,
}
"""Name -> what takes the place of kernel ridge, if anything."""


def measure(name: str, plan: Plan, seed: int, options: argparse.Namespace) -> list[dict]:
    """Score one decoder on the first target participant of a seed."""
    target, rows = PEOPLE[0], []
    kept = options.cache / f"{name}_seed-{seed}.json"
    if kept.is_file():
        return read_json(kept)
    cache = options.cache / (name if DECODERS[name] else "default")
    cache.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        if DECODERS[name]:
            for module in (episodes, adaptation, trust):
                stack.enter_context(patch.object(module, "fit_input_layer", DECODERS[name]))
        model = None
        for count, case in cases(plan, seed, target, options.trials, ["pretrained"], cache):
            fit_seed = derive_seed(seed, "fit", case.train.label)
            part = case.pretrained.part("space")
            space = TargetSpace(*(part[k] for k in ("mean", "components", "explained", "scale")))
            if name == "set" and model is None:
                model = train_set_decoder(plan, seed, target, space)
            started = time.perf_counter()
            found = (read_ridge_or_inverse(case, plan, fit_seed) if model is None
                     else read_set(case, plan, fit_seed, model, space))
            seconds = time.perf_counter() - started
            rows.append({"decoder": name, "seed": seed, "trials": count,
                         **retrieval_scores(case, *found, seed), "seconds": seconds})
            print({k: round(v, 3) if isinstance(v, float) else v for k, v in rows[-1].items()
                   if k in (*SHOWN, "decoder", "seed", "trials")}, flush=True)
    write_json(kept, rows)
    return rows


def main() -> None:
    """Measure what the cache does not hold, and print means over seeds with 95 % intervals."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--first-seed", type=int, default=1)
    parser.add_argument("--trials", type=lambda t: [int(n) for n in t.split(",")],
                        default=[125, 200, 375])
    parser.add_argument("--decoders", nargs="+", choices=DECODERS, default=list(DECODERS))
    parser.add_argument("--cache", type=Path, required=True)
    options = parser.parse_args()
    scale = SCALES["small"]
    settings = settings_from_dict(
        {"troi": {"stage2": "none", "budget_voxels": scale.responses.n_roi}}, "benchmark")
    plan = Plan(replace(scale), settings, "cpu")
    seeds = range(options.first_seed, options.first_seed + options.seeds)
    table = pd.DataFrame([
        row for seed in seeds for name in options.decoders
        for row in measure(name, plan, seed, options)
    ])
    print(f"| trials | decoder | {' | '.join(SHOWN)} |\n|{' --- |' * (len(SHOWN) + 2)}")
    for (count, name), part in table.groupby(["trials", "decoder"], sort=False):
        cells = ["{:.3f} [{:.3f}, {:.3f}]".format(*interval(part[key], part["seed"]))
                 for key in SHOWN]
        print(f"| {count} | {name} | {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
