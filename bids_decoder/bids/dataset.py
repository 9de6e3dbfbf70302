"""Value objects for a dataset: participants, their runs, and the files of each run."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np

from bids_decoder.bids.cifti import is_cifti
from bids_decoder.bids.fieldmaps import FieldmapImage
from bids_decoder.bids.images import MAX_T_R, ImageHeader, read_header
from bids_decoder.bids.names import ENTITY_ORDER
from bids_decoder.bids.series import files_of
from bids_decoder.errors import Finding
from bids_decoder.released.base import ReleasedRun
from bids_decoder.trials import Decision

Source = Literal["raw", "fmriprep", "betas"]


@dataclass(frozen=True)
class Echo:
    """One echo of a multi-echo run.

    Parameters
    ----------
    file : Path
    time : float
        Echo time in seconds.
    """

    file: Path
    time: float


@dataclass(frozen=True)
class BoldRun:
    """One functional run of one participant.

    Parameters
    ----------
    subject, session, task, run : str or None
        Labels without prefix, leading zeros kept.
    source : {"raw", "fmriprep", "betas"}
    entities : dict
        Further entities by short name, as far as the file has them: ``acq``, ``dir``, ``echo``,
        ``space``, ``res``, …
    metadata : dict
        Sidecars merged by the inheritance principle.
    bold_file, events_file, mask_file, boldref_file, confounds_file : Path or None
    regressors_file : Path or None
        Own table of regressors (``--confounds FOLDER``).
    betas_file, trials_file : Path or None
        Only where ``source`` is ``"betas"``: volume *i* belongs to row *i*.
    group_by : tuple of str
        Entities that ``run_group`` needs beyond session, task and run.
    raw : BoldRun or None
        The run that a derivative was made from, where the dataset has it.
    released : ReleasedRun or None
        Released responses of the run with their trials, instead of an image and a table.
    cut_seconds : float
        How much later than in the raw run the first volume was taken.
    echoes : tuple of Echo
        All echoes of a raw multi-echo run in order, if they are combined; ``bold_file`` is the
        image of the first one.
    sbref_file : Path or None
        Single-band reference of a raw run, on the grid of ``bold_file``.
    """

    subject: str
    session: str | None
    task: str
    run: str | None
    source: Source
    entities: dict[str, str] = field(default_factory=dict)
    metadata: dict[str, Any] = field(default_factory=dict)
    bold_file: Path | None = None
    events_file: Path | None = None
    mask_file: Path | None = None
    boldref_file: Path | None = None
    confounds_file: Path | None = None
    regressors_file: Path | None = None
    betas_file: Path | None = None
    trials_file: Path | None = None
    group_by: tuple[str, ...] = ()
    raw: BoldRun | None = None
    released: ReleasedRun | None = None
    cut_seconds: float = 0.0
    echoes: tuple[Echo, ...] = ()
    sbref_file: Path | None = None

    @property
    def run_group(self) -> str:
        """Session, task and run in one text, unique within the participant."""
        pairs = [("ses", self.session), ("task", self.task), ("run", self.run)]
        pairs += [(key, self.entities.get(key)) for key in self.group_by]
        return "_".join(f"{key}-{value}" for key, value in pairs if value is not None)

    @property
    def name_entities(self) -> dict[str, str | None]:
        """Entities for :func:`bids_decoder.bids.names.derivative_path`."""
        extra = {key: value for key, value in self.entities.items() if key in ENTITY_ORDER}
        return {
            "sub": self.subject, "ses": self.session, "task": self.task, "run": self.run, **extra,
        }

    @property
    def image_file(self) -> Path:
        """The 4-D image of the run, BOLD or beta series, or the file of released responses.

        Raises
        ------
        ValueError
            When there is none of them.
        """
        path = self.betas_file or self.bold_file
        if self.released is not None:
            path = self.released.responses.files[0]
        if path is None:
            raise ValueError(f"run without an image: sub-{self.subject} {self.run_group}")
        return path

    @property
    def image_files(self) -> tuple[Path, ...]:
        """The 4-D images of the run: all of its echoes, both hemispheres, or one image."""
        if self.echoes:
            return tuple(echo.file for echo in self.echoes)
        return files_of(self.image_file)

    @property
    def header(self) -> ImageHeader:
        """Header of the image; of released responses, of the image that is made of them.

        Raises
        ------
        MissingInputError, InputError
            See :func:`bids_decoder.bids.images.read_header`.
        """
        if self.released is None:
            return read_header(self.image_file)
        grid = self.released.responses.grid
        shape = (*grid.mask.shape, len(self.released.table))
        return ImageHeader(
            shape, grid.affine, None, 0.0, grid.affine, grid.affine, np.dtype(np.float32), 0,
            (1.0, 0.0),
        )

    @property
    def sidecar_t_r(self) -> float | None:
        """Seconds between volumes according to the sidecar; None where absent or implausible."""
        value = self.metadata.get("RepetitionTime")
        usable = isinstance(value, int | float) and not isinstance(value, bool)
        return float(value) if usable and 0 < value <= MAX_T_R else None

    def t_r(self, header: ImageHeader) -> float | None:
        """Return seconds between volumes from the sidecar, else the header, else None."""
        return self.sidecar_t_r or header.t_r


@dataclass(frozen=True)
class Participant:
    """One participant and the files that the dataset has of them.

    Parameters
    ----------
    label : str
        Without ``sub-``.
    t1w_files : tuple of Path
        Raw T1w images of all sessions.
    runs : tuple of BoldRun
        In natural order of session, task and run.
    fieldmaps : tuple of FieldmapImage
        Images in ``fmap/``, and others that say that a field can be estimated from them.
    preproc_t1w, anat_mask : Path or None
        From derivatives, in the participant's own space.
    meshes : tuple of Path
        Of the surfaces that the runs are on; see :func:`bids_decoder.bids.series.find_meshes`.
    """

    label: str
    t1w_files: tuple[Path, ...]
    runs: tuple[BoldRun, ...]
    fieldmaps: tuple[FieldmapImage, ...] = ()
    preproc_t1w: Path | None = None
    anat_mask: Path | None = None
    meshes: tuple[Path, ...] = ()

    @property
    def has_layout(self) -> bool:
        """Whether it is known which vertices or grayordinates the runs have."""
        path = self.runs[0].bold_file
        return bool(self.meshes) or (path is not None and is_cifti(path))


@dataclass(frozen=True)
class Dataset:
    """All participants of a dataset, restricted by session, task, run and filter file only.

    Parameters
    ----------
    root : Path
    name : str
    source : {"raw", "fmriprep", "betas"}
    description : dict
        ``dataset_description.json``; empty where absent.
    participants : tuple of Participant
        Those with at least one usable run.
    stimuli_dir : Path or None
    derivatives : dict of str to Path
    decisions : tuple of Decision
    findings : tuple of Finding
        Collected, not raised.
    """

    root: Path
    name: str
    source: Source
    description: dict[str, Any]
    participants: tuple[Participant, ...]
    stimuli_dir: Path | None = None
    derivatives: dict[str, Path] = field(default_factory=dict)
    decisions: tuple[Decision, ...] = ()
    findings: tuple[Finding, ...] = ()

    @property
    def runs(self) -> tuple[BoldRun, ...]:
        """Runs of all participants."""
        return tuple(run for person in self.participants for run in person.runs)
