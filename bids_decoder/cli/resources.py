"""What this process may use: processors, memory; also inside containers and batch jobs."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

from bids_decoder.config import Settings

_CGROUP_FILES = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")
_QUOTA_FILE = "/sys/fs/cgroup/cpu.max"


def available_processors() -> int:
    """Count the processors this process may run on: its affinity, cut by the cgroup's quota."""
    count = len(os.sched_getaffinity(0))
    try:
        quota, period = Path(_QUOTA_FILE).read_text().split()
    except (OSError, ValueError):
        return count
    return count if quota == "max" else max(1, min(count, int(quota) // int(period)))


def available_memory_gb() -> float:
    """Give the memory this process may use, in GB: the least of cgroup, batch job, machine."""
    machine = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9
    limits = [machine]
    for name in _CGROUP_FILES:
        try:
            text = Path(name).read_text().strip()
        except OSError:
            continue
        if text.isdigit():
            limits.append(int(text) / 1e9)
    job = os.environ.get("SLURM_MEM_PER_NODE", "")
    if job.isdigit() and int(job) > 0:
        limits.append(int(job) * 2**20 / 1e9)
    return min(limits)


def with_resources(settings: Settings) -> Settings:
    """Fill in processors, threads and memory that were not given.

    Threads per node default to one: results are then the same bytes however many processes run.
    """
    given = settings.resources
    return replace(settings, resources=replace(
        given,
        nprocs=given.nprocs or available_processors(),
        omp_nthreads=given.omp_nthreads or 1,
        mem_gb=given.mem_gb or round(0.9 * available_memory_gb(), 2),
    ))
