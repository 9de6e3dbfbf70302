"""Paths, targets and participants of a call, shared by all workflow builders."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from bids_decoder.bids.dataset import BoldRun, Participant
from bids_decoder.bids.names import derivative_path
from bids_decoder.config import Settings
from bids_decoder.markers import StageKey
from bids_decoder.preprocessing.templates import FUNC, OutputSpace
from bids_decoder.stimuli.encoders import EncoderChoice

Source = Literal["raw", "fmriprep", "betas"]


@dataclass(frozen=True)
class TargetSpec:
    """Targets of decoding.

    Parameters
    ----------
    kind : {"category", "features", "image", "value"}
    ids : tuple of str
        Labels, stimulus ids or values of all usable trials of all participants.
    features : Path or None
    images : mapping of str to Path
        Image file of each stimulus.
    encoder : EncoderChoice
    columns : tuple of str
        Names of the values, if these are decoded.
    units : mapping of str to str
        Units of the values, as far as they are known.
    """

    kind: str
    ids: tuple[str, ...]
    features: Path | None = None
    images: Mapping[str, Path] = field(default_factory=dict)
    encoder: EncoderChoice = field(default_factory=lambda: EncoderChoice("gabor"))
    columns: tuple[str, ...] = ()
    units: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class PersonWork:
    """Data of one participant and the stages of preparation.

    Parameters
    ----------
    participant : Participant
    source : {"raw", "fmriprep", "betas"}
    trials : mapping of str to Path
        Planned trial table of each run group, with split.
    betas : StageKey
        The stage of single-trial responses, whether it is done or not.
    preprocess : StageKey or None
        The stage of preprocessing; None for preprocessed data.
    space : OutputSpace
        Space of the responses of raw data. Names of derivatives carry their space.
    confounds : Path or None
        Planned table of the confounds in events files, one row per trial; None without any.
    removed : tuple of str
        Confounds that are regressed out of responses in each fold.
    removal_key : str
        Hash of what the removal depends on; empty without removal.
    """

    participant: Participant
    source: Source
    trials: Mapping[str, Path]
    betas: StageKey
    preprocess: StageKey | None = None
    space: OutputSpace = FUNC
    confounds: Path | None = None
    removed: tuple[str, ...] = ()
    removal_key: str = ""

    @property
    def label(self) -> str:
        """Participant label."""
        return self.participant.label

    @property
    def responses_key(self) -> str:
        """Key of the responses that are fitted: of the betas, and of what is removed from them."""
        return self.betas.key + self.removal_key

    @property
    def is_released(self) -> bool:
        """Whether the responses are released ones, which are written as beta series first."""
        return any(run.released is not None for run in self.participant.runs)

    @property
    def node_label(self) -> str:
        """Label for names of nodes, where ``+`` may not be."""
        return self.label.replace("+", "-")

    @property
    def runs(self) -> tuple[BoldRun, ...]:
        """The runs with the entities of the space in which their responses are."""
        entities = self.space.entities
        return tuple(
            replace(run, entities={**run.entities, **entities}) for run in self.participant.runs
        )


@dataclass(frozen=True, eq=False)
class Work:
    """Settings, folders, device and data of a call.

    Parameters
    ----------
    settings : Settings
    output_dir, work_dir : Path
    device : str
        Resolved: ``cpu``, ``cuda`` or ``cuda:N``.
    targets : TargetSpec
    people : mapping of str to PersonWork
        By label, all participants whose responses are read.
    """

    settings: Settings
    output_dir: Path
    work_dir: Path
    device: str
    targets: TargetSpec
    people: Mapping[str, PersonWork]


def run_path(output_dir: Path, key: str, run: BoldRun) -> Path:
    """Return the path of an output of one run."""
    entities = {k: v for k, v in run.name_entities.items() if v is not None}
    return derivative_path(output_dir, key, **entities)


def betas_paths(output_dir: Path, person: PersonWork) -> tuple[list[Path], list[Path]]:
    """Return beta series and trial tables of a participant, where they are or will be."""
    tables = [run_path(output_dir, "trials", run) for run in person.runs]
    if person.source == "betas" and not person.is_released:
        return [run.image_file for run in person.runs], tables
    return [run_path(output_dir, "betaseries", run) for run in person.runs], tables


def person_entities(person: PersonWork) -> dict[str, str]:
    """Return the entities that all runs of a participant share, for outputs of the participant."""
    entities = [
        {k: v for k, v in run.name_entities.items() if v is not None} for run in person.runs
    ]
    names = ("sub", "task", "space", "cohort", "res")
    return {
        name: entities[0][name] for name in names
        if name in entities[0] and all(e.get(name) == entities[0][name] for e in entities)
    }
