"""Runs and volumes that are in a dataset more than once, whatever their headers and file types.

A volume is recognised by projections of its scaled values on random signs [1]_. They do not depend
on the header, the compression or the data type, and hardly on rounding to whole numbers; volumes
whose projections fall into one cell of a grid are taken to be equal. Two grids are used, the
second one shifted by half a cell, so that rounding does not separate copies at a border. The
computing time is linear in the number of volumes.

References
----------
.. [1] Achlioptas 2003, J Comput Syst Sci 66:671.
"""

from __future__ import annotations

import zlib
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import combinations
from pathlib import Path

import nibabel as nib
import numpy as np

from bids_decoder.bids.dataset import BoldRun, Dataset, Participant
from bids_decoder.bids.image_checks import can_hold
from bids_decoder.bids.images import read_first_volumes, read_header
from bids_decoder.bids.released_checks import first_responses
from bids_decoder.bids.released_runs import beta_bytes
from bids_decoder.bids.series import is_volume, load_series
from bids_decoder.errors import BidsDecoderError
from bids_decoder.processes import map_items

N_PROJECTIONS = 16

CELL = 1e-3
"""Edge of a cell, relative to the root mean square of a volume. The rounding of 16 bit integers is
fifty times smaller; successive volumes of a run differ by ten times as much."""

MIN_LEVELS = 8
"""Distinct values that a volume must have to be compared; empty and constant ones have fewer."""

COPIED_SHARE = 0.5
"""Share of the volumes of a run that another run must have for the two to be copies."""

READ_LIMIT = 512 * 1024**2
"""Bytes of images up to which all volumes of a dataset are compared."""

MAX_WHOLE_RUNS = 1000
"""Runs up to which all volumes of a dataset are compared."""

SAMPLED = 2
"""First volumes compared where images are more; runs that agree in them are then read whole."""

MAX_VOXELS = 1 << 16
"""Voxels of a volume that are compared, evenly over the grid."""

_BLOCK = 1 << 24  # values read at a time
_UNREADABLE = (
    OSError, EOFError, zlib.error, ValueError, TypeError, nib.filebasedimages.ImageFileError,
    nib.spatialimages.HeaderDataError, nib.wrapstruct.WrapStructError, BidsDecoderError,
)


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
    rows = map_items(partial(_read, n_volumes=1), images.values(), n_processes)
    found = {(label, ""): row for label, row in zip(images, rows, strict=True) if row is not None}
    signatures = _Signatures(found)
    groups = tuple(
        tuple(volume.participant for volume in group) for group in _equal_volumes(signatures)
    )
    return groups, len(signatures.compared()[0])


def run_signatures(runs: Iterable[BoldRun]) -> dict[str, list[list[float]]]:
    """Return that by which runs are recognised in other datasets, under any name.

    Parameters
    ----------
    runs : iterable of BoldRun

    Returns
    -------
    dict of str to list
        By run group: the signatures (:func:`volume_signatures`) of the first :data:`SAMPLED`
        volumes that have enough distinct values. Images that cannot be read are left out.
    """
    found = {run.run_group: _read_run(run, SAMPLED) for run in runs}
    return {
        name: np.round(rows[np.isfinite(rows[:, 0])], 6).tolist()
        for name, rows in found.items() if rows is not None
    }


def are_copies(first: Sequence[Sequence[float]], second: Sequence[Sequence[float]]) -> bool:
    """Return whether two runs have the same :func:`run_signatures`; not where there are none."""
    one, other = np.asarray(first), np.asarray(second)
    return one.size > 0 and one.shape == other.shape and bool(np.abs(one - other).max() < CELL)


