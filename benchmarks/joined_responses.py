"""Memory and time of z-scoring and dividing a participant's responses, at the size of NSD.

    python benchmarks/joined_responses.py                  a tenth of the trials: 3,000
    python benchmarks/joined_responses.py --trials 6000    twice as many, to see how memory grows

Random responses of 15,724 voxels are written as a participant's joined responses, z-scored and
divided into training and test trials as the nodes do. Time is that of the CPU.
"""

from __future__ import annotations

import argparse
import resource
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd

from bids_decoder.bids.writer import save_table
from bids_decoder.files import write_json
from bids_decoder.interfaces.response_grids import MASK
from bids_decoder.interfaces.responses import ARRAY, REMOVED, SPACE, TABLE, load_person
from bids_decoder.trials import Targets

N_VOXELS, N_DIMS, RUN_LENGTH, HOUR = 15_724, 768, 62, 750
SHAPE = (4, 3931, 1)


def peak_gb() -> float:
    """Return the peak memory of this process."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6


def make_folder(folder: Path, n_trials: int) -> Targets:
    """Write joined responses of one participant: runs of 62 trials, 12 of them in a session."""
    rng = np.random.default_rng(0)
    array = np.lib.format.open_memmap(
        folder / ARRAY, "w+", np.float32, (n_trials, N_VOXELS)
    )
    for start in range(0, n_trials, HOUR):
        rows = min(HOUR, n_trials - start)
        array[start:start + rows] = rng.standard_normal((rows, N_VOXELS), dtype=np.float32)
    array.flush()
    runs = np.arange(n_trials) // RUN_LENGTH
    save_table(folder / TABLE, pd.DataFrame({
        "run_group": [f"ses-{run // 12:02d}_run-{run % 12:02d}" for run in runs],
        "session": [f"{run // 12:02d}" for run in runs], "trial": np.arange(n_trials) % RUN_LENGTH,
        "stimulus": [f"s{trial}" for trial in range(n_trials)], "label": "n/a",
        "excluded": "False", "fold": "n/a",
        "split": ["test" if trial % 10 == 0 else "train" for trial in range(n_trials)],
    }))
    mask = nib.Nifti1Image(np.ones(SHAPE, dtype=np.uint8), np.eye(4))
    nib.save(mask, folder / MASK)
    write_json(folder / SPACE, {"space": ""})
    write_json(folder / REMOVED, [])
    vectors = rng.standard_normal((n_trials, N_DIMS)).astype(np.float32)
    return Targets(tuple(f"s{trial}" for trial in range(n_trials)), vectors, "features")


def bench(n_trials: int) -> Iterator[tuple[str, float, float]]:
    """Yield step, CPU seconds and peak memory so far, in GB."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        targets = make_folder(folder, n_trials)
        yield "start", 0.0, peak_gb()
        started = time.process_time()
        load_person(folder, "01", targets, fold=None, normalise="session")
        yield "load", time.process_time() - started, peak_gb()


def main() -> None:
    """Print one row per step."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--trials", type=int, default=3000)
    n_trials = parser.parse_args().trials
    print(f"| step, {n_trials:,} trials | s of CPU | peak GB |\n| --- | --- | --- |", flush=True)
    for step, seconds, memory in bench(n_trials):
        print(f"| {step} | {seconds:.1f} | {memory:.2f} |", flush=True)


if __name__ == "__main__":
    main()
