"""Trainable region of interest against its comparators, on simulated participants with known truth.

    python benchmarks/troi.py --cache folder                      recommended setting
    python benchmarks/troi.py --setting small --cache folder      minutes instead of hours
    python benchmarks/troi.py --cache folder --seeds 5 --targets 4 --trials 750,150 --figure f.png
    python benchmarks/troi.py --cache folder --factor suppressor_fraction=0.1 --methods soft,all
    python benchmarks/troi.py --cache folder --option troi.lowpass_fwhm_mm=0 --budget 3000
    python benchmarks/troi.py --cache folder --option network.n_seeds=3

Four participants of one group are simulated per seed; each target is decoded after pretraining
on the other three. Every result is stored as JSON in the cache folder, so that an interrupted
benchmark can be resumed; use a new folder after a change of the program. ``--factor`` changes a
field of
``simulate.responses.ResponseSettings``, ``--option`` a field of ``config.Network`` or
``config.Troi``. Values are means over seeds and targets with 95 % bootstrap intervals (seeds,
then targets within them); ``against`` is the difference to the first method in percent points.
"""

from __future__ import annotations

import argparse
import sys
import time
import tomllib
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from troi_cases import PEOPLE, SCALES, Plan, cases
from troi_scores import METHODS, READOUTS, run_method
from troi_tables import draw_figure, print_table

from bids_decoder.config_files import settings_from_dict
from bids_decoder.files import read_json, write_json
from bids_decoder.training.selectors import SELECTORS


def result_path(cache: Path, plan: Plan, where: tuple[int, int, int, str]) -> Path:
    """Name the file of one result; *where* is seed, target, trials and method."""
    seed, target, count, method = where
    return cache / f"{plan.key}_seed-{seed}_target-{target}_trials-{count}_{method}.json"


def is_done(path: Path, readouts: list[str]) -> bool:
    """Say whether the result is there with all read-outs."""
    return path.is_file() and set(readouts) <= set(read_json(path)["readouts"])


def compute(plan: Plan, options: argparse.Namespace) -> None:
    """Compute all results that the cache does not hold yet."""
    for seed in range(1, options.seeds + 1):
        for target in PEOPLE[: options.targets]:
            missing = {
                count: [m for m in options.methods if not is_done(
                    result_path(options.cache, plan, (seed, target, count, m)), options.readouts)]
                for count in options.trials
            }
            counts = [count for count in options.trials if missing[count]]
            if not counts:
                continue
            for count, case in cases(plan, seed, target, counts, options.readouts, options.cache):
                for method in missing[count]:
                    started = time.perf_counter()
                    result = run_method(method, case, plan, seed, options.readouts)
                    path = result_path(options.cache, plan, (seed, target, count, method))
                    write_json(path, without_nan(result))
                    print(f"seed {seed} target {target} trials {count} {method}: "
                          f"{time.perf_counter() - started:.0f} s", file=sys.stderr, flush=True)


def without_nan(content: Any) -> Any:
    """Replace not-a-number by None, which JSON knows."""
    if isinstance(content, dict):
        return {key: without_nan(value) for key, value in content.items()}
    if isinstance(content, np.generic):
        content = content.item()
    return None if isinstance(content, float) and np.isnan(content) else content


def collect(plan: Plan, options: argparse.Namespace) -> pd.DataFrame:
    """Read all results wanted into one table, a row per seed, target, trials, method, read-out."""
    rows = []
    for seed in range(1, options.seeds + 1):
        for target in PEOPLE[: options.targets]:
            for count in options.trials:
                for method in options.methods:
                    path = result_path(options.cache, plan, (seed, target, count, method))
                    content = read_json(path)
                    rows += [
                        {"seed": seed, "target": target, "trials": count, "method": method,
                         "readout": readout, **content["mask"],
                         **content["readouts"][readout],
                         "seconds": content["select_seconds"]
                         + content["readouts"][readout]["fit_seconds"]}
                        for readout in options.readouts
                    ]
    return pd.DataFrame(rows)


def parsed(text: str) -> tuple[str, Any]:
    """Read ``name=value``; the value is TOML, or text where it is none."""
    name, _, value = text.partition("=")
    try:
        return name, tomllib.loads(f"value = {value}")["value"]
    except tomllib.TOMLDecodeError:
        return name, value


def make_plan(options: argparse.Namespace) -> Plan:
    """Put scale, factors and options together."""
    scale = SCALES[options.setting]
    responses = replace(scale.responses, **dict(options.factor))
    scale = replace(scale, responses=responses)
    if options.source_trials:
        scale = replace(scale, source_trials=options.source_trials)
    content: dict[str, dict[str, Any]] = {"network": {}, "troi": {}}
    if options.budget != "auto":
        count = responses.n_roi if options.budget == "roi" else int(options.budget)
        content["troi"]["budget_voxels"] = count
    for name, value in options.option:
        group, _, key = name.partition(".")
        content[group][key] = value
    return Plan(scale, settings_from_dict(content, "--option"), options.device)


def names_of(text: str) -> list[str]:
    """Split at commas."""
    return text.split(",")


def main() -> None:
    """Read the command line, compute what is missing, print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--setting", choices=SCALES, default="recommended")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--targets", type=int, default=1, choices=range(1, len(PEOPLE) + 1))
    parser.add_argument("--trials", type=lambda t: [int(n) for n in t.split(",")], default=[750])
    parser.add_argument("--factor", type=parsed, action="append", default=[])
    parser.add_argument("--option", type=parsed, action="append", default=[])
    parser.add_argument("--methods", type=names_of, default=list(METHODS),
                        help=f"some of {', '.join(sorted({*METHODS, *SELECTORS}))}")
    parser.add_argument("--readouts", type=names_of, default=list(READOUTS))
    parser.add_argument("--source-trials", type=int)
    parser.add_argument("--budget", default="roi", help="roi (size of the region), auto, or voxels")
    parser.add_argument("--cache", type=Path, required=True)
    parser.add_argument("--figure", type=Path)
    parser.add_argument("--device", default="cpu")
    options = parser.parse_args()
    unknown = {*options.methods} - {*METHODS, *SELECTORS} | {*options.readouts} - {*READOUTS}
    if unknown:
        parser.error(f"not known: {', '.join(sorted(unknown))}")
    plan = make_plan(options)
    compute(plan, options)
    results = collect(plan, options)
    print_table(results)
    if options.figure:
        draw_figure(results, options.figure)


if __name__ == "__main__":
    main()
