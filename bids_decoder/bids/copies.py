"""Runs and volumes that are in a dataset more than once, whatever their headers and file types.

Volumes whose signatures (:mod:`.signatures`) fall into one cell of a grid are taken to be equal.
Two grids are used, the second one shifted by half a cell, so that rounding does not separate
copies at a border. The computing time is linear in the number of volumes.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import combinations
from pathlib import Path

import numpy as np

from bids_decoder.bids.dataset import BoldRun, Dataset, Participant
from bids_decoder.bids.released_runs import beta_bytes
from bids_decoder.bids.signatures import CELL, N_PROJECTIONS, SAMPLED, read_run, read_volumes
from bids_decoder.processes import map_items

COPIED_SHARE = 0.5
"""Share of the volumes of a run that another run must have for the two to be copies."""

READ_LIMIT = 512 * 1024**2
"""Bytes of images up to which all volumes of a dataset are compared."""

MAX_WHOLE_RUNS = 1000
"""Runs up to which all volumes of a dataset are compared."""


@dataclass(frozen=True, order=True)
class Volume:
    """A volume of a run.

    Parameters
    ----------
    participant : str
        Label without ``sub-``.
    run_group : str
    number : int
        Counted from 1.
    """

    participant: str
    run_group: str
    number: int

    @property
    def run(self) -> tuple[str, str]:
        """Participant and run."""
        return self.participant, self.run_group

    def __str__(self) -> str:
        """Return the name of the volume as findings show it."""
        return f"sub-{self.participant} {self.run_group} volume {self.number}"


@dataclass(frozen=True)
class Copies:
    """Runs and volumes found more than once.

    Parameters
    ----------
    n_runs, n_volumes : int
        Number of runs and volumes that were compared.
    n_skipped : int
        Volumes without enough distinct values to be compared (empty or constant ones).
    whole : bool
        False where only the first volumes of each run were compared.
    runs : tuple of tuple of (str, str)
        Groups of identical runs, each as participant and run.
    volumes : tuple of tuple of Volume
        Groups of identical volumes of different runs, without those of identical runs.
    """

    n_runs: int = 0
    n_volumes: int = 0
    n_skipped: int = 0
    whole: bool = True
    runs: tuple[tuple[tuple[str, str], ...], ...] = ()
    volumes: tuple[tuple[Volume, ...], ...] = ()


def find_copies(dataset: Dataset, participants: Sequence[Participant], n_processes: int) -> Copies:
    """Compare the images of all runs.

    Parameters
    ----------
    dataset : Dataset
        All volumes of all participants are compared where the images are small and few.
    participants : sequence of Participant
        Otherwise the first volumes of these participants are, and runs that agree in them are read
        whole.
    n_processes : int

    Returns
    -------
    Copies
        Images that cannot be read are left out; other checks report them.
    """
    sizes = [_size(run) for run in dataset.runs]
    whole = sum(sizes) <= READ_LIMIT and len(sizes) <= MAX_WHOLE_RUNS
    if whole:
        return _compare(_read_all(dataset.runs, None, n_processes), whole=True)
    runs = [run for person in participants for run in person.runs]
    first = _read_all(runs, SAMPLED, n_processes)
    suspects = {v.run for group in _equal_volumes(first) for v in group}
    again = [run for run in runs if (run.subject, run.run_group) in suspects]
    found = _compare(_read_all(again, None, n_processes), whole=False)
    counted = _compare(first, whole=False)
    return Copies(counted.n_runs, counted.n_volumes, counted.n_skipped, False, found.runs,
                  found.volumes)


def find_equal_images(
    images: Mapping[str, Path], n_processes: int
) -> tuple[tuple[tuple[str, ...], ...], int]:
    """Find participants with the same image, where each has one.

    Parameters
    ----------
    images : mapping of str to Path
        Image of each participant; of several volumes the first one is compared.
    n_processes : int

    Returns
    -------
    groups : tuple of tuple of str
        Participants with equal volumes, whatever headers, compression and data type are.
    n_compared : int
        Number of images; those that cannot be read, and those with few different values, are not.
    """
    rows = map_items(partial(read_volumes, n_volumes=1), images.values(), n_processes)
    found = {(label, ""): row for label, row in zip(images, rows, strict=True) if row is not None}
    signatures = _Signatures(found)
    groups = tuple(
        tuple(volume.participant for volume in group) for group in _equal_volumes(signatures)
    )
    return groups, len(signatures.compared()[0])


def _size(run: BoldRun) -> int:
    if run.released is not None:
        return beta_bytes(run)
    return run.image_file.stat().st_size if run.image_file.is_file() else 0


@dataclass
class _Signatures:
    """Projections of the volumes of runs; rows of NaN stand for volumes that are not compared."""

    runs: dict[tuple[str, str], np.ndarray] = field(default_factory=dict)

    def compared(self) -> tuple[list[tuple[tuple[str, str], int]], np.ndarray]:
        """Return run and number of the volumes that are compared, and their rows."""
        if not self.runs:
            return [], np.zeros((0, N_PROJECTIONS + 1))
        rows = np.concatenate(list(self.runs.values()))
        used = np.isfinite(rows[:, 0])
        names = ((run, n) for run, own in self.runs.items() for n in range(1, len(own) + 1))
        return [name for name, is_used in zip(names, used, strict=True) if is_used], rows[used]


def _read_all(
    runs: Sequence[BoldRun], n_volumes: int | None, n_processes: int
) -> _Signatures:
    read = partial(read_run, n_volumes=n_volumes)
    rows = map_items(read, runs, n_processes)
    pairs = zip(runs, rows, strict=True)
    return _Signatures({(r.subject, r.run_group): s for r, s in pairs if s is not None})


def _equal_volumes(signatures: _Signatures) -> list[tuple[Volume, ...]]:
    """Group the volumes of different runs that are equal."""
    links: dict[Volume, Volume] = {}

    def root(volume: Volume) -> Volume:
        while (above := links.get(volume, volume)) != volume:
            volume = above
        return volume

    names, rows = signatures.compared()
    for shift in (0.0, 0.5):
        cells: dict[bytes, int] = {}
        for place, key in enumerate(np.floor(rows / CELL + shift).astype(np.int64)):
            met = cells.setdefault(key.tobytes(), place)
            if met == place:
                continue
            first, own = (
                root(Volume(*run, number)) for run, number in (names[met], names[place])
            )
            if first != own:
                links[max(first, own)] = min(first, own)
    groups: dict[Volume, list[Volume]] = defaultdict(list)
    for volume in {*links, *links.values()}:
        groups[root(volume)].append(volume)
    found = [tuple(sorted(group)) for group in groups.values()]
    return sorted(group for group in found if len({v.run for v in group}) > 1)


def _compare(signatures: _Signatures, *, whole: bool) -> Copies:
    groups = _equal_volumes(signatures)
    counts = {run: int(np.isfinite(rows[:, 0]).sum()) for run, rows in signatures.runs.items()}
    shared = Counter(
        pair for group in groups for pair in combinations(sorted({v.run for v in group}), 2)
    )
    copied = [
        pair for pair, number in shared.items()
        if number >= COPIED_SHARE * min(counts[run] for run in pair)
    ]
    runs = _chained(copied)
    among = {run: number for number, group in enumerate(runs) for run in group}
    volumes = [g for g in groups if len({among.get(v.run, v.run) for v in g}) > 1]
    return Copies(
        len(signatures.runs), sum(counts.values()),
        sum(len(rows) for rows in signatures.runs.values()) - sum(counts.values()), whole,
        tuple(runs), tuple(volumes),
    )


def _chained(pairs: Iterable[tuple[tuple[str, str], tuple[str, str]]]) -> list[tuple]:
    """Join pairs that have a member in common to groups."""
    group_of: dict[tuple[str, str], set[tuple[str, str]]] = {}
    for pair in pairs:
        joined = set(pair).union(*(group_of.get(run, set()) for run in pair))
        group_of |= dict.fromkeys(joined, joined)
    unique = {id(group): group for group in group_of.values()}
    return sorted(tuple(sorted(group)) for group in unique.values())
