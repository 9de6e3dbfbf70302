"""State of planning: data, split, participants and targets."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd

from bids_decoder.analyses.jobs import Notes, Stage
from bids_decoder.bids.dataset import Dataset, Participant
from bids_decoder.bids.echo_settings import MultiEcho
from bids_decoder.bids.events import TrialBuild
from bids_decoder.bids.inputs import input_digests, regressor_digests
from bids_decoder.config import REGIONS, Settings
from bids_decoder.errors import Finding
from bids_decoder.evaluation.folds import fold_list
from bids_decoder.evaluation.held_out import Split
from bids_decoder.evaluation.overlap import Overlap
from bids_decoder.files import content_key, file_digest
from bids_decoder.markers import StageKey, why_not_done
from bids_decoder.preprocessing.templates import FUNC, OutputSpace
from bids_decoder.processes import map_items
from bids_decoder.regressors import split_wanted
from bids_decoder.stimuli.features import FeatureTable
from bids_decoder.stimuli.signatures import PictureSignatures
from bids_decoder.stimuli.words import StimulusVectors
from bids_decoder.training.region_settings import Regions
from bids_decoder.trials import Decision, confounds_of, table_key
from bids_decoder.workflows.atlases import AtlasCheck, AtlasPlan
from bids_decoder.workflows.checks import check_regions
from bids_decoder.workflows.region import given_pictures
from bids_decoder.workflows.work import PersonWork, TargetSpec, Work

NO_TARGETS = TargetSpec("category", ())


@dataclass(frozen=True)
class Roles:
    """Participants of pretraining and of decoding in a call.

    Parameters
    ----------
    sources : tuple of Participant
        Those that a decoder is pretrained on; empty without a group level.
    chosen : tuple of Participant
        Those that the participant level processes.
    leaves_one_out : bool
        Whether one model is pretrained for each participant, on all others.
    """

    sources: tuple[Participant, ...] = ()
    chosen: tuple[Participant, ...] = ()
    leaves_one_out: bool = False

    @property
    def labels(self) -> set[str]:
        """Return the labels of all participants whose data the call reads."""
        return {p.label for p in (*self.sources, *self.chosen)}


@dataclass(frozen=True, eq=False)
class Trials:
    """Trials of a dataset and their split.

    Parameters
    ----------
    build : TrialBuild
    split : Split
    tables : dict of str to DataFrame
        Trial tables with the split, by participant.
    overlap : Overlap
        Copies across training and test.
    pictures : PictureSignatures
        Signatures of the stimuli, stored for later calls.
    vectors : StimulusVectors or None
        Those of ``--features``.
    """

    build: TrialBuild
    split: Split
    tables: dict[str, pd.DataFrame]
    overlap: Overlap
    pictures: PictureSignatures
    vectors: StimulusVectors | None = None


@dataclass(frozen=True, eq=False)
class Study:
    """Settings, data and split from which the analyses plan.

    Parameters
    ----------
    settings : Settings
    work_dir : Path
    device : str
        Resolved: ``cpu``, ``cuda`` or ``cuda:N``.
    dataset : Dataset or None
        None until it is read.
    trials : Trials or None
        None where no analysis of the call uses trials.
    data : object
        Data of an analysis that does not use trials.
    roles : Roles
    targets : TargetSpec
    space : OutputSpace
        Where responses of raw data are estimated.
    """

    settings: Settings
    work_dir: Path
    device: str
    dataset: Dataset | None = None
    trials: Trials | None = None
    data: Any = None
    roles: Roles = Roles()
    targets: TargetSpec = NO_TARGETS
    space: OutputSpace = FUNC
    _digests: dict[Path, str] = field(default_factory=dict)

    @property
    def output_dir(self) -> Path:
        """Return the top folder of the derivatives."""
        return self.settings.execution.output_dir

    @property
    def split(self) -> Split:
        """Return the split of the trials."""
        return self.trials.split

    @property
    def tables(self) -> dict[str, pd.DataFrame]:
        """Return trial tables with the split, by participant."""
        return self.trials.tables

    @property
    def involved(self) -> tuple[Participant, ...]:
        """Return all participants whose data the call reads."""
        labels = self.roles.labels
        return tuple(p for p in self.dataset.participants if p.label in labels)

    @property
    def chosen_people(self) -> list[PersonWork]:
        """Return the data of the participants that the participant level processes."""
        return [self.people[participant.label] for participant in self.roles.chosen]

    @property
    def device_kind(self) -> str:
        """Return the device without its number, for keys."""
        return self.device.split(":", maxsplit=1)[0]

    @cached_property
    def people(self) -> dict[str, PersonWork]:
        """Return data and stages of preparation of all participants; their files are read."""
        ignored: dict[str, Any] = (
            {"fieldmaps": ()} if "fieldmaps" in self.settings.preprocessing.ignore else {}
        )
        pairs = [
            (replace(person, **ignored), self.tables[person.label]) for person in self.involved
        ]
        contents = map_items(_contents, pairs, self.settings.resources.nprocs)
        return {
            person.label: self._person(person, *found)
            for person, found in zip(self.involved, contents, strict=True)
        }

    @cached_property
    def work(self) -> Work:
        """Return the :class:`Work` of the workflow builders."""
        people = {} if self.trials is None else self.people
        return Work(
            self.settings, self.output_dir, self.work_dir, self.device, self.targets, people
        )

    def stage(self, key: StageKey, wanted: bool = True, locks: bool = True) -> Stage:
        """Look up whether a stage is done."""
        return Stage(key, why_not_done(self.output_dir, key), wanted, locks)

    def digest(self, path: Path) -> str:
        """Return the hash of a file, which is read only once."""
        if path not in self._digests:
            self._digests[path] = file_digest(path)
        return self._digests[path]

    def folds(self, label: str) -> tuple[int, ...]:
        """Return the folds of cross-validation of a participant; empty for a fixed split."""
        return self._folds[label] if self.split.is_crossed else ()

    @cached_property
    def _folds(self) -> dict[str, tuple[int, ...]]:
        return {label: tuple(fold_list(table)) for label, table in self.tables.items()}

    def first_fold(self, label: str) -> int:
        """Return the first fold of stimuli of a participant; 0 for a fixed split."""
        return self.folds(label)[0] if self.split.kind == "stimulus-folds" else 0

    def say_first_fold(self, analysis: str, notes: Notes) -> None:
        """Note that an analysis has one test set where there are folds of stimuli."""
        if self.split.kind == "stimulus-folds":
            notes.decisions.append(Decision(
                f"test set of {analysis}", "the first fold of stimuli",
                "its models cannot be joined over folds; decoding tests all stimuli",
            ))

    def usable_trials(self, label: str) -> pd.DataFrame:
        """Return the trials of a participant that are not excluded."""
        table = self.tables[label]
        return table[~table["excluded"].astype(bool)]

    @cached_property
    def target_key(self) -> dict[str, Any]:
        """Return the key of the targets, by content; pictures are read once for it."""
        spec = self.targets
        if spec.kind == "category":
            return {"kind": spec.kind, "labels": list(spec.ids)}
        if spec.kind == "value":
            # The values of a participant are in the key of their trials.
            return {"kind": spec.kind, "columns": list(spec.columns)}
        if spec.kind == "features":
            return {"kind": spec.kind, "file": self.text_encoder or file_digest(spec.features)}
        return {"kind": spec.kind, "encoder": spec.encoder.identity,
                "images": self.pictures_key(spec.images)}

    def pictures_key(self, paths: Mapping[str, Path]) -> str:
        """Return a key of the content of pictures."""
        digest = self.trials.pictures.digest
        return content_key({name: digest(path) for name, path in paths.items()})

    @property
    def text_encoder(self) -> str:
        """Return the identity of the text encoder of ``--features``; empty for a table."""
        return self.trials.vectors.identity

    @property
    def feature_table(self) -> FeatureTable:
        """Return the vectors of ``--features``."""
        return self.trials.vectors.of(self.targets.ids)

    def region_key(self, *people: PersonWork) -> str:
        """Return the key of ``--region`` for these participants, by content."""
        region = self.settings.troi.region
        if region not in REGIONS:
            return self.digest(Path(region))
        images = [
            (person.label, name, self.digest(path)) for person in people
            for name, path in given_pictures(person, region).items()
        ]
        return content_key([region, images]) if images else region

    @cached_property
    def region_findings(self) -> list[Finding]:
        """Return the participants in whose images ``--region`` cannot be found.

        Analyses with :attr:`region_key` in a key note them with their jobs.
        """
        return check_regions(self.output_dir, list(self.people.values()), self.settings.troi.region)

    @cached_property
    def atlases(self) -> AtlasPlan:
        """Return the atlases of ``--regions``."""
        settings = self.settings
        return AtlasPlan(
            settings.section(Regions).atlases, self.output_dir,
            settings.preprocessing.output_spaces,
        )

    @cached_property
    def atlas_check(self) -> AtlasCheck:
        """Return what is known of the regions of the chosen participants."""
        return self.atlases.check_people(self.chosen_people, self.space)

    @property
    def fit_settings(self) -> dict[str, Any]:
        """Return the settings on which every fit of a decoder depends, for keys."""
        return {
            "network": asdict(self.settings.network), "volumes": asdict(self.settings.volumes),
            "normalise": self.settings.glm.normalise,
            "seed": self.settings.random_seed, "device": self.device_kind,
        }

    def _person(
        self, participant: Participant, inputs: dict[str, Any], regressors: dict[str, str],
        trials_key: str,
    ) -> PersonWork:
        settings, unit = self.settings, f"sub-{participant.label}"
        source = self.dataset.source
        preprocess, upstream = None, inputs
        if source == "raw":
            spaces = settings.preprocessing.output_spaces
            echoes = self._echo_settings(participant)
            preprocess = self._preprocess_key(unit, inputs | echoes, spaces)
            # Responses depend on their own space, not on the other output spaces.
            own = inputs | _of_components(echoes)
            upstream = self._preprocess_key(unit, own, (str(self.space),)).key
        glm = {k: v for k, v in asdict(settings.glm).items() if k != "normalise"}
        # Own tables are in the key by their content, wherever they are.
        glm["confounds"] = split_wanted(settings.glm.confounds)[0]
        betas = StageKey("betas", unit, {
            "settings": {} if source == "betas" else glm, "upstream": upstream,
            "trials": trials_key, "seed": settings.random_seed,
            **({"regressors": regressors} if regressors else {}),
        })
        trials = self._planned_trials(participant, trials_key)
        rules = settings.trials
        confounds = confounds_of(self.tables[participant.label])
        removed = rules.controls if rules.confound_removal == "regress" else ()
        values_key = table_key(confounds)
        return PersonWork(
            participant, source, trials, betas, preprocess, self.space,
            confounds=self._planned_confounds(participant, values_key) if len(confounds.columns)
            else None,
            removed=removed,
            removal_key=content_key([*removed, values_key])[:12] if removed else "",
        )

    def _preprocess_key(
        self, unit: str, inputs: dict[str, Any], spaces: tuple[str, ...]
    ) -> StageKey:
        settings = replace(self.settings.preprocessing, output_spaces=spaces)
        return StageKey("preprocess", unit, {
            "settings": asdict(settings), "seed": self.settings.random_seed, "inputs": inputs,
        })

    def _echo_settings(self, participant: Participant) -> dict[str, Any]:
        """Return what the outputs of multi-echo runs depend on, beyond those of others."""
        if not any(run.echoes for run in participant.runs):
            return {}
        return {"multiecho": asdict(self.settings.section(MultiEcho))}

    def _planned_trials(self, participant: Participant, key: str) -> dict[str, Path]:
        """Return the paths of the planned tables, which name the content, for the node cache."""
        folder = self.work_dir / "trials" / f"sub-{participant.label}_{key[:12]}"
        return {run.run_group: folder / f"{run.run_group}_trials.tsv" for run in participant.runs}

    def _planned_confounds(self, participant: Participant, key: str) -> Path:
        folder = self.work_dir / "trials" / f"sub-{participant.label}_{key[:12]}"
        return folder / "confounds.tsv"


def _of_components(echoes: dict[str, Any]) -> dict[str, Any]:
    """Return the part of the settings of multi-echo runs on which responses depend."""
    return {"tedana": True} if echoes and echoes["multiecho"]["tedana"] else {}


def _contents(
    pair: tuple[Participant, pd.DataFrame],
) -> tuple[dict[str, Any], dict[str, str], str]:
    """Return digests of the files of a participant, and the key of the trial table."""
    participant, table = pair
    return input_digests(participant), regressor_digests(participant), table_key(table)


def job_name(analysis: str, person: PersonWork) -> str:
    """Return the name of the job of an analysis for one participant."""
    return f"{analysis}_{person.node_label}_wf"
