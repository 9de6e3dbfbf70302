"""What a call has to do, as data: made by the plan, wired by the builders."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import pandas as pd

from bids_decoder.bids.dataset import BoldRun, Participant
from bids_decoder.bids.names import derivative_path
from bids_decoder.config import Settings
from bids_decoder.markers import StageKey
from bids_decoder.preprocessing.templates import FUNC, OutputSpace
from bids_decoder.stimuli.encoders import EncoderChoice

Source = Literal["raw", "fmriprep", "betas"]


@dataclass(frozen=True)
class TargetSpec:
    """What is decoded.

    Parameters
    ----------
    kind : {"category", "features", "image"}
    ids : tuple of str
        Labels or stimulus ids of all usable trials of all participants.
    features : Path or None
    images : mapping of str to Path
        Image file of each stimulus.
    encoder : EncoderChoice
    gallery : mapping of str to Path
        More images among which what was seen is sought.
    """

    kind: str
    ids: tuple[str, ...]
    features: Path | None = None
    images: Mapping[str, Path] = field(default_factory=dict)
    encoder: EncoderChoice = field(default_factory=lambda: EncoderChoice("gabor"))
    gallery: Mapping[str, Path] = field(default_factory=dict)


@dataclass(frozen=True)
class DecodeWork:
    """The decode stage of one participant.

    Parameters
    ----------
    key : StageKey
    folds : tuple of int
        Folds of cross-validation; empty for a fixed split.
    pretrained : Path or None
        Model to start from; it may be made by this very call.
    card : dict
        Added to the model card.
    reconstruction : dict or None
        Fields of :class:`~bids_decoder.interfaces.reconstruction.ReconstructionPlan`.
    """

    key: StageKey
    folds: tuple[int, ...]
    pretrained: Path | None
    card: dict[str, Any]
    reconstruction: dict[str, Any] | None = None


@dataclass(frozen=True)
class EncodeWork:
    """The encode stage of one participant.

    Parameters
    ----------
    key : StageKey
    names : tuple of str
        Encoders to fit; the chosen one first, then those that it is compared to.
    needs_pictures : bool
        Whether one of them reads pictures.
    card : dict
        Added to the model card.
    """

    key: StageKey
    names: tuple[str, ...]
    needs_pictures: bool
    card: dict[str, Any]


@dataclass(frozen=True)
class PersonWork:
    """All that is to be done for one participant; None for a stage that is done or not wanted.

    Parameters
    ----------
    participant : Participant
    source : {"raw", "fmriprep", "betas"}
    trials : mapping of str to Path
        Planned trial table of each run group, with split.
    betas_key : str
        Key of the betas stage, whether it is done or not.
    space : OutputSpace
        Where responses of raw data are estimated. Names of derivatives say it themselves.
    preprocess, betas : StageKey or None
    decode : DecodeWork or None
    encode : EncodeWork or None
    """

    participant: Participant
    source: Source
    trials: Mapping[str, Path]
    betas_key: str
    space: OutputSpace = FUNC
    preprocess: StageKey | None = None
    betas: StageKey | None = None
    decode: DecodeWork | None = None
    encode: EncodeWork | None = None

    @property
    def label(self) -> str:
        """Participant label."""
        return self.participant.label

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


@dataclass(frozen=True)
class PretrainWork:
    """One pretraining.

    Parameters
    ----------
    key : StageKey
    sources : tuple of str
        Participants it learns from.
    path : Path
        Where the model goes.
    card : dict
        Added to the model card.
    """

    key: StageKey
    sources: tuple[str, ...]
    path: Path
    card: dict[str, Any]


@dataclass(frozen=True, eq=False)
class SubjectsWork:
    """The analysis of one volume per person.

    Parameters
    ----------
    key : StageKey
    table : DataFrame
        See :class:`bids_decoder.bids.subjects.SubjectImages`.
    card : dict
        Added to sidecars and the model card.
    """

    key: StageKey
    table: pd.DataFrame
    card: dict[str, Any]


@dataclass(frozen=True)
class Work:
    """Everything one call has to do.

    Parameters
    ----------
    settings : Settings
    output_dir, work_dir : Path
    device : str
        Resolved: ``cpu``, ``cuda`` or ``cuda:N``.
    targets : TargetSpec
    people : sequence of PersonWork
        Everybody whose responses are needed, with or without something to prepare.
    pretrains : sequence of PretrainWork
    subjects : SubjectsWork or None
        Takes the place of all else.
    """

    settings: Settings
    output_dir: Path
    work_dir: Path
    device: str
    targets: TargetSpec
    people: Sequence[PersonWork]
    pretrains: Sequence[PretrainWork] = ()
    subjects: SubjectsWork | None = None


def run_path(output_dir: Path, key: str, run: BoldRun) -> Path:
    """Give the path of an output of one run."""
    entities = {k: v for k, v in run.name_entities.items() if v is not None}
    return derivative_path(output_dir, key, **entities)


def betas_paths(output_dir: Path, person: PersonWork) -> tuple[list[Path], list[Path]]:
    """Give beta series and trial tables of a person, where they are or will be."""
    tables = [run_path(output_dir, "trials", run) for run in person.runs]
    if person.source == "betas":
        return [run.image_file for run in person.runs], tables
    return [run_path(output_dir, "betaseries", run) for run in person.runs], tables


def person_entities(person: PersonWork) -> dict[str, str]:
    """Give the entities that all runs of a person share, for outputs of the person."""
    entities = [
        {k: v for k, v in run.name_entities.items() if v is not None} for run in person.runs
    ]
    names = ("sub", "task", "space", "res")
    return {
        name: entities[0][name] for name in names
        if name in entities[0] and all(e.get(name) == entities[0][name] for e in entities)
    }
