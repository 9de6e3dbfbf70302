"""Time and memory of ``--dry-run`` on skeleton datasets of growing size.

Each dataset has two short runs per participant, with a sidecar and an events file each. It is made
in a temporary folder, planned in a process of its own, and removed. The last line is the exponent
with which the time grows. Run it with::

    python benchmarks/index.py [--participants 100 1000 10000] [--folder FOLDER]
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import nibabel as nib
import numpy as np

N_VOLUMES, T_R = 16, 2.0
LABELS = ("face", "house", "tool")


@dataclass(frozen=True)
class Measure:
    """What one plan took: seconds, peak memory in GB, lines on the screen, exit code."""

    n_participants: int
    seconds: float
    gigabytes: float
    n_lines: int
    code: int


def make_skeleton(root: Path, n_participants: int) -> None:
    """Write a raw dataset of small images: two runs per participant, no anatomy."""
    rng = np.random.default_rng(0)
    root.mkdir(parents=True)
    (root / "dataset_description.json").write_text(
        json.dumps({"Name": f"skeleton{n_participants}", "BIDSVersion": "1.9.0"})
    )
    onsets = np.arange(6) * 4.0
    for number in range(1, n_participants + 1):
        folder = root / f"sub-{number:05d}" / "func"
        folder.mkdir(parents=True)
        for run in (1, 2):
            stem = folder / f"sub-{number:05d}_task-see_run-{run}"
            image = nib.Nifti1Image(
                rng.integers(200, 300, (3, 3, 3, N_VOLUMES), dtype=np.int16), np.diag([3, 3, 3, 1])
            )
            image.header.set_zooms((3, 3, 3, T_R))
            image.header.set_xyzt_units("mm", "sec")
            content = gzip.compress(image.to_bytes(), 1)
            Path(f"{stem}_bold.nii.gz").write_bytes(content)
            Path(f"{stem}_bold.json").write_text(json.dumps(
                {"TaskName": "see", "RepetitionTime": T_R}
            ))
            labels = rng.permutation(LABELS * 2)
            rows = [f"{onset}\t1.0\t{label}" for onset, label in zip(onsets, labels, strict=True)]
            Path(f"{stem}_events.tsv").write_text(
                "\n".join(["onset\tduration\ttrial_type", *rows]) + "\n"
            )


def measure_plan(root: Path, n_participants: int) -> Measure:
    """Plan a dataset in a process of its own."""
    with tempfile.TemporaryDirectory() as place:
        command = [
            sys.executable, "-m", "bids_decoder", str(root), f"{place}/out", "participant",
            "--from-scratch", "--dry-run", "--skip-bids-validation", "--device", "cpu",
        ]
        started = time.monotonic()
        with Path(place, "screen.txt").open("w+b") as screen:
            process = subprocess.Popen(command, stdout=screen, stderr=screen)
            _, status, usage = os.wait4(process.pid, 0)
            seconds = time.monotonic() - started
            screen.seek(0)
            lines = screen.read().splitlines()
    code = os.waitstatus_to_exitcode(status)
    if code:
        raise SystemExit(b"\n".join(lines[-20:]).decode())
    return Measure(n_participants, seconds, usage.ru_maxrss / 1024**2, len(lines), code)


def growth(measures: list[Measure]) -> float:
    """Fit the exponent of the time as a power of the number of participants."""
    sizes = np.log([m.n_participants for m in measures])
    return float(np.polyfit(sizes, np.log([m.seconds for m in measures]), 1)[0])


def main() -> None:
    """Print one line for each size, and the exponent."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--participants", type=int, nargs="+", default=[100, 1000, 10000])
    parser.add_argument("--folder", type=Path, default=None, help="where to make the datasets")
    arguments = parser.parse_args()
    print(f"{'people':>8} {'seconds':>8} {'GB':>6} {'lines':>6}")
    measures = []
    for n_participants in arguments.participants:
        with tempfile.TemporaryDirectory(dir=arguments.folder) as place:
            root = Path(place, "dataset")
            make_skeleton(root, n_participants)
            measure = measure_plan(root, n_participants)
        measures.append(measure)
        print(f"{n_participants:8d} {measure.seconds:8.1f} {measure.gigabytes:6.2f} "
              f"{measure.n_lines:6d}", flush=True)
    if len(measures) > 1:
        print(f"time grows with the power {growth(measures):.2f} of the number of participants")


if __name__ == "__main__":
    main()
