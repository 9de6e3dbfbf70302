"""New participants of raider-betas with few calibration runs, in all cyclic choices of them.

    python benchmarks/few_runs.py FOLDER [--runs 1 2 4 7] [--table FILE]

Each participant in turn is new: the default decoder with a trunk pretrained on all trials of the
others, the same with fine-tuning, one from the participant's trials alone, and two baselines.
Calibration runs are *n* successive ones, from each of the eight runs on; all other runs are
tested. FOLDER is the dataset (beta series). Printed are balanced accuracies in percent, means
over the choices: of each participant, their mean, and half the width of its 95 % interval over
participants (Student's t). Then, for each participant, the difference between the pretrained
decoder and the best of own data and the baselines, with its standard error over trials, each of
which is decoded in several choices. ``--table`` keeps which model decoded which trial.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from alignment import LABELS, read_person
from scipy.stats import t as student

from bids_decoder.bids.writer import save_table
from bids_decoder.config import Network, Troi
from bids_decoder.evaluation.baselines import run_baselines
from bids_decoder.evaluation.similarity import label_scores
from bids_decoder.training.decoders import FitContext
from bids_decoder.training.troi import TroiDecoder
from bids_decoder.trials import Person, Targets

PEOPLE = tuple(f"{k:02d}" for k in range(1, 7))
N_RUNS = 8
BASELINES = ["svm-all", "ridge-all"]
MODELS = ["pretrained", "fine-tuned", "own data", *BASELINES]
OTHERS = MODELS[2:]
TARGETS = Targets(LABELS, np.eye(len(LABELS), dtype=np.float32), "category")
CONTEXT = FitContext(Network(), Troi(), 1, "cpu")
TUNED = replace(CONTEXT, network=Network(finetune_epochs=15))
CELL = ["runs", "new"]


def decoded(train: Person, test: Person, pretrained: Any) -> pd.DataFrame:
    """Return which test trials each model decodes: a row for each, 100 or 0 by model."""
    decoder, found = TroiDecoder(), {}
    for name, start, context in (
        ("pretrained", pretrained, CONTEXT), ("fine-tuned", pretrained, TUNED),
        ("own data", None, CONTEXT),
    ):
        selection, model = decoder.fit(train, TARGETS, start, context)
        gallery = decoder.gallery(model, TARGETS)
        found[name] = label_scores(decoder.predict(model, test.betas), gallery)
    found |= run_baselines(train, test, TARGETS, selection.mask, seed=1, names=BASELINES)
    rows = test.target_rows
    right = {k: 100.0 * (v.argmax(axis=1) == rows) for k, v in found.items()}
    return pd.DataFrame({"run": test.run_groups, "label": np.array(LABELS)[rows], **right})


def fits(folder: Path, sizes: list[int]) -> Iterator[pd.DataFrame]:
    """Yield the trials of each new participant, number of runs and choice of them."""
    for new in PEOPLE:
        others = [read_person(folder, one)[0] for one in PEOPLE if one != new]
        pretrained = TroiDecoder().pretrain(others, TARGETS, CONTEXT)
        for size in sizes:
            for first in range(N_RUNS):
                runs = {(first + step) % N_RUNS + 1 for step in range(size)}
                train, test = read_person(folder, new, runs)
                yield decoded(train, test, pretrained).assign(new=new, runs=size, first=first + 1)


def summary(table: pd.DataFrame) -> pd.DataFrame:
    """Return means of participants, their mean, and half the width of its interval.

    Each run has one trial of each label, so that accuracy is balanced accuracy.
    """
    long = table.melt(CELL, MODELS, var_name="model")
    means = long.pivot_table(index=["runs", "model"], columns="new", values="value", sort=False)
    half = student.ppf(0.975, means.shape[1] - 1) * means.sem(axis=1)
    return means.assign(mean=means.mean(axis=1), half=half).round(1)


def leads(table: pd.DataFrame) -> pd.DataFrame:
    """Return how far the pretrained decoder is ahead of the best other one, and standard errors."""
    trials = table.groupby([*CELL, "run", "label"])[MODELS].mean()
    others = trials[OTHERS].groupby(CELL).mean()
    best = others.idxmax(axis=1)
    rows = {}
    for cell, name in best.items():
        lead = trials.loc[cell, "pretrained"] - trials.loc[cell, name]
        rows[cell] = {"lead": lead.mean(), "error": lead.sem(), "over": name}
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis(CELL).round(1)


def run() -> None:
    """Fit all and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--runs", type=int, nargs="+", default=[1, 2, 4, 7])
    parser.add_argument("--table", type=Path)
    args = parser.parse_args()
    table = pd.concat(fits(args.folder, args.runs), ignore_index=True)
    if args.table is not None:
        save_table(args.table, table)
    print(summary(table).to_string())
    print(leads(table).unstack("new").to_string())


if __name__ == "__main__":
    run()
