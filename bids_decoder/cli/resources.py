"""Processors and memory available to this process, also in containers and batch jobs."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from bids_decoder.config import Settings

_CGROUPS = "/sys/fs/cgroup"
_OWN_CGROUPS = "/proc/self/cgroup"


def available_processors() -> int:
    """Count the processors this process may run on: its affinity, cut by the cgroups' quota."""
    counts = [len(os.sched_getaffinity(0))]
    for group in _control_groups("cpu"):
        text = _text(group / "cpu.max") or " ".join(
            _text(group / f"cpu.cfs_{name}_us") for name in ("quota", "period")
        )
        quota, _, period = text.partition(" ")
        if quota.isdigit() and period.isdigit():
            counts.append(max(1, int(quota) // int(period)))
    return min(counts)


def available_memory_gb() -> float:
    """Return the memory this process may use, in GB: the least of cgroups, batch job, machine."""
    limits = [os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9]
    for group in _control_groups("memory"):
        texts = (_text(group / name) for name in ("memory.max", "memory.limit_in_bytes"))
        limits += [int(text) / 1e9 for text in texts if text.isdigit()]
    job = os.environ.get("SLURM_MEM_PER_NODE", "")
    if job.isdigit() and int(job) > 0:
        limits.append(int(job) * 2**20 / 1e9)
    return min(limits)


def _control_groups(controller: str) -> Iterator[Path]:
    """Return the folders of this process's control group and of all above it, of both versions.

    The path that the system names is that of the host; in a container the group itself is often
    the top of what is mounted.
    """
    for line in _text(Path(_OWN_CGROUPS)).splitlines():
        _, names, path = line.split(":", 2)
        if names and controller not in names.split(","):
            continue
        top = Path(_CGROUPS, controller) if names else Path(_CGROUPS)
        group = Path(top, path.lstrip("/"))
        yield group
        yield from (parent for parent in group.parents if parent.is_relative_to(top))


def _text(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return ""


def with_resources(settings: Settings) -> Settings:
    """Fill in processors, threads and memory that were not given.

    Threads per node default to one: results are then the same bytes however many processes run.
    Under torchrun nodes run in the process that it started, which is linked with the others.
    """
    given = settings.resources
    together = int(os.environ.get("WORLD_SIZE", "1")) > 1
    return replace(settings, resources=replace(
        given, nprocs=1 if together else given.nprocs or available_processors(),
        omp_nthreads=given.omp_nthreads or 1,
        mem_gb=given.mem_gb or round(0.9 * available_memory_gb(), 2),
    ))
