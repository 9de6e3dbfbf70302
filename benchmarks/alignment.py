"""New participants of raider-betas: the decoder beside functional alignment and own data alone.

    python benchmarks/alignment.py FOLDER RESULTS [--runs 1 2 4] [--people 01 02 ...]
    python benchmarks/alignment.py FOLDER RESULTS --aligned-only

Each participant in turn is new: the first runs are training trials, the others are tested. All
trials of the other participants are training trials, for pretraining and for alignment. FOLDER is
the dataset (beta series); RESULTS gets a copy of its trial tables with the column ``role``, one
output folder per call, and ``table.tsv``. A call that has finished is not repeated. With
``--aligned-only`` the app is not called: aligned decoders alone, on the same trials, in a minute.
"""

from __future__ import annotations

import argparse
import shutil
import time
from collections.abc import Container
from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
from sklearn.metrics import balanced_accuracy_score

from bids_decoder.bids.writer import read_table, save_table
from bids_decoder.cli.run import main
from bids_decoder.glm.normalise import zscore_betas
from bids_decoder.training.alignment import (
    METHODS,
    Group,
    decode_aligned,
    reduce_newcomer,
    reduce_source,
)
from bids_decoder.trials import Person, Targets, VoxelGrid

SCORE = "balanced_accuracy"
LABELS = tuple(f"category{k}" for k in range(1, 8))
KEPT = ("decoder", "svm-all", "ridge-all")


def prepare(source: Path, folder: Path, new: str, n_runs: int) -> Path:
    """Link the dataset, with tables that say what is trained on and what is tested."""
    for path in sorted(source.rglob("*")):
        target = folder / path.relative_to(source)
        if path.is_dir() or target.exists():
            continue
        target.parent.mkdir(parents=True, exist_ok=True)
        if path.name.endswith("_trials.tsv"):
            run = int(path.name.split("_run-")[1][:2])
            is_test = f"sub-{new}" in path.name and run > n_runs
            table = pd.read_csv(path, sep="\t", dtype=str)
            save_table(target, table.assign(role="test" if is_test else "train"))
        elif path.suffix == ".json":
            shutil.copy(path, target)
        else:
            target.symlink_to(path)
    return folder


def call(source: Path, results: Path, new: str, n_runs: int) -> Path:
    """Pretrain on the others, decode the new participant, and return the output folder."""
    data = prepare(source, results / f"data_{new}_{n_runs}", new, n_runs)
    out, work = results / f"out_{new}_{n_runs}", results / "work"
    code = main([
        str(data), str(out), "group", "participant", "--holdout-label", new, "-w", str(work),
        "-d", f"betas={data}", "--target", "category", "--label-column", "trial_type",
        "--split-column", "role", "--alignment", *METHODS, "--device", "cpu",
        "--nprocs", "1", "--skip-bids-validation",
    ])
    if code:
        raise SystemExit(code)
    return out


def scores(out: Path, new: str) -> dict[str, float]:
    """Return the score of each model."""
    func = out / f"sub-{new}" / "func"
    tables = [read_table(next(func.glob(f"*_desc-{name}_metrics.tsv")))
              for name in ("decoder", "alignment")]
    table = pd.concat(tables, ignore_index=True)
    table = table[table["metric"] == SCORE]
    found = dict(zip(table["model"], table["value"].astype(float), strict=True))
    return {k: v for k, v in found.items() if k in KEPT or k.split("-")[0] in METHODS}


def read_person(source: Path, label: str, runs: Container[int] | None = None) -> list[Person]:
    """Read all trials, or those of *runs* and the others, z-scored with training statistics."""
    betas, tables = [], []
    for path in sorted((source / f"sub-{label}" / "func").glob("*_trials.tsv")):
        image = nib.load(str(path).replace("_trials.tsv", "_betaseries.nii.gz"))
        betas.append(image.get_fdata(dtype="float32").reshape(-1, image.shape[-1]).T)
        run = int(path.name.split("_run-")[1][:2])
        split = "train" if runs is None or run in runs else "test"
        table = read_table(path).assign(run_group=f"run-{run}", split=split, fold=np.nan)
        tables.append(table)
    trials, values = pd.concat(tables, ignore_index=True), np.concatenate(betas)
    train = (trials["split"] == "train").to_numpy()
    scaled, _ = zscore_betas(values, np.full(len(train), "1"), train)
    rows = np.array([LABELS.index(name) for name in trials["trial_type"]])
    grid = VoxelGrid(np.ones((values.shape[1], 1, 1), bool), np.eye(4))
    person = Person(label, grid, scaled, trials, rows)
    return [person.subset(part) for part in (train, ~train) if part.any()]


def aligned(source: Path, people: list[str], new: str, n_runs: int) -> dict[str, float]:
    """Return the score of each aligned decoder of a new participant."""
    targets = Targets(LABELS, np.eye(len(LABELS), dtype=np.float32), "category")
    names = tuple(METHODS)
    group = Group([
        reduce_source(read_person(source, one)[0], targets, names)
        for one in people if one != new
    ])
    newcomer = reduce_newcomer(*read_person(source, new, range(1, n_runs + 1)), targets, names)
    found = {}
    for name in names:
        start = time.monotonic()
        for key, one in decode_aligned([name], group, newcomer, targets).items():
            truth = newcomer.test.rows
            found[key] = balanced_accuracy_score(truth, one.values.argmax(axis=1))
        found[f"{name}: s"] = (time.monotonic() - start) / 100
    return found


def run() -> None:
    """Run all calls and write the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("results", type=Path)
    parser.add_argument("--runs", type=int, nargs="+", default=[1, 2, 4])
    parser.add_argument("--people", nargs="+", default=[f"{k:02d}" for k in range(1, 7)])
    parser.add_argument("--aligned-only", action="store_true")
    args = parser.parse_args()
    folder, results = args.folder.absolute(), args.results.absolute()
    rows = [
        {"new": new, "runs": n_runs, **(
            aligned(folder, args.people, new, n_runs) if args.aligned_only
            else scores(call(folder, results, new, n_runs), new)
        )}
        for n_runs in args.runs for new in args.people
    ]
    table = pd.DataFrame(rows)
    save_table(results / "table.tsv", table)
    print(table.drop(columns="new").groupby("runs").mean().mul(100).round(1).to_string())


if __name__ == "__main__":
    run()
