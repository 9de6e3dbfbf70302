#!/usr/bin/env python3
"""How often runs are questioned that are like those of training, and those that are not.

    python benchmarks/apply.py OUT --training 8 --draws 200

OUT is the output folder of a call of `bids_decoder ... --stage prepare`. Of the runs of each
participant, some are taken for training and the others are new, at random; then the first ones are
training and the rest are new, as in reality. New runs are judged as they are, with responses
scaled by 1.5, with voxels in another order, and replaced by noise of the same spread. Only the
measures of voxels are used: no decoder is fitted.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np

from bids_decoder.evaluation.shift import judge, voxel_measures
from bids_decoder.evaluation.statistics import ALPHA
from bids_decoder.glm.normalise import voxel_statistics

Change = Callable[[np.ndarray, np.random.Generator], np.ndarray]

CHANGES: dict[str, Change] = {
    "as they are": lambda rows, _: rows,
    "scaled by 1.5": lambda rows, _: 1.5 * rows,
    "voxels in another order": lambda rows, rng: rows[:, rng.permutation(rows.shape[1])],
    "noise": lambda rows, rng: rows.std() * rng.standard_normal(rows.shape),
}


def read_runs(folder: Path) -> list[np.ndarray]:
    """Read the responses of all runs of a participant, (n_trials, n_voxels) each."""
    images = [nib.load(path) for path in sorted(folder.glob("**/*_betaseries.nii.gz"))]
    data = [image.get_fdata(dtype=np.float32) for image in images]
    varies = np.logical_and.reduce([
        np.isfinite(one).all(axis=3) & (one.std(axis=3) > 0) for one in data
    ])
    return [one[varies].T for one in data]


def questioned(
    training: list[np.ndarray], new: list[np.ndarray], change: Change, rng: np.random.Generator
) -> float:
    """Return the share of new runs that are questioned."""
    known = []
    for number, own in enumerate(training):
        others = np.concatenate([one for k, one in enumerate(training) if k != number])
        known.append(voxel_measures(own, *voxel_statistics(others)))
    everything = voxel_statistics(np.concatenate(training))
    runs = {
        str(k): voxel_measures(change(one, rng), *everything) for k, one in enumerate(new)
    }
    table = judge(runs, known)
    return float((table.groupby("run_group")["p_corrected"].min() <= ALPHA).mean())


def main() -> None:
    """Print the share of questioned runs of each kind."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("output_dir", type=Path)
    parser.add_argument("--training", type=int, default=8, help="number of training runs")
    parser.add_argument("--draws", type=int, default=200)
    given = parser.parse_args()
    people = [read_runs(folder) for folder in sorted(given.output_dir.glob("sub-*[0-9]"))
              if folder.is_dir()]
    for name, change in CHANGES.items():
        rng, drawn, first = np.random.default_rng(0), [], []
        for runs in people:
            order = [rng.permutation(len(runs)) for _ in range(given.draws)]
            drawn += [
                questioned([runs[k] for k in one[:given.training]],
                           [runs[k] for k in one[given.training:]], change, rng)
                for one in order
            ]
            first.append(questioned(runs[:given.training], runs[given.training:], change, rng))
        print(f"{name:<26} at random {np.mean(drawn):6.1%}   first {given.training} runs "
              f"{np.mean(first):6.1%}")


if __name__ == "__main__":
    main()
