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
import dataclasses
import sys
import time
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy.ndimage import distance_transform_edt, label
from scipy.stats import spearmanr
from sklearn.metrics import roc_auc_score

from bids_decoder.config import Evaluation, Settings, settings_from_dict
from bids_decoder.evaluation.baselines import coordinates
from bids_decoder.evaluation.retrieval import Embedded, score_retrieval
from bids_decoder.evaluation.ridge import ridge_predict
from bids_decoder.evaluation.statistics import dice
from bids_decoder.files import content_key, read_json, write_json
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
from bids_decoder.training.selectors import SELECTORS, Selection, top_mask
from bids_decoder.training.troi import MIN_RUNS_FOR_OWN_TRUNK
from bids_decoder.trials import Person, Targets

PEOPLE = (1, 2, 3, 4)
DILATIONS = {"dilated-1.5": 1.5, "dilated-3": 3.0}
FIXED = ("all", "oracle", *DILATIONS)
METHODS = (
    "graded", "troi-budget", "soft", "encoding", "univariate", "ridge-norm", "paper",
    "paper-guarded", "group-lasso", "hard-concrete", "random", *FIXED,
)
READOUTS = ("ridge", "scratch", "pretrained")
SCORES = Evaluation(pool_size=300, n_draws=30, n_permutations=1)
N_BOOTSTRAP = 10_000


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
        "stimulus": trials.images[rows], "split": split,
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


def fixed_selection(method: str, case: Case) -> Selection:
    """Select by the truth: all voxels, the true region, or the region and what is around it."""
    roi = case.truth.roi
    if method == "all":
        mask = np.ones(len(roi), dtype=bool)
    elif method == "oracle":
        mask = roi
    else:
        away = distance_transform_edt(case.truth.grid.to_volume(~roi, fill=True))
        mask = top_mask(-away[case.truth.grid.mask], round(DILATIONS[method] * roi.sum()))
    weights = mask.astype(np.float32)
    return Selection(mask, weights, weights, {"rule": method})


def select(
    method: str, case: Case, model: Model | None, plan: Plan, seed: int
) -> tuple[Selection, float]:
    """Select voxels; give the seconds it took too."""
    started = time.perf_counter()
    if method in FIXED:
        selection = fixed_selection(method, case)
    else:
        context = plan.context(method, seed)
        selection = load_decoder("troi").select(case.train, case.targets, model, context)
    return selection, time.perf_counter() - started


def mask_scores(selection: Selection, truth: SimulatedPerson) -> dict[str, float]:
    """Compare the mask and the continuous map with the truth."""
    mask, score = selection.mask, np.asarray(selection.score, dtype=np.float64)
    n_roi = int(truth.roi.sum())
    hits = (mask & truth.roi).sum()
    flat = np.ptp(score) == 0
    return {
        "n_voxels": float(mask.sum()),
        "dice": dice(mask, truth.roi),
        "dice_roi_sized": np.nan if flat else dice(top_mask(score, n_roi), truth.roi),
        "precision": hits / max(mask.sum(), 1),
        "recall": hits / n_roi,
        "auc": roc_auc_score(truth.roi, score),
        "spearman": np.nan if flat else float(spearmanr(score, truth.ncsnr).statistic),
        "n_components": float(label(truth.grid.to_volume(mask))[1]),
    }


def ridge_readout(case: Case, selection: Selection) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Predict with cross-validated ridge from weighted voxels; gallery in the same space."""
    voxels = np.flatnonzero(selection.weights)
    scaled = [p.betas[:, voxels] * selection.weights[voxels] for p in (case.train, case.test)]
    space = coordinates(case.train.target_rows, case.targets)
    predicted = ridge_predict(scaled[0], space.scores, scaled[1], case.train.run_groups)
    gallery = (case.targets.vectors - space.mean) @ space.components.T
    return predicted, gallery, np.zeros(gallery.shape[1])


def decoder_readout(
    case: Case, selection: Selection, model: Model | None, context: FitContext
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Predict with the program's decoder; give the mean prediction of training trials too."""
    decoder = load_decoder("troi")
    adapted = decoder.adapt(case.train, case.targets, selection, model, context)
    train_mean = decoder.predict(adapted, case.train.betas).mean(axis=0)
    gallery = decoder.gallery(adapted, case.targets)
    return decoder.predict(adapted, case.test.betas), gallery, train_mean


def retrieval_scores(
    case: Case, predicted: np.ndarray, gallery: np.ndarray, train_mean: np.ndarray, seed: int
) -> dict[str, float]:
    """Top-1 in pools of 300: by direction, repeats (1 or 3) and similarity."""
    trials = Embedded(
        predicted, case.test.trials["stimulus"].to_numpy(str), case.test.run_groups, gallery,
        np.array(case.targets.ids),
    )
    rng = np.random.default_rng(derive_seed(seed, "pools"))
    metrics, *_ = score_retrieval(trials, SCORES, rng, training_mean=train_mean)
    wanted = metrics[(metrics["metric"] == "top1") & (metrics["pool_size"] == SCORES.pool_size)]
    repeats = {"single": 1, "averaged": 3}
    return {
        f"{row.direction}_{row.similarity}_{repeats[row.unit]}": float(row.value)
        for row in wanted.itertuples()
    }


