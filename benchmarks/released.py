"""Memory and time of reading and writing released responses of one participant.

    python benchmarks/released.py                     30,000 trials x 15,724 voxels, int16 .npy
    python benchmarks/released.py hdf5                the same as float32 HDF5, as MindEye2 has it
    python benchmarks/released.py npy write           and written as beta series of 40 sessions

A file of random numbers is made in a temporary folder, 0.9 or 1.9 GB, and removed at the end.
Memory is the peak of the process that reads, without that which made the file.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from bids_decoder.interfaces.released import write_beta_series
from bids_decoder.released.base import ReleasedRun, Responses, Stored
from bids_decoder.released.blocks import read_runs
from bids_decoder.released.files import measure
from bids_decoder.released.grids import without_positions
from bids_decoder.released.tables import as_text

N_TRIALS, N_VOXELS, N_SESSIONS = 30_000, 15_724, 40


def make_file(folder: Path, form: str) -> Path:
    """Write random responses in parts."""
    rng = np.random.default_rng(0)
    step = N_TRIALS // N_SESSIONS
    if form == "npy":
        path = folder / "sub-01_betas.npy"
        array = np.lib.format.open_memmap(path, "w+", np.int16, (N_TRIALS, N_VOXELS))
        for start in range(0, N_TRIALS, step):
            array[start:start + step] = rng.integers(-900, 900, (step, N_VOXELS), dtype=np.int16)
        array.flush()
        return path
    import h5py

    path = folder / "betas.hdf5"
    with h5py.File(path, "w") as file:
        array = file.create_dataset("betas", (N_TRIALS, N_VOXELS), np.float32)
        for start in range(0, N_TRIALS, step):
            array[start:start + step] = rng.standard_normal((step, N_VOXELS), dtype=np.float32)
    return path


def runs_of(path: Path) -> list[ReleasedRun]:
    """Return one run per session."""
    import pandas as pd

    stored = Stored(path, "betas" if path.suffix == ".hdf5" else "", scale=300.0)
    whole = without_positions((stored,), measure(stored))
    table = as_text(pd.DataFrame({"stimulus": ["x"] * (N_TRIALS // N_SESSIONS)}))
    return [
        ReleasedRun(
            f"{number + 1:02d}", "see", None, table,
            Responses(whole.parts, rows, whole.columns, whole.grid), "benchmark",
        )
        for number, rows in enumerate(np.array_split(whole.rows, N_SESSIONS))
    ]


def read(path: Path, writes: bool) -> None:
    """Read all runs, and write them if wanted; print time and memory."""
    start = time.perf_counter()
    runs = runs_of(path)
    if writes:
        targets = [path.parent / f"ses-{run.session}_betaseries.nii.gz" for run in runs]
        write_beta_series(runs, targets, [path.name] * len(runs))
        written = sum(target.stat().st_size for target in targets) / 1e9
        print(f"written: {written:.2f} GB in {len(targets)} images")
    else:
        total = sum(float(values.sum()) for _, values in read_runs(runs))
        print(f"sum of all responses: {total:.6g}")
    seconds = time.perf_counter() - start
    # Pages of a mapped file count as memory of the process, although the system may drop them.
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    print(f"{path.suffix}: {seconds:.1f} s, peak memory {peak:.2f} GB")


def main() -> None:
    """Make a file, and read it in a process of its own."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("form", nargs="?", choices=("npy", "hdf5"), default="npy")
    parser.add_argument("what", nargs="?", choices=("read", "write"), default="read")
    parser.add_argument("--file", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.file is not None:
        read(given.file, given.what == "write")
        return
    with tempfile.TemporaryDirectory() as folder:
        path = make_file(Path(folder), given.form)
        print(f"{path.stat().st_size / 1e9:.2f} GB")
        words = [sys.executable, __file__, given.form, given.what, "--file", str(path)]
        subprocess.run(words, check=True)


if __name__ == "__main__":
    main()
