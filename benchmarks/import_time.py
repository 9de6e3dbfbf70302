"""Time of ``import bids_decoder``, beyond that of starting Python.

python benchmarks/import_time.py
"""

import subprocess
import sys
import time

N_STARTS = 20


def start_seconds(code: str) -> float:
    """Return the shortest wall time of starting Python with *code*."""
    times = []
    for _ in range(N_STARTS):
        before = time.perf_counter()
        subprocess.run([sys.executable, "-c", code], check=True)
        times.append(time.perf_counter() - before)
    return min(times)


if __name__ == "__main__":
    empty, full = start_seconds("pass"), start_seconds("import bids_decoder")
    print(f"python: {1000 * empty:.1f} ms, with the import: {1000 * (full - empty):.1f} ms more")