def run_method(
    method: str, case: Case, plan: Plan, seed: int, readouts: list[str]
) -> dict[str, Any]:
    """Select and decode with one method; give all that is recorded."""
    fit_seed = derive_seed(seed, "fit", case.train.label)
    selection, seconds = select(method, case, case.pretrained, plan, fit_seed)
    result: dict[str, Any] = {
        "mask": mask_scores(selection, case.truth), "notes": selection.notes,
        "select_seconds": seconds, "readouts": {},
    }
    for readout in readouts:
        chosen = selection
        if readout == "scratch":
            chosen, _ = select(method, case, case.scratch, plan, fit_seed)
        started = time.perf_counter()
        if readout == "ridge":
            outcome = ridge_readout(case, chosen)
        else:
            model = case.scratch if readout == "scratch" else case.pretrained
            outcome = decoder_readout(case, chosen, model, plan.context(method, fit_seed))
        fitted = time.perf_counter() - started
        scores = retrieval_scores(case, *outcome, seed)
        result["readouts"][readout] = {**scores, "fit_seconds": fitted}
    return result


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


def interval(values: pd.Series, seeds: pd.Series) -> tuple[float, float, float]:
    """Return mean and 95 % limits: seeds are drawn, then targets within them."""
    numbers = values.to_numpy(dtype=float)
    if len(numbers) < 2:
        return float(numbers.mean()), np.nan, np.nan
    rng = np.random.default_rng(0)
    groups = [numbers[seeds.to_numpy() == seed] for seed in seeds.unique()]
    means = np.stack([
        group[rng.integers(len(group), size=(N_BOOTSTRAP, len(group)))].mean(axis=1)
        for group in groups
    ])
    chosen = rng.integers(len(groups), size=(N_BOOTSTRAP, len(groups)))
    samples = means[chosen, np.arange(N_BOOTSTRAP)[:, None]].mean(axis=1)
    return float(numbers.mean()), *np.quantile(samples, [0.025, 0.975])


COLUMNS = {
    "dice": "Dice", "dice_roi_sized": "Dice, ROI-sized", "precision": "precision",
    "recall": "recall", "auc": "AUC", "spearman": "Spearman",
    "b2i_cosine_3": "b2i", "b2i_centred_3": "b2i centred", "b2i_csls_3": "b2i CSLS",
    "i2b_cosine_3": "i2b", "b2i_cosine_1": "b2i 1 repeat", "b2i_csls_1": "b2i CSLS 1 repeat",
    "i2b_cosine_1": "i2b 1 repeat", "seconds": "s",
}


def print_table(results: pd.DataFrame) -> None:
    """Print the means with their intervals as a Markdown table."""
    first = results["method"].iloc[0]
    print(f"| trials | method | read-out | {' | '.join(COLUMNS.values())} | against {first} |")
    print("|" + " --- |" * (len(COLUMNS) + 4))
    for keys, part in results.groupby(["trials", "method", "readout"], sort=False):
        cells = [shown(*interval(part[name], part["seed"]), name) for name in COLUMNS]
        print(f"| {' | '.join(map(str, keys))} | {' | '.join(cells)} | "
              f"{gap_to_first(results, part, first)} |")


def shown(mean: float, low: float, high: float, name: str) -> str:
    """Write a mean and its limits."""
    digits = 0 if name == "seconds" else 3
    if np.isnan(mean):
        return "–"
    limits = "" if np.isnan(low) or name == "seconds" else f" [{low:.3f}, {high:.3f}]"
    return f"{mean:.{digits}f}{limits}"


def gap_to_first(results: pd.DataFrame, part: pd.DataFrame, first: str) -> str:
    """Return the paired difference of CSLS b2i to the first method, in percent points."""
    keys = ["seed", "target", "trials", "readout"]
    other = results[results["method"] == first][[*keys, "b2i_csls_3"]]
    pairs = part.merge(other, on=keys, suffixes=("", "_first"))
    gap = 100 * (pairs["b2i_csls_3"] - pairs["b2i_csls_3_first"])
    mean, low, high = interval(gap, pairs["seed"])
    return f"{mean:+.1f}" + ("" if np.isnan(low) else f" [{low:+.1f}, {high:+.1f}]")


def draw_figure(results: pd.DataFrame, path: Path) -> None:
    """Draw retrieval of each method and read-out, and the quality of the maps."""
    import matplotlib

    matplotlib.use("agg")
    from matplotlib import pyplot

    counts = list(results["trials"].unique())
    methods = list(results["method"].unique())
    figure, panels = pyplot.subplots(
        len(counts), 2, figsize=(11, 0.8 + 0.32 * len(methods) * len(counts)), squeeze=False,
        sharey=True, layout="constrained",
    )
    for (left, right), count in zip(panels, counts, strict=True):
        part = results[results["trials"] == count]
        for readout, rows in part.groupby("readout", sort=False):
            draw_points(left, rows, methods, "b2i_csls_3", readout)
        rows = part[part["readout"] == part["readout"].iloc[0]]
        for name in ("dice_roi_sized", "auc"):
            draw_points(right, rows, methods, name, COLUMNS[name])
        left.set(xlabel="brain to image, CSLS, 3 repeats, 300 images", title=f"{count} trials")
        right.set(xlabel="agreement of the map with the true region")
        for axes in (left, right):
            axes.set_xlim(0, 1)
            axes.grid(axis="x", alpha=0.3)
            axes.legend(fontsize=7, loc="lower left")
    figure.savefig(path, dpi=150)


def draw_points(axes: Any, rows: pd.DataFrame, methods: list[str], name: str, text: str) -> None:
    """Draw mean and interval of each method."""
    places, limits = [], []
    for method in methods:
        part = rows[rows["method"] == method]
        limits.append(interval(part[name], part["seed"]))
        places.append(len(methods) - len(places))
    mean, low, high = np.array(limits).T
    spread = np.nan_to_num(np.stack([mean - low, high - mean]).clip(min=0))
    axes.errorbar(mean, places, xerr=spread, fmt="o", markersize=4, label=text)
    axes.set_yticks(places, methods, fontsize=7)


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
