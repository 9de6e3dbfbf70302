"""Decoding with and without the spatial prior of decoders, on the same trials and voxels.

    python benchmarks/spatial_prior.py --cache FOLDER --scale small --trials 125 250 --seeds 5
    python benchmarks/spatial_prior.py --cache FOLDER --scale small --trials 125 --noise-fwhm 0 1 4
    python benchmarks/spatial_prior.py --cache FOLDER --scale small --trials 125 --tuning-fwhm 0 1.5

Participants are those of ``benchmarks/troi.py``. For each seed, number of trials, pretrained or
from scratch, one line: top-1 among 300 from brain to image (means over three repeats) by cosine
and with CSLS, without and with the prior whatever the training trials say, the gain in the
distinctness of held-out training trials, and whether the prior is therefore used. Models of other
participants are kept in the cache.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import replace
from itertools import product
from pathlib import Path
from unittest import mock

import numpy as np
from troi_cases import SCALES, Case, Plan, Scale, cases
from troi_scores import retrieval_scores

from bids_decoder.config_files import settings_from_dict
from bids_decoder.models.store import Model
from bids_decoder.seeds import derive_seed
from bids_decoder.training import adaptation, spatial_prior
from bids_decoder.training.ensemble import load_decoder

KEYS = ("b2i_cosine_3", "b2i_csls_3")


def compare(
    case: Case, model: Model | None, plan: Plan, seed: int, selector: str
) -> dict[str, float]:
    """Fit without the prior, and with it whatever its gain, and score both."""
    decoder = load_decoder("troi")
    context = plan.context(selector, derive_seed(seed, "fit", case.train.label))
    plain = replace(context, troi=replace(context.troi, spatial_prior="never"))
    selection = decoder.select(case.train, case.targets, model, context)
    with mock.patch.object(spatial_prior, "STANDARD_ERRORS", np.inf):
        mapped = decoder.adapt(case.train, case.targets, selection, model, context)
    if "spatial_prior_scores" not in mapped.card:
        raise SystemExit(f"the prior is not tried with {len(case.train.betas)} trials")
    before, after = mapped.card["spatial_prior_scores"]
    used = decoder.adapt(case.train, case.targets, selection, model, context)
    found = {"gain": after / before - 1, "used": used.card["spatial_prior"]}
    fits = {
        "plain": decoder.adapt(case.train, case.targets, selection, model, plain),
        "mapped": mapped,
    }
    for name, fit in fits.items():
        scores = retrieval_scores(
            case, decoder.predict(fit, case.test.betas), decoder.gallery(fit, case.targets),
            decoder.predict(fit, case.train.betas).mean(axis=0), seed,
        )
        found |= {f"{name} {key}": scores[key] for key in KEYS}
    return found


def lines(scale: Scale, args: argparse.Namespace) -> Iterator[str]:
    """Yield one line for each fit."""
    budget = {"network": {}, "troi": {"budget_voxels": scale.responses.n_roi}}
    plan = Plan(scale, settings_from_dict(budget, "benchmark"), "cpu")
    for seed in range(1, args.seeds + 1):
        for n_trials, case in cases(plan, seed, 1, args.trials, ["pretrained"], args.cache):
            for name in args.readouts:
                model = case.pretrained if name == "pretrained" else None
                found = compare(case, model, plan, seed, args.selector)
                plain, mapped = (
                    "/".join(f"{found[f'{kind} {key}']:.3f}" for key in KEYS)
                    for kind in ("plain", "mapped")
                )
                used = "used" if found["used"] else "not used"
                yield (f"noise {scale.responses.noise_fwhm:g}, "
                       f"tuning {scale.responses.tuning_fwhm:g}, seed {seed}, {n_trials} trials, "
                       f"{name}: {plain} -> {mapped}, gain {found['gain']:+.3f}, {used}")


def main() -> None:
    """Print the lines of all settings."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--cache", type=Path, required=True)
    parser.add_argument("--scale", choices=SCALES, default="small")
    parser.add_argument("--trials", type=int, nargs="+", default=[125])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--noise-fwhm", type=float, nargs="+", default=[2.0])
    parser.add_argument("--tuning-fwhm", type=float, nargs="+", default=[4.0])
    parser.add_argument("--readouts", nargs="+", default=["pretrained", "scratch"])
    parser.add_argument("--selector", choices=("graded", "soft", "all"), default="graded")
    parser.add_argument("--penalty", type=float, default=adaptation.PENALTY_FOR_STIMULI,
                        help="of fewer than four runs")
    args = parser.parse_args()
    args.cache.mkdir(parents=True, exist_ok=True)
    scale = SCALES[args.scale]
    for noise, tuning in product(args.noise_fwhm, args.tuning_fwhm):
        responses = replace(scale.responses, noise_fwhm=noise, tuning_fwhm=tuning)
        with mock.patch.object(adaptation, "PENALTY_FOR_STIMULI", args.penalty):
            for line in lines(replace(scale, responses=responses), args):
                print(line, flush=True)


if __name__ == "__main__":
    main()
