"""Time of refits on permuted labels, as multiples of the time of the fit itself.

    python benchmarks/refits.py --betas FOLDER --participant LABEL
    python benchmarks/refits.py --betas FOLDER --participant LABEL --permutations 200 --folds 2

FOLDER holds single-trial responses of runs (``*_desc-singletrial_betaseries.nii.gz`` with
``*_trials.tsv``): an output folder of this program, or beta series of a dataset. One run is left
out in each fold. The default decoder is fitted to the true labels, which is the time of the fit,
then to permuted ones: together, and one of them alone. Times are of the processor; those of all
folds are extrapolated from the folds computed (``--folds``).
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
import torch
from sklearn.metrics import balanced_accuracy_score

from bids_decoder.config import Network, Troi
from bids_decoder.evaluation.baselines import WHOLE, baseline_names, run_baselines
from bids_decoder.evaluation.similarity import label_scores
from bids_decoder.glm.normalise import zscore_betas
from bids_decoder.training.decoders import FitContext
from bids_decoder.training.ensemble import load_decoder
from bids_decoder.training.refit import permute_fold, refit_fold
from bids_decoder.trials import Person, Targets, VoxelGrid

CONTEXT = FitContext(Network(), Troi(), 0, "cpu")


def load_person(folder: Path, label: str) -> tuple[Person, Targets]:
    """Read the runs of a participant; voxels that are finite and not zero in all of them."""
    tables, runs = [], []
    paths = sorted((folder / f"sub-{label}").glob("**/*_desc-singletrial_trials.tsv"))
    for fold, path in enumerate(paths, 1):
        table = pd.read_csv(path, sep="\t", dtype=str)
        names = table["label"] if "label" in table else table["trial_type"]
        tables.append(pd.DataFrame({
            "trial": np.arange(1, len(names) + 1), "run_group": path.name, "stimulus": names,
            "split": "train", "fold": fold,
        }))
        image = nib.load(str(path).replace("_trials.tsv", "_betaseries.nii.gz"))
        runs.append(image.get_fdata(dtype=np.float32))
    mask = np.all([np.isfinite(v).all(axis=-1) & (v != 0).any(axis=-1) for v in runs], axis=0)
    trials = pd.concat(tables, ignore_index=True)
    names = trials["stimulus"].to_numpy(dtype=str)
    targets = Targets(tuple(np.unique(names)), np.eye(len(np.unique(names)), dtype=np.float32),
                      "category")
    betas = np.concatenate([values[mask].T for values in runs])
    grid = VoxelGrid(mask, image.affine)
    return Person(label, grid, betas, trials, targets.rows_of(names)), targets


def folds_of(person: Person) -> Iterator[tuple[Person, Person, np.ndarray]]:
    """Hold out each run once; z-scores with statistics of the training trials."""
    for run in np.unique(person.run_groups):
        test = person.run_groups == run
        scaled, _ = zscore_betas(person.betas, np.full(len(test), "1"), ~test)
        held = replace(person, betas=scaled).subset(test)
        held = replace(held, trials=held.trials.assign(split="test"))
        yield replace(person, betas=scaled).subset(~test), held, np.flatnonzero(test)


def seconds(work: Callable[[], object]) -> float:
    """Return the processor time that *work* takes, which other load hardly changes."""
    start = time.process_time()
    work()
    return time.process_time() - start


def main() -> None:
    """Print the accuracy, the times and their ratios."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--betas", type=Path, required=True)
    parser.add_argument("--participant", required=True)
    parser.add_argument("--permutations", type=int, default=1000)
    parser.add_argument("--folds", type=int, default=0, help="0: all")
    args = parser.parse_args()
    torch.set_num_threads(1)
    person, targets = load_person(args.betas, args.participant)
    decoder, folds = load_decoder("troi"), list(folds_of(person))
    decoder.fit(folds[0][0], targets, None, CONTEXT)  # imports, and thread pools
    guesses = np.empty(len(person.target_rows), dtype=int)
    names = [name for name in baseline_names("category") if name != WHOLE]
    fit = together = alone = baselines = 0.0
    chosen = folds[:args.folds or None]
    for train, test, rows in folds:
        start = time.process_time()
        _, model = decoder.fit(train, targets, None, CONTEXT)
        predicted = decoder.predict(model, test.betas)
        fit += time.process_time() - start
        guesses[rows] = label_scores(predicted, decoder.gallery(model, targets)).argmax(axis=1)
    for train, test, _ in chosen:
        fold = permute_fold(train, test, args.permutations, np.random.default_rng(0))
        one = replace(train, target_rows=fold.train_rows[0])
        together += seconds(partial(refit_fold, decoder, fold, targets, None, CONTEXT))
        alone += seconds(partial(decoder.fit, one, targets, None, CONTEXT))
        mask = decoder.select(one, targets, None, CONTEXT).mask
        baselines += seconds(
            partial(run_baselines, one, test, targets, mask, seed=0, names=names)
        )
    share = len(folds) / len(chosen)
    together, alone, baselines = together * share, alone * share, baselines * share
    print(f"{len(folds)} folds, {person.betas.shape[1]} voxels, {len(person.betas)} trials; "
          f"balanced accuracy {balanced_accuracy_score(person.target_rows, guesses):.3f}")
    print(f"fit {fit:.1f} s; {args.permutations} refits together {together:.1f} s, "
          f"{together / fit:.1f} times the fit; one after the other about "
          f"{alone * args.permutations:.0f} s, {alone * args.permutations / fit:.0f} times")
    print(f"baselines other than {WHOLE}: {baselines:.1f} s, 20 refits "
          f"{20 * baselines / fit:.1f} times the fit of the decoder")


if __name__ == "__main__":
    main()
