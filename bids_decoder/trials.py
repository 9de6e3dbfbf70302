"""Value objects that all numerical packages share: the voxel grid and a participant's trials."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd

from bids_decoder.agreement import same_grid
from bids_decoder.files import content_key
from bids_decoder.grids.base import Geometry
from bids_decoder.grids.grayordinates import Grayordinates
from bids_decoder.grids.surface import Mesh
from bids_decoder.grids.volume import Container, Volume

TRIAL_COLUMNS: dict[str, str] = {
    "trial": "Row number within the run, from 1; row i belongs to volume i of the beta series.",
    "onset": "Seconds from the start of the first stored volume; n/a where no timing is known.",
    "duration": "Seconds; n/a where no timing is known.",
    "session": "Session label, n/a where the dataset has no sessions.",
    "task": "Task label.",
    "run": "Run label; n/a where the dataset has none.",
    "run_group": "Session, task and run in one text: the unit of cross-validation.",
    "stimulus": "Stimulus identity, always text.",
    "label": "Category label used when labels are decoded; n/a where there is none.",
    "repeat": "How many times this participant saw the stimulus before, in order of time.",
    "n_events": "Number of rows of the events file merged into this trial.",
    "split": "train, test, or cv (test in one fold, training in the others); see plan.json.",
    "fold": "Number of the fold in which the trial is test, from 1; n/a for training trials.",
    "excluded": "True when the trial is not used.",
    "reason": "Why the trial is excluded; n/a otherwise.",
}
"""Columns of every trial table, in order, with the description that goes into its sidecar."""

VALUE = "value"
"""Further column of the trial table where numbers are decoded."""

VALUE_TEXT = (
    "Numbers that are decoded, of the columns of --value-column in their order, separated by "
    "spaces; n/a where one is missing."
)

FROM_EVENTS = "events."
"""How names of further columns begin that planned tables carry from events files: confounds. They
are not written with the trials."""

KEPT = "kept."
"""How names of further columns begin that planned tables keep, as they are in the events files, for
the rules of analyses. They are not written with the trials."""

OWN_COLUMNS = (
    "session", "task", "run", "run_group", "stimulus", "label", "repeat", "trial", "onset",
    "duration",
)
"""Columns of every trial table that rules of analyses may name."""

TRIAL_ORDER, MOTION, MEAN_SIGNAL = "trial_order", "framewise_displacement", "mean_signal"
"""Confounds that are computed."""


def trial_columns(target_kind: str) -> dict[str, str]:
    """Return the columns of trial tables with their descriptions, for a kind of target."""
    return TRIAL_COLUMNS | ({VALUE: VALUE_TEXT} if target_kind == VALUE else {})


Layout = Mesh | Grayordinates
"""What is on a grid that holds no volume."""


@dataclass(frozen=True, eq=False)
class VoxelGrid:
    """The voxels of one participant, or the vertices, that are used for decoding.

    Parameters
    ----------
    mask : ndarray of bool, shape (i, j, k)
        True where a voxel is used. Order of voxels is C order of this mask. Vertices are a grid
        of shape (n_vertices, 1, 1).
    affine : ndarray of float, shape (4, 4)
        Voxel indices to millimetres.
    layout : Mesh, Grayordinates, or None
        What is on a grid of shape (n, 1, 1) where it holds no volume.
    """

    mask: np.ndarray
    affine: np.ndarray
    layout: Layout | None = None

    @cached_property
    def geometry(self) -> Geometry:
        """Positions and neighbours of the voxels."""
        if self.layout is not None:
            return self.layout.geometry(self.mask.ravel())
        volume = Volume(self.mask, self.affine)
        # Two or more axes of length one: the grid is only a container.
        is_volume = sum(size > 1 for size in self.mask.shape) >= 2
        return volume if is_volume else Container(volume.positions)

    @cached_property
    def n_voxels(self) -> int:
        """Number of voxels used."""
        return int(self.mask.sum())

    @cached_property
    def indices(self) -> np.ndarray:
        """Grid indices of the voxels, shape (n_voxels, 3)."""
        return np.argwhere(self.mask)

    @property
    def coordinates(self) -> np.ndarray:
        """Positions of the voxels in millimetres, shape (n_voxels, 3)."""
        return self.geometry.positions

    def holds(self, shape: Sequence[int], affine: np.ndarray) -> bool:
        """Return whether an image of this shape and affine, (4, 4), is on this grid."""
        return same_grid((self.mask.shape, self.affine), (shape, affine))

    @property
    def voxel_volume(self) -> float:
        """Volume of one voxel in cubic millimetres."""
        return float(abs(np.linalg.det(self.affine[:3, :3])))

    @property
    def rows_key(self) -> str:
        """Which grayordinates the rows are; empty for voxels and vertices."""
        return "" if self.layout is None else self.layout.rows_key

    @property
    def has_geometry(self) -> bool:
        """Whether the voxels are those of a volume."""
        return self.geometry.fills_volume

    @property
    def has_neighbours(self) -> bool:
        """Whether it is known which voxels, or vertices, are next to each other."""
        return self.geometry.has_neighbours

    def to_volume(self, values: np.ndarray, fill: float = 0.0) -> np.ndarray:
        """Put voxel values back on the grid.

        Parameters
        ----------
        values : ndarray, shape (n_voxels,) or (n_maps, n_voxels)
        fill : float
            Value outside the mask.

        Returns
        -------
        ndarray, shape (i, j, k) or (i, j, k, n_maps)
        """
        values = np.asarray(values)
        volume = np.full(self.mask.shape + values.shape[:-1], fill, dtype=values.dtype)
        volume[self.mask] = values.T
        return volume


@dataclass(frozen=True)
class TargetKind:
    """What the rest of the program must know about a kind of target.

    Parameters
    ----------
    column : {"label", "stimulus", "value"}
        Column of the trial table that holds the id of each trial's target.
    over_runs : bool
        Whether the same targets occur in training and test, in different runs; False where
        decoding is tested on stimuli that were never trained on.
    pretrains : bool
        Whether a decoder can be pretrained on other participants.
    """

    column: str
    over_runs: bool
    pretrains: bool = True


KINDS: dict[str, TargetKind] = {
    "category": TargetKind("label", over_runs=True),
    "image": TargetKind("stimulus", over_runs=False),
    "features": TargetKind("stimulus", over_runs=False),
    "value": TargetKind(VALUE, over_runs=True, pretrains=False),
}
"""Kinds of target (:attr:`Targets.kind`)."""


@dataclass(frozen=True, eq=False)
class Targets:
    """Vectors that the decoder predicts, one per stimulus or category.

    Parameters
    ----------
    ids : tuple of str
        Stimulus ids; category labels when ``kind`` is ``"category"``, and numbers as text when
        it is ``"value"``.
    vectors : ndarray of float32, shape (n_ids, n_dims)
        Finite; unit length is not required. Values are double precision.
    kind : {"image", "features", "category", "value"}
    source : str
        Identity of the image encoder, or of the text encoder of features; empty where none was
        used.
    columns : tuple of str
        Names of the dimensions of values; empty for other kinds.
    sketched : int
        Length of the feature vectors that ``vectors`` are sketches of; 0 where they are whole.
    """

    ids: tuple[str, ...]
    vectors: np.ndarray
    kind: str
    source: str = ""
    columns: tuple[str, ...] = ()
    sketched: int = 0

    @property
    def over_runs(self) -> bool:
        """See :attr:`TargetKind.over_runs`."""
        return KINDS[self.kind].over_runs

    @property
    def numbers(self) -> np.ndarray | None:
        """Values of the rows, (n_ids, n_columns); None where no values are decoded."""
        return self.vectors if self.kind == VALUE else None

    def rows_of(self, ids: np.ndarray) -> np.ndarray:
        """Row numbers of *ids* (array of text) in this table; KeyError for unknown ids."""
        position = {name: row for row, name in enumerate(self.ids)}
        return np.array([position[name] for name in ids], dtype=np.intp)


@dataclass(frozen=True, eq=False)
class Person:
    """Single-trial responses of one participant, ready to fit or to decode.

    Parameters
    ----------
    label : str
        Participant label without ``sub-``.
    grid : VoxelGrid
    betas : ndarray of float32, shape (n_trials, n_voxels)
        z-scored with statistics of training trials; may be memory-mapped.
    trials : DataFrame, n_trials rows
        Columns as in :data:`TRIAL_COLUMNS`; excluded trials are not in it.
    target_rows : ndarray of int, shape (n_trials,)
        Row of each trial's stimulus (or category) in the :class:`Targets`.
    space : str
        Standard space of the grid's coordinates; empty where participants share none.
    """

    label: str
    grid: VoxelGrid
    betas: np.ndarray
    trials: pd.DataFrame
    target_rows: np.ndarray
    space: str = ""

    @property
    def run_groups(self) -> np.ndarray:
        """Run of each trial as text, the unit of cross-validation, shape (n_trials,)."""
        return self.trials["run_group"].to_numpy(dtype=str)

    def subset(self, rows: np.ndarray) -> Person:
        """Return the participant with only the trials *rows* (indices or boolean)."""
        return Person(
            self.label, self.grid, self.betas[rows],
            self.trials.iloc[np.arange(len(self.trials))[rows]].reset_index(drop=True),
            self.target_rows[rows], self.space,
        )


@dataclass(frozen=True)
class Decision:
    """One choice the program made, for ``plan.json`` and the report.

    Parameters
    ----------
    what : str
        The thing decided, for instance ``"stimulus column"``.
    value : str
        What was chosen.
    reason : str
        Why, with the numbers that led to it.
    """

    what: str
    value: str
    reason: str


def exclude_trials(table: pd.DataFrame, rows: np.ndarray | pd.Series, reason: str) -> pd.DataFrame:
    """Return a trial table without further trials.

    Parameters
    ----------
    table : DataFrame, n_trials rows
    rows : bool, shape (n_trials,)
        Trials that are used so far, and no longer.
    reason : str
    """
    left_out = np.asarray(rows, dtype=bool)
    return table.assign(
        excluded=table["excluded"].to_numpy(dtype=bool) | left_out,
        reason=table["reason"].astype(object).where(~left_out, reason),
    )


def table_key(table: pd.DataFrame) -> str:
    """Hash the columns and cells of a trial table, without what is not written with the trials."""
    names = [
        name for name in table.columns if not str(name).startswith((FROM_EVENTS, KEPT))
    ]
    return content_key({
        str(name): [str(cell) for cell in table[name].tolist()] for name in names
    })


def confounds_of(table: pd.DataFrame) -> pd.DataFrame:
    """Return the confounds that a trial table carries from events files, by their names there."""
    return pd.DataFrame(
        {name.removeprefix(FROM_EVENTS): table[name] for name in confound_columns(table)},
        index=table.index,
    )


def confound_columns(table: pd.DataFrame) -> list[str]:
    """Return the columns of a trial table that are confounds from events files."""
    return [name for name in table.columns.tolist() if str(name).startswith(FROM_EVENTS)]


def rule_columns(table: pd.DataFrame) -> pd.DataFrame:
    """Return the columns of a trial table by which rules of analyses choose trials.

    Parameters
    ----------
    table : DataFrame, n_trials rows
        Planned trial table.

    Returns
    -------
    DataFrame, n_trials rows
        :data:`OWN_COLUMNS`, and columns of events files that were kept for such rules, by their
        names there and with the values before ``--relabel``. A column of the table that has no
        value, as that of sessions where there are none, gives way to one of the events files.
    """
    kept = {
        name.removeprefix(KEPT): table[name] for name in table.columns if name.startswith(KEPT)
    }
    own = {
        name: table[name] for name in OWN_COLUMNS
        if name not in kept or table[name].notna().any()
    }
    return pd.DataFrame({**kept, **own}, index=table.index)