def match_copies(
    new: Mapping[str, Sequence[Sequence[float]]], known: Mapping[str, Sequence[Sequence[float]]]
) -> dict[str, str]:
    """Find runs that are copies of known ones, whatever their names.

    Parameters
    ----------
    new, known : mapping of str to list
        :func:`run_signatures` by name.

    Returns
    -------
    dict of str to str
        Name of a new run -> name of the first known run of which it is a copy.
    """
    names = [name for name, rows in known.items() if len(rows)]
    starts = np.array([known[name][0] for name in names])
    found = {}
    for own, rows in new.items():
        if not len(rows) or not names:
            continue
        # Only runs whose first volumes agree are compared in full.
        near = np.flatnonzero(np.abs(starts - np.asarray(rows[0])).max(axis=1) < CELL)
        same = next((names[k] for k in near if are_copies(rows, known[names[k]])), None)
        if same is not None:
            found[own] = same
    return found


def source_signatures(
    people: Mapping[str, Iterable[BoldRun]]
) -> dict[str, list[list[float]]]:
    """Return the signatures of all runs of several participants, by participant and run.

    Parameters
    ----------
    people : mapping of str to iterable of BoldRun
        By label.
    """
    return {
        f"sub-{label} {run}": rows
        for label, runs in people.items() for run, rows in run_signatures(runs).items()
    }


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
    read = partial(_read_run, n_volumes=n_volumes)
    rows = map_items(read, runs, n_processes)
    pairs = zip(runs, rows, strict=True)
    return _Signatures({(r.subject, r.run_group): s for r, s in pairs if s is not None})


def _read_run(run: BoldRun, n_volumes: int | None) -> np.ndarray | None:
    if run.released is None:
        return _read(run.image_file, n_volumes)
    values = first_responses(run, n_volumes)
    if values is None:
        return None
    return volume_signatures(values.T[:: max(1, values.shape[1] // MAX_VOXELS)])


def _read(path: Path, n_volumes: int | None) -> np.ndarray | None:
    try:
        in_rows = not is_volume(path)
        if not (in_rows or can_hold(path, read_header(path))):
            return None  # what is wrong is told by the checks of images
        if n_volumes is not None:
            values = read_first_volumes(path, n_volumes)
            return volume_signatures(values[:: max(1, len(values) // MAX_VOXELS)])
        # Blocks are read one after the other from the open file.
        image = load_series(path) if in_rows else nib.load(path, keep_file_open=True)
        shape = (*image.shape, 1)[:4]
        n_voxels = int(np.prod(shape[:3]))
        every, step = max(1, n_voxels // MAX_VOXELS), max(1, _BLOCK // max(1, n_voxels))
        parts = []
        for start in range(0, shape[3], step):
            where = (..., slice(start, min(start + step, shape[3])))
            data = image.dataobj[where] if len(image.shape) == 4 else image.dataobj
            values = np.asarray(data).reshape((n_voxels, -1), order="F")[::every]
            parts.append(volume_signatures(values.astype(np.float32)))
        return np.concatenate(parts) if parts else None
    except _UNREADABLE:
        return None


def volume_signatures(values: np.ndarray) -> np.ndarray:
    """Compute the projections by which volumes are recognised.

    Parameters
    ----------
    values : ndarray of float32, shape (n_voxels, n_volumes)
        Scaled values. Those that are not finite count as zero.

    Returns
    -------
    ndarray, shape (n_volumes, N_PROJECTIONS + 1)
        Projections relative to the root mean square, and its logarithm; rows of NaN where a
        volume has fewer than ``MIN_LEVELS`` distinct values.
    """
    if not np.isfinite(values).all():
        values = np.nan_to_num(values, nan=0.0, posinf=0.0, neginf=0.0)
    bits = np.random.default_rng(len(values)).integers(0, 2, (N_PROJECTIONS, len(values)))
    signs = (2 * bits - 1).astype(np.float32)
    with np.errstate(divide="ignore", invalid="ignore"):
        rms = np.sqrt(np.einsum("ij,ij->j", values, values) / len(values))
        rows = np.vstack([(signs @ values) / np.sqrt(len(values)) / rms, np.log(rms)]).T
    rows[[not _has_levels(column) for column in values.T]] = np.nan
    return rows


def _has_levels(values: np.ndarray) -> bool:
    """Return whether a volume has enough distinct values to be compared."""
    some = values[:: max(1, len(values) // 2048)]
    return len(np.unique(some)) >= MIN_LEVELS or len(np.unique(values)) >= MIN_LEVELS


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
