"""New participants of raider-betas: the decoder beside functional alignment and own data alone.

    python benchmarks/alignment.py FOLDER RESULTS [--runs 1 2 4] [--people 01 02 ...]

Each participant in turn is new: the first runs are training trials, the others are tested. All
trials of the other participants are training trials, for pretraining and for alignment. FOLDER is
the dataset (beta series); RESULTS gets a copy of its trial tables with the column ``role``, one
output folder per call, and ``table.tsv``. A call that has finished is not repeated.
"""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path

import pandas as pd

from bids_decoder.bids.writer import read_table, save_table
from bids_decoder.cli.run import main

SCORE = "balanced_accuracy"
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
        "--split-column", "role", "--alignment", "procrustes", "srm", "--device", "cpu",
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
    return {k: v for k, v in found.items() if k in KEPT or k.startswith(("procrustes", "srm"))}


def run() -> None:
    """Run all calls and write the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("results", type=Path)
    parser.add_argument("--runs", type=int, nargs="+", default=[1, 2, 4])
    parser.add_argument("--people", nargs="+", default=[f"{k:02d}" for k in range(1, 7)])
    args = parser.parse_args()
    folder, results = args.folder.absolute(), args.results.absolute()
    rows = [
        {"new": new, "runs": n_runs, **scores(call(folder, results, new, n_runs), new)}
        for n_runs in args.runs for new in args.people
    ]
    table = pd.DataFrame(rows)
    save_table(results / "table.tsv", table)
    print(table.drop(columns="new").groupby("runs").mean().mul(100).round(1).to_string())


if __name__ == "__main__":
    run()
