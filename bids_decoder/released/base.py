"""Value objects of released responses: where they are stored, and which trials they belong to."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd

from bids_decoder.errors import Finding
from bids_decoder.files import content_key
from bids_decoder.trials import VoxelGrid


@dataclass(frozen=True)
class Stored:
    """An array of responses in a file.

    Parameters
    ----------
    file : Path
    name : str
        Name of the array in files that hold several; empty for the others.
    trials_last : bool
        Whether the last axis, as the array is indexed in Python, is that of trials; it is the
        first one otherwise.
    is_reversed : bool
        Whether the axes of space are stored in reversed order, as by MATLAB.
    scale : float
        What stored values are divided by.
    """

    file: Path
    name: str = ""
    trials_last: bool = False
    is_reversed: bool = False
    scale: float = 1.0

    def __str__(self) -> str:
        """Return the file and the name of the array in it."""
        return f"{self.file}/{self.name}" if self.name else str(self.file)


@dataclass(frozen=True, eq=False)
class Responses:
    """The responses to some trials.

    Parameters
    ----------
    parts : tuple of Stored
        Arrays of the same trials whose voxels are side by side; mostly one.
    rows : ndarray of int, shape (n_trials,)
        Trials in the arrays, from 0.
    columns : ndarray of int, shape (n_voxels,)
        Voxel of the arrays for each voxel of the grid: the axes of space are taken in the order
        x, y, z, in which z changes fastest.
    grid : VoxelGrid
        A container of shape (n_voxels, 1, 1) where positions are not known.
    n_volumes : ndarray of int, shape (n_trials,), or None
        Where the arrays are time series: each response is the mean of so many volumes from its
        row on, after the linear trend of each voxel over all volumes is removed.
    """

    parts: tuple[Stored, ...]
    rows: np.ndarray
    columns: np.ndarray
    grid: VoxelGrid
    n_volumes: np.ndarray | None = None

    @property
    def files(self) -> tuple[Path, ...]:
        """The files, each once."""
        return tuple(dict.fromkeys(part.file for part in self.parts))

    def key(self) -> str:
        """Hash what is read from the files, without their content and place."""
        parts = [(p.name, p.trials_last, p.is_reversed, p.scale) for p in self.parts]
        digest = hashlib.sha256()
        for array in (self.rows, self.columns):
            digest.update(np.ascontiguousarray(array, dtype=np.int64))
        digest.update(np.packbits(self.grid.mask))
        if self.n_volumes is not None:
            digest.update(np.ascontiguousarray(self.n_volumes, dtype=np.int64))
        grid = [self.grid.mask.shape, self.grid.affine.tolist()]
        return content_key([parts, grid, digest.hexdigest()])


@dataclass(frozen=True, eq=False)
class ReleasedRun:
    """One run, or one session where runs are not told apart.

    Parameters
    ----------
    session, run : str or None
    task : str
    table : DataFrame, n_trials rows
        Text cells, None where one is missing; ``stimulus``, and whatever else is known.
    responses : Responses
    layout : str
        Title of the layout.
    ncsnr : Path or None
        Image with the noise ceiling signal-to-noise ratio of each voxel of the participant, on the
        grid of the responses, where the release has one.
    """

    session: str | None
    task: str
    run: str | None
    table: pd.DataFrame
    responses: Responses
    layout: str = ""
    ncsnr: Path | None = None


@dataclass(frozen=True)
class ReleasedPerson:
    """One participant.

    Parameters
    ----------
    label : str
        Letters and digits.
    runs : tuple of ReleasedRun
    """

    label: str
    runs: tuple[ReleasedRun, ...]


@dataclass(frozen=True)
class Released:
    """What was found in a folder.

    Parameters
    ----------
    people : tuple of ReleasedPerson
    findings : tuple of Finding
        Errors of participants, who are then not in *people*, and warnings.
    remarks : tuple of str
        What the plan says about how the folder was read.
    stimuli : Path or None
        Folder of the pictures, where the release has one.
    """

    people: tuple[ReleasedPerson, ...] = ()
    findings: tuple[Finding, ...] = ()
    remarks: tuple[str, ...] = ()
    stimuli: Path | None = None


@dataclass(frozen=True, eq=False)
class EventsOfRun:
    """Events of one run of the BIDS dataset beside the responses.

    Parameters
    ----------
    session, run : str or None
    task : str
    rows : DataFrame
        All events in order of onset.
    shown : DataFrame
        Without rows that show no stimulus, such as rest.
    """

    session: str | None
    task: str
    run: str | None
    rows: pd.DataFrame
    shown: pd.DataFrame


Events = Mapping[str, tuple[EventsOfRun, ...]]
"""Events of all runs in natural order, by label of the participant."""


@dataclass(frozen=True)
class Layout:
    """One layout of released responses.

    Parameters
    ----------
    name : str
        Short name.
    title : str
        What is shown in plan, sidecars and methods text.
    looks_like : str
        Files by which it is recognised, for messages.
    recognise : callable
        Whether a folder has this layout; reads names only.
    read : callable
        Reads tables and the shapes of arrays.
    needs_events : bool
        Whether trials may be named by the events of a BIDS dataset.
    """

    name: str
    title: str
    looks_like: str
    recognise: Callable[[Path], bool] = field(repr=False)
    read: Callable[[Path, Events], Released] = field(repr=False)
    needs_events: bool = False
