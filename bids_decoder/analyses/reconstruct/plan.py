"""Plan of reconstruction: the method and its weights."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import lru_cache
from importlib.util import find_spec
from typing import Any

from bids_decoder.analyses.fitting import decoded, job_of_decoder
from bids_decoder.analyses.jobs import Job, Notes
from bids_decoder.analyses.reconstruct.options import Reconstruction
from bids_decoder.analyses.study import Study
from bids_decoder.errors import BidsDecoderError, ExitCode, Finding
from bids_decoder.evaluation.held_out import Split
from bids_decoder.stimuli.encoders import EncoderChoice
from bids_decoder.stimuli.unclip import find_pipeline
from bids_decoder.stimuli.weights import PACKAGE
from bids_decoder.workflows.work import PersonWork, TargetSpec

MIN_TEST_STIMULI = 3


@dataclass(frozen=True)
class ReconstructionPlan:
    """Parameters of reconstruction, as plain values for a node.

    Parameters
    ----------
    method : {"ridge", "unclip"}
    size : int
        Edge length of painted images in pixels.
    n_steps : int
        Denoising steps of the generator.
    low_level : float
        Weight of the painted image in the generated one.
    pipeline, pipeline_sha256 : str
        Folder of the generator and the hash of its content.
    networks : dict
        Name -> (path, sha256) of the networks of the metrics.
    """

    method: str
    size: int
    n_steps: int
    low_level: float
    pipeline: str = ""
    pipeline_sha256: str = ""
    networks: Mapping[str, tuple[str, str]] | None = None

    @property
    def content(self) -> dict[str, Any]:
        """Return all parameters that change the images, without the paths of weights."""
        networks = {name: digest for name, (_, digest) in (self.networks or {}).items()}
        fields = {k: v for k, v in asdict(self).items() if k != "pipeline"}
        return {**fields, "networks": networks}


@dataclass(frozen=True, eq=False)
class ReconstructSpec:
    """The reconstructions of one participant.

    Parameters
    ----------
    person : PersonWork
    plan : ReconstructionPlan
    card : mapping
        Card entries of the decoder, for sidecars.
    folds : tuple of int
        Folds of stimuli; (0,) for a fixed split.
    """

    person: PersonWork
    plan: ReconstructionPlan
    card: Mapping[str, Any]
    folds: tuple[int, ...]


def check(study: Study, notes: Notes) -> None:
    """Note why requested reconstructions are not possible."""
    method = study.settings.section(Reconstruction).method
    why = _why_no_pictures(study.targets, study.split)
    if why and method != "auto":
        notes.findings.append(Finding(
            f"--reconstruction {method}", why, "leave the option out, or decode images",
            ExitCode.USAGE,
        ))
    elif not why:
        try:
            _plan_of(study)
        except BidsDecoderError as error:
            notes.findings.append(error.finding)


def jobs(study: Study, notes: Notes, made: Mapping[str, Job]) -> list[Job]:
    """Return one job per decoded participant with enough held-out pictures."""
    del notes
    if _why_no_pictures(study.targets, study.split):
        return []
    plan = _plan_of(study)
    return [
        job_of_decoder(
            study, "reconstruct", person, decode,
            ReconstructSpec(person, plan, decode.card, study.folds(person.label) or (0,)),
            reconstruction=plan.content, evaluation=asdict(study.settings.evaluation),
        )
        for person, decode in decoded(study, made)
        if _n_tested(study, person.label) >= MIN_TEST_STIMULI
    ]


def _n_tested(study: Study, label: str) -> int:
    trials = study.usable_trials(label)
    return trials.loc[trials["split"].isin(["test", "cv"]), "stimulus"].nunique()


def _why_no_pictures(targets: TargetSpec, split: Split) -> str:
    if targets.kind != "image":
        return f"the target is {targets.kind}, not image"
    if len(split.tested_stimuli) < MIN_TEST_STIMULI:
        return f"{len(split.tested_stimuli)} stimuli are held out; three are needed"
    return ""


def _plan_of(study: Study) -> ReconstructionPlan:
    return _make_plan(study.settings.section(Reconstruction), study.targets.encoder)


@lru_cache(maxsize=1)
def _make_plan(wanted: Reconstruction, encoder: EncoderChoice) -> ReconstructionPlan:
    """Choose the method and find its weights.

    Raises
    ------
    BidsDecoderError
        When weights are missing or damaged.
    """
    method = "ridge" if wanted.method == "auto" else wanted.method
    given: dict[str, Any] = {}
    if method == "unclip":
        pipeline = find_pipeline(wanted.weights, encoder)
        given |= {"pipeline": str(pipeline.path), "pipeline_sha256": pipeline.sha256}
    if wanted.metric_weights is not None or find_spec(PACKAGE) is not None:
        from bids_decoder.stimuli.perceptual import find_networks

        networks = find_networks(wanted.metric_weights)
        given["networks"] = {k: (str(w.path), w.sha256) for k, w in networks.items()}
    return ReconstructionPlan(method, wanted.size, wanted.n_steps, wanted.low_level, **given)
