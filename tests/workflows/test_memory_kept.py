"""Freed memory serves the next array, idle workers give it back, and garbage is found."""

import subprocess
import sys

import pytest

CODE = """
import ctypes, resource, sys
import numpy as np
from bids_decoder.workflows.worker import keep_memory, release_memory

if not hasattr(ctypes.CDLL(None), "mallopt"):
    sys.exit(77)

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    np.ones(50_000_000, np.float32)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

def resident():
    return int(open("/proc/self/statm").read().split()[1]) * resource.getpagesize()

assert min(faults(), faults()) > 90  # even where pages are of 2 MB
before = resident()
keep_memory()
faults()
assert faults() < 10
assert resident() - before > 150e6
release_memory()
assert resident() - before < 50e6
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_large_arrays_take_no_new_pages_until_memory_is_released():
    done = subprocess.run(
        [sys.executable, "-c", CODE], check=False, capture_output=True, text=True,
    )
    if done.returncode == 77:
        pytest.skip("the C library has no mallopt")
    assert done.returncode == 0, done.stderr


COUNTING = """
import gc
import sys
from bids_decoder.workflows.worker import collect_rarely

runs = []
gc.callbacks.append(lambda phase, info: runs.append(info["generation"]))

def count():
    runs.clear()
    cycles()
    return len(runs) // 2

def cycles():
    for _ in range(200_000):
        one = []
        one.append(one)

often = count()
collect_rarely()
rarely = count()
assert 0 < rarely < often / 5, (often, rarely)
assert len(gc.get_objects()) < 60_000  # nothing piles up
"""


def test_garbage_is_looked_for_less_often_but_still_found():
    done = subprocess.run(
        [sys.executable, "-c", COUNTING], check=False, capture_output=True, text=True,
    )
    assert done.returncode == 0, done.stderr
