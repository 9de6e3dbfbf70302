"""From settings to a plan: what the data are, how they are split, what is done, what is left."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from bids_decoder import __version__
from bids_decoder.bids.collect import collect_dataset
from bids_decoder.bids.dataset import Dataset, Participant
from bids_decoder.bids.events import TrialBuild, build_dataset_trials, with_trials_only
from bids_decoder.bids.fingerprint import fingerprint
from bids_decoder.bids.images import read_header
from bids_decoder.bids.inputs import input_digests
from bids_decoder.bids.preflight import check_dataset, check_places
from bids_decoder.bids.pretrained_files import find_pretrained, pretrained_path
from bids_decoder.bids.stimulus_files import list_images
from bids_decoder.bids.validation import validate
from bids_decoder.bids.writer import save_table
from bids_decoder.cli.device import resolve_device
from bids_decoder.cli.plan_encoding import (
    check_encoding,
    plan_encoding,
    too_few,
    wants_encoding,
)
from bids_decoder.cli.plan_overlap import PICTURES_FILE, audit_overlap, unite_stimuli
from bids_decoder.cli.plan_participants import (
    choose_decoded,
    choose_sources,
    say_participants,
)
from bids_decoder.cli.plan_tests import check_smallest_p, decide_test, n_tested
from bids_decoder.config import REGIONS, Settings
from bids_decoder.errors import (
    BidsDecoderError,
    ExitCode,
    Finding,
    FindingsError,
    InputError,
    name_some,
)
from bids_decoder.evaluation.overlap import Overlap
from bids_decoder.evaluation.splits import Split, apply_split, choose_split, fold_list
from bids_decoder.files import content_key, file_digest, read_json, write_json
from bids_decoder.markers import StageKey, why_not_done
from bids_decoder.models.store import check_digest, load_card
from bids_decoder.preprocessing.templates import FUNC, OutputSpace, response_space
from bids_decoder.stimuli.encoders import EncoderChoice, choose_encoder
from bids_decoder.stimuli.features import read_features
from bids_decoder.stimuli.signatures import PictureSignatures
from bids_decoder.stimuli.unclip import find_pipeline
from bids_decoder.training.decoders import DECODERS
from bids_decoder.trials import TRIAL_COLUMNS, Decision, table_key
from bids_decoder.workflows.anat import template_spaces
from bids_decoder.workflows.checks import (
    check_names,
    check_regions,
    check_steps,
    check_targets,
)
from bids_decoder.workflows.work import (
    DecodeWork,
    EncodeWork,
    PersonWork,
    PretrainWork,
    TargetSpec,
    Work,
)

if TYPE_CHECKING:
    from bids_decoder.cli.plan_subjects import SubjectPlan

GALLERY = "gallery/"
"""Before the names of gallery images, so that they are never taken for stimuli."""


@dataclass(frozen=True)
class Step:
    """One line of the printed plan."""

    unit: str
    stage: str
    todo: bool
    why: str


@dataclass(frozen=True, eq=False)
class Plan:
    """What a call found and what it will do.

    Parameters
    ----------
    dataset : Dataset
    build : TrialBuild
    split : Split
    tables : dict of str to DataFrame
        Trial tables with the split, by participant.
    decisions : tuple of Decision
    findings : tuple of Finding
        Errors and warnings.
    steps : tuple of Step
    work : Work
    overlap : Overlap
        What training and test share.
    pictures : PictureSignatures
        What is known of the stimuli, to be kept for later calls.
    """

    dataset: Dataset
    build: TrialBuild
    split: Split
    tables: dict[str, pd.DataFrame]
    decisions: tuple[Decision, ...]
    findings: tuple[Finding, ...]
    steps: tuple[Step, ...]
    work: Work
    overlap: Overlap
    pictures: PictureSignatures

    @property
    def is_empty(self) -> bool:
        """True when every wanted stage is done."""
        return not any(step.todo for step in self.steps)

    def to_dict(self) -> dict[str, Any]:
        """Give the content of ``plan.json``: the same for every call with the same options."""
        warnings = [f.record() for f in self.findings if f.severity == "warning"]
        return {
            "version": __version__, "dataset": self.dataset.name,
            "source": self.dataset.source, "target_kind": self.build.target_kind,
            "stimulus_column": self.build.stimulus_column,
            "label_column": self.build.label_column, "trial_unit": self.build.trial_unit,
            "fingerprint": fingerprint(self.dataset, self.build),
            "split": self.split.to_dict(), "overlap": self.overlap.to_dict(),
            "decisions": [asdict(decision) for decision in self.decisions],
            "warnings": warnings,
        }


def make_plan(settings: Settings, work_dir: Path) -> Plan | SubjectPlan:
    """Look at everything and decide everything, before anything is computed.

    Parameters
    ----------
    settings : Settings
    work_dir : Path

    Returns
    -------
    Plan or SubjectPlan
        The latter when ``subjects.label_column`` asks for one volume per person.

    Raises
    ------
    FindingsError
        With all problems at once.
    """
    if settings.subjects.label_column is not None:
        from bids_decoder.cli.plan_subjects import make_subject_plan

        return make_subject_plan(settings, work_dir)
    if wrong := check_names(settings):
        raise FindingsError(wrong)
    places = check_places(settings)
    dataset = collect_dataset(settings)
    pictures = PictureSignatures(settings.execution.output_dir / PICTURES_FILE)
    build = build_dataset_trials(dataset, settings, pictures.damaged)
    if not build.tables:
        # Nothing to split; why there are no trials is among the findings.
        raise FindingsError(check_dataset(dataset, build, dataset.participants, settings))
    dataset = with_trials_only(dataset, build)
    build, twins = unite_stimuli(build, settings, pictures)
    split, decisions, split_findings = choose_split(
        build.tables, build.target_kind, settings.trials, settings.random_seed
    )
    tables = apply_split(build.tables, split)
    device, device_decision, device_findings = _device(settings.resources.device)
    planner = _Planner(settings, dataset, build, split, tables, device, work_dir, pictures)
    overlap, overlap_decision, overlap_findings = audit_overlap(
        dataset, planner.involved, tables, twins, settings.trials.near_duplicates
    )
    findings = [*places, *device_findings, *overlap_findings]
    findings += check_dataset(dataset, build, planner.involved, settings)
    step_decisions, step_findings = check_steps(planner.involved, tables, settings)
    findings += step_findings
    findings += _split_findings(split_findings, settings)
    if dataset.source == "raw" and not settings.execution.skip_bids_validation:
        findings += validate(dataset.root)
    findings += planner.findings
    if any(f.severity == "error" for f in findings):
        raise FindingsError(findings)
    work = planner.make_work()
    if planner.scores:
        findings += check_regions(work.output_dir, work.people, settings.troi.region)
    findings = list(dict.fromkeys([*findings, *planner.findings]))
    if any(f.severity == "error" for f in findings):
        raise FindingsError(findings)
    return Plan(
        dataset, build, split, tables,
        (*dataset.decisions, *build.decisions, *decisions, overlap_decision, device_decision,
         *step_decisions, *planner.decisions),
        tuple(findings), tuple(planner.steps), work, overlap, pictures,
    )


def _device(wanted: str) -> tuple[str, Decision, list[Finding]]:
    """Resolve the device; one that is not there is told together with all other problems."""
    try:
        return *resolve_device(wanted), []
    except BidsDecoderError as error:
        return "cpu", Decision("device", "cpu", f"{wanted} cannot be used"), [error.finding]


def _split_findings(findings: Sequence[Finding], settings: Settings) -> list[Finding]:
    """Let a split that cannot be scored stop only calls that score."""
    if set(settings.execution.stage) & {"pretrain", "decode", "encode"}:
        return list(findings)
    return [Finding(f.what, f.why, f.fix, f.code, "warning", f.participant) for f in findings]


@dataclass
class _Planner:
    """Works out who takes part, which model is used and which stages are left."""

    settings: Settings
    dataset: Dataset
    build: TrialBuild
    split: Split
    tables: dict[str, pd.DataFrame]
    device: str
    work_dir: Path
    pictures: PictureSignatures
    steps: list[Step] = field(default_factory=list)
    decisions: list[Decision] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    digests: dict[Path, str] = field(default_factory=dict)
    told: set[tuple[str, str]] = field(default_factory=set)
    without_model: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        execution = self.settings.execution
        self.output_dir = execution.output_dir
        self.targets = self._target_spec()
        self.does_group = "group" in execution.analysis_level
        self.does_people = "participant" in execution.analysis_level
        self.leaves_one_out = execution.leave_one_out or self._must_leave_one_out()
        one = self.leaves_one_out
        self.sources = (choose_sources(self.dataset, execution, leaves_one_out=one)
                        if self.does_group else ())
        self.chosen = (choose_decoded(self.dataset, execution, leaves_one_out=one)
                       if self.does_people else ())
        self.decisions += say_participants(execution, self.sources, self.chosen)
        self._check_options()
        self.space = self._response_space()
        self._check_targets()
        self._check_decoder()
        self.reconstruction = self._reconstruction()
        self._check_people()

    @property
    def involved(self) -> tuple[Participant, ...]:
        """Everybody whose data this call reads."""
        labels = {p.label for p in (*self.sources, *self.chosen)}
        return tuple(p for p in self.dataset.participants if p.label in labels)

    def _must_leave_one_out(self) -> bool:
        """Both levels at once and nobody held out: a common model would have seen everybody."""
        execution = self.settings.execution
        both = self.does_group and self.does_people
        named = execution.participant_label or execution.holdout_label
        if not both or named or execution.allow_seen or execution.pretrained is not None:
            return False
        self.decisions.append(Decision(
            "pretraining", "leave one out",
            "nobody is held out, and a model may not decode people whom it saw: each participant "
            "is decoded with a model pretrained on all others",
        ))
        return True

    def _check_targets(self) -> None:
        """Find stimuli without a vector now, not when the first node asks for them."""
        spec = self.targets
        if self.scores:
            self.findings += check_targets(
                spec.kind, spec.ids, self.split.test_stimuli, spec.features
            )
        self.findings += check_encoding(self.settings, spec)

    def _check_options(self) -> None:
        if self.settings.execution.write_graph and shutil.which("dot") is None:
            self.findings.append(Finding(
                "--write-graph", "the program dot of Graphviz is not there",
                "install graphviz, or leave the option out", ExitCode.USAGE,
            ))
        region = self.settings.troi.region
        if region not in REGIONS and not Path(region).is_file():
            self.findings.append(Finding(
                f"--region {region}", "is neither brain nor occipital, nor a file",
                "give one of the two, or the path of a mask image", ExitCode.MISSING_INPUT,
            ))

    def _response_space(self) -> OutputSpace:
        """Choose where responses of raw data are; find spaces and templates that are not there."""
        texts = self.settings.preprocessing.output_spaces
        if self.dataset.source != "raw":
            return FUNC
        try:
            if "prepare" in self.settings.execution.stage:
                template_spaces(self.settings)
            space = response_space(texts)
        except BidsDecoderError as error:
            self.findings.append(error.finding)
            return FUNC
        if space != FUNC:
            self.decisions.append(
                Decision("decoding space", str(space), "first of --output-spaces")
            )
        return space

    def _check_decoder(self) -> None:
        """Find data that the decoder cannot read and targets that it cannot predict."""
        name = self.settings.network.decoder
        entry = DECODERS[name]
        if not set(self.settings.execution.stage) & {"pretrain", "decode"}:
            return
        if self.targets.kind not in entry.kinds:
            self.findings.append(Finding(
                f"--decoder {name}", f"cannot decode {self.targets.kind}",
                f"decode something else: --target {' or '.join(entry.kinds)}", ExitCode.USAGE,
            ))
        if self.settings.evaluation.ablations and name != "troi":
            self.findings.append(Finding(
                "--ablations", f"the parts left out are those of --decoder troi, not of {name}",
                "leave the option out, or use --decoder troi", ExitCode.USAGE,
            ))
        if entry.needs != "volumes":
            return
        for participant in self.involved:
            shape = read_header(participant.runs[0].image_file).shape[:3]
            if sum(size > 1 for size in shape) < 2:
                self.findings.append(Finding(
                    f"sub-{participant.label}: image grid {shape}",
                    f"its voxels have no places in a volume, which --decoder {name} reads",
                    "use --decoder troi", participant=participant.label,
                ))

    def _reconstruction(self) -> dict[str, Any] | None:
        """Choose how pictures are made and find the weights for it; None makes none."""
        wanted, targets = self.settings.reconstruction, self.targets
        if "decode" not in self.settings.execution.stage or wanted.method == "none":
            return None
        why = _why_no_pictures(targets, self.split)
        if why:
            if wanted.method != "auto":
                self.findings.append(Finding(
                    f"--reconstruction {wanted.method}", why,
                    "leave the option out, or decode images", ExitCode.USAGE,
                ))
            return None
        method = "ridge" if wanted.method == "auto" else wanted.method
        plan: dict[str, Any] = {
            "method": method, "size": wanted.size, "n_steps": wanted.n_steps,
            "low_level": wanted.low_level,
        }
        try:
            if method == "unclip":
                self._choose_prior()
                pipeline = find_pipeline(wanted.weights, targets.encoder)
                plan |= {"pipeline": str(pipeline.path), "pipeline_sha256": pipeline.sha256}
            if wanted.metric_weights is not None:
                from bids_decoder.stimuli.perceptual import find_networks

                networks = find_networks(wanted.metric_weights)
                plan["networks"] = {k: [str(w.path), w.sha256] for k, w in networks.items()}
        except BidsDecoderError as error:
            self.findings.append(error.finding)
        return plan

    def _choose_prior(self) -> None:
        if self.settings.network.prior == "none":
            self.settings = self.settings.replaced(network={"prior": "regression"})
            self.decisions.append(Decision(
                "prior", "regression", "images are generated from vectors of the right scale; in "
                "simulations regression came closer to the true vectors than a diffusion prior",
            ))

    def _reconstruction_key(self) -> dict[str, Any] | None:
        """What decides the pictures, whatever the paths of weights."""
        if self.reconstruction is None:
            return None
        kept = {k: v for k, v in self.reconstruction.items() if k not in ("pipeline", "networks")}
        networks = self.reconstruction.get("networks", {})
        return {**kept, "networks": {name: digest for name, (_, digest) in networks.items()}}

    def _check_people(self) -> None:
        wants_pretraining = self.does_group and "pretrain" in self.settings.execution.stage
        if wants_pretraining and len(self.sources) - self.leaves_one_out < 1:
            self.findings.append(Finding(
                "group", f"{len(self.sources)} participant(s) are left to pretrain on",
                "hold out fewer participants, or name more with --participant-label",
                ExitCode.NOTHING_SELECTED,
            ))
        decodes = "decode" in self.settings.execution.stage
        for person in self.chosen if decodes else ():
            self.findings += check_smallest_p(
                person.label, self.tables[person.label], self.build.target_kind,
                n_tested(self.tables[person.label], self.settings.evaluation),
            )
        if decodes and self.chosen:
            first = self.tables[self.chosen[0].label]
            self.decisions.append(decide_test(first, self.settings.evaluation))

    def _target_spec(self) -> TargetSpec:
        kind = self.build.target_kind
        column = "label" if kind == "category" else "stimulus"
        ids: set[str] = set()
        for table in self.tables.values():
            ids |= set(table.loc[~table["excluded"].astype(bool), column].dropna())
        images = {i: self.build.stimulus_files[i] for i in ids if i in self.build.stimulus_files}
        rules = self.settings.trials
        encoder, gallery = EncoderChoice("gabor"), {}
        if kind == "image" and self.scores:
            try:
                encoder = choose_encoder(rules.image_encoder, rules.encoder_weights)
            except BidsDecoderError as error:
                self.findings.append(error.finding)
        if rules.gallery is not None and self.scores:
            gallery = self._gallery(rules.gallery, kind, images)
        return TargetSpec(kind, tuple(sorted(ids)), rules.features, images, encoder, gallery)

    @property
    def scores(self) -> bool:
        """Whether this call goes on beyond single-trial responses."""
        return bool(set(self.settings.execution.stage) & {"pretrain", "decode", "encode"})

    def _gallery(self, folder: Path, kind: str, images: Mapping[str, Path]) -> dict[str, Path]:
        """List the images of the gallery without those that are damaged or were shown as test."""
        if kind != "image" or not folder.is_dir():
            why = "no such folder" if kind == "image" else f"the target is {kind}, not image"
            self.findings.append(Finding(
                f"--gallery {folder}", why, "give a folder of images, where images are decoded",
                ExitCode.MISSING_INPUT if kind == "image" else ExitCode.USAGE,
            ))
            return {}
        found = list_images(folder)
        damaged = self.pictures.damaged(found)
        tested = {name: images[name] for name in self.split.test_stimuli if name in images}
        shown = {signature.pixels for signature in self.pictures.of(tested).values()}
        kept = {
            f"{GALLERY}{name}": found[name] for name, signature in self.pictures.of(found).items()
            if signature.pixels not in shown
        }
        self.decisions.append(Decision(
            "gallery", f"{len(kept)} images", f"{folder} holds {len(found)}; left out: "
            f"{len(damaged)} that cannot be read, {len(found) - len(damaged) - len(kept)} that "
            "are test stimuli",
        ))
        if len(kept) < 2:
            self.findings.append(Finding(
                f"--gallery {folder}", f"{len(kept)} of its {len(found)} images can be used",
                "give a folder with PNG, JPEG, TIFF, BMP, GIF, WebP or HDF5 files",
                ExitCode.MISSING_INPUT,
            ))
        return kept

    def make_work(self) -> Work:
        """Find out for every stage whether it is done, and collect what is left."""
        stages = self.settings.execution.stage
        people = {p.label: self._prepare(p, "prepare" in stages) for p in self.involved}
        pretrains = self._pretrains(people) if self.does_group and "pretrain" in stages else []
        left = [p for p in pretrains if self._is_left(p.key)]
        if self.does_people and "decode" in stages:
            for participant in self.chosen:
                decode = self._decode(people[participant.label], pretrains)
                if decode is not None:
                    person = people[participant.label]
                    people[participant.label] = replace(person, decode=decode)
        self._say_without_model()
        for participant in self.chosen if wants_encoding(self.settings) else ():
            person = people[participant.label]
            people[participant.label] = replace(person, encode=self._encode(person))
        return Work(
            self.settings, self.output_dir, self.work_dir, self.device, self.targets,
            tuple(people.values()), tuple(left),
        )

    def _is_left(self, key: StageKey, wanted: bool = True) -> bool:
        why = why_not_done(self.output_dir, key)
        if (key.unit, key.stage) not in self.told:
            self.told.add((key.unit, key.stage))
            self.steps.append(Step(key.unit, key.stage, why is not None and wanted, why or "done"))
        return why is not None and wanted

    def _prepare(self, participant: Participant, wanted: bool) -> PersonWork:
        settings, unit = self.settings, f"sub-{participant.label}"
        inputs = input_digests(participant)
        source = self.dataset.source
        preprocess = None
        upstream: Any = inputs
        if source == "raw":
            spaces = settings.preprocessing.output_spaces
            preprocess = self._preprocess_key(unit, inputs, spaces)
            # Responses depend on the space that they are in, not on those written besides.
            upstream = self._preprocess_key(unit, inputs, (str(self.space),)).key
        glm = {k: v for k, v in asdict(settings.glm).items() if k != "normalise"}
        table = self.tables[participant.label]
        betas = StageKey("betas", unit, {
            "settings": {} if source == "betas" else glm, "upstream": upstream,
            "trials": table_key(table),
            "seed": settings.random_seed,
        })
        if preprocess is not None and not self._is_left(preprocess, wanted):
            preprocess = None
        left = self._is_left(betas, wanted)
        if not wanted and why_not_done(self.output_dir, betas) is not None:
            self._missing_prepare(participant)
        return PersonWork(
            participant, source, self._planned_trials(participant, table), betas.key,
            self.space, preprocess, betas if left else None,
        )

    def _preprocess_key(
        self, unit: str, inputs: dict[str, Any], spaces: tuple[str, ...]
    ) -> StageKey:
        settings = replace(self.settings.preprocessing, output_spaces=spaces)
        return StageKey("preprocess", unit, {
            "settings": asdict(settings), "seed": self.settings.random_seed, "inputs": inputs,
        })

    def _missing_prepare(self, participant: Participant) -> None:
        self.findings.append(Finding(
            f"sub-{participant.label}", "its single-trial responses are not there or not current",
            f"run 'participant --participant-label {participant.label} --stage prepare' first",
            ExitCode.MISSING_INPUT, participant=participant.label,
        ))

    def _planned_trials(self, participant: Participant, table: pd.DataFrame) -> dict[str, Path]:
        """Say where the planned tables lie; the path names the content, for the node cache."""
        name = table_key(table)[:12]
        folder = self.work_dir / "trials" / f"sub-{participant.label}_{name}"
        return {run.run_group: folder / f"{run.run_group}_trials.tsv" for run in participant.runs}

    @cached_property
    def _target_key(self) -> dict[str, Any]:
        """What the targets are, by content; pictures are read once for it."""
        spec = self.targets
        if spec.kind == "category":
            return {"kind": spec.kind, "labels": list(spec.ids)}
        if spec.kind == "features":
            return {"kind": spec.kind, "file": file_digest(spec.features)}
        return {"kind": spec.kind, "encoder": spec.encoder.identity,
                "images": self._pictures_key(spec.images)}

    @cached_property
    def _n_dims(self) -> int:
        """Length of the feature vectors."""
        return read_features(self.targets.features)[1].shape[1]

    @cached_property
    def _gallery_key(self) -> str:
        return self._pictures_key(self.targets.gallery)

    def _pictures_key(self, paths: Mapping[str, Path]) -> str:
        return content_key({name: self.pictures.digest(path) for name, path in paths.items()})

    def _fit_settings(self) -> dict[str, Any]:
        return {
            "network": asdict(self.settings.network), "volumes": asdict(self.settings.volumes),
            "normalise": self.settings.glm.normalise,
            "seed": self.settings.random_seed, "device": self.device.split(":")[0],
        }

    def _pretrains(self, people: dict[str, PersonWork]) -> list[PretrainWork]:
        labels = [p.label for p in self.sources]
        if not self.leaves_one_out:
            return [self._pretrain(None, labels, people)]
        return [
            self._pretrain(left_out, [label for label in labels if label != left_out], people)
            for left_out in labels
        ]

    def _pretrain(
        self, without: str | None, sources: list[str], people: dict[str, PersonWork]
    ) -> PretrainWork:
        key = StageKey("pretrain" if without is None else f"pretrain-without-{without}", "group", {
            **self._fit_settings(), "targets": self._target_key,
            "people": {label: people[label].betas_key for label in sources},
            "region": self._region_key(),
        })
        card = {
            "stage_key": key.key, "dataset": self.dataset.name, "version": __version__,
            "seed": self.settings.random_seed, "split": self.split.kind,
            "test_stimuli": list(self.split.test_stimuli),
            "encoder": self.targets.encoder.identity if self.targets.kind == "image" else None,
        }
        path = pretrained_path(self.output_dir, without)
        return PretrainWork(key, tuple(sources), path, card)

    def _region_key(self) -> str:
        region = self.settings.troi.region
        return region if region in REGIONS else file_digest(Path(region))

    def _decode(self, person: PersonWork, pretrains: list[PretrainWork]) -> DecodeWork | None:
        try:
            model = self._model_for(person.label, pretrains)
        except BidsDecoderError as error:
            own = person.label if f"sub-{person.label}" in error.finding.what else None
            self.findings.append(replace(error.finding, participant=own))
            return None
        path, card = model or (None, {})
        seen: dict[str, Any] = {} if model else {"from_scratch": self._why_no_model(person.label)}
        if path is not None:
            self._check_fits(person.label, path, card)
            self._check_space(person, path, card)
            seen = self._seen(person.label, path, card)
        key = StageKey("decode", f"sub-{person.label}", {
            **self._fit_settings(), "troi": asdict(self.settings.troi),
            "evaluation": asdict(self.settings.evaluation), "targets": self._target_key,
            "betas": person.betas_key, "pretrained": card.get("stage_key"),
            "region": self._region_key(), "gallery": self._gallery_key,
            "reconstruction": self._reconstruction_key(),
        })
        if not self._is_left(key):
            return None
        if path is not None and "sha256" in card:
            self._check_whole(path, card)
        table = self.tables[person.label]
        usable = table[~table["excluded"].astype(bool)]
        folds = tuple(fold_list(usable[usable["split"] == "cv"]))
        tested = usable.loc[usable["split"] == "test", "stimulus"].nunique()
        return DecodeWork(key, folds, path, {
            "dataset": self.dataset.name, "version": __version__,
            "seed": self.settings.random_seed, "split": self.split.kind, "n_folds": len(folds),
            "pretrained_key": card.get("stage_key"),
            **seen,
        }, self.reconstruction if tested >= 3 else None)

    def _encode(self, person: PersonWork) -> EncodeWork | None:
        shared = {
            "normalise": self.settings.glm.normalise, "seed": self.settings.random_seed,
            "device": self.device.split(":")[0], "targets": self._target_key,
            "region": self._region_key(),
        }
        table = self.tables[person.label]
        if too_few(table):
            self.steps.append(Step(f"sub-{person.label}", "encode", False, too_few(table)))
            return None
        return plan_encoding(
            self.settings, person, self.targets, self.split, shared, self._is_left
        )

    def _model_for(
        self, label: str, pretrains: list[PretrainWork]
    ) -> tuple[Path, dict[str, Any]] | None:
        """Find the pretrained model of a participant: made here, given, or in the output."""
        execution = self.settings.execution
        if execution.from_scratch:
            return None
        if execution.pretrained is not None:
            given = find_pretrained(execution.pretrained, label)
            return given, _card_of(given)
        own, common = (pretrained_path(self.output_dir, name) for name in (label, None))
        for pretrain in pretrains:
            if pretrain.path == (own if self.leaves_one_out else common):
                return pretrain.path, {**pretrain.card, "participants": list(pretrain.sources)}
        found = [path for path in (own, common) if path.is_file()]
        return (found[0], _card_of(found[0])) if found else None

    def _why_no_model(self, label: str) -> str:
        """Say why a participant is decoded without a pretrained model; refuse it if unwanted."""
        execution = self.settings.execution
        if execution.from_scratch:
            return "--from-scratch"
        why = "no pretrained model is in the output folder or given with --pretrained"
        if execution.require_pretrained:
            self.findings.append(Finding(
                f"sub-{label} with --pretrained required", why,
                "run the group level first, or give --pretrained PATH",
                ExitCode.MISSING_INPUT, participant=label,
            ))
        self.without_model.append(label)
        return why

    def _say_without_model(self) -> None:
        """Say who is decoded without a pretrained model that nobody declined."""
        if self.without_model:
            self.decisions.append(Decision(
                "decoding", f"from scratch: {name_some(self.without_model)}",
                "no pretrained model is in the output folder or given with --pretrained; when one "
                "is there, decoding is due again (--pretrained required stops here instead)",
            ))

    def _seen(self, label: str, path: Path, card: dict[str, Any]) -> dict[str, Any]:
        """Say what a model saw that is decoded with it; refuse it unless that is allowed."""
        person = label in card["participants"] and card["dataset"] == self.dataset.name
        stimuli = set() if self.targets.kind == "category" else (
            set(self.split.test_stimuli) & set(card.get("stimuli_seen", []))
        )
        problems = [f"it was pretrained on sub-{label}"] if person else []
        problems += [f"it saw {len(stimuli)} of the test stimuli"] if stimuli else []
        if problems:
            self.findings.append(Finding(
                f"sub-{label} with model {path.name}", " and ".join(problems),
                f"pretrain with 'group --holdout-label {label}' or --leave-one-out, or accept "
                "marked results with --allow-seen", ExitCode.BAD_DATA,
                "warning" if self.settings.execution.allow_seen else "error", label,
            ))
        return {"seen_in_pretraining": person, "test_stimuli_seen": len(stimuli)}

    def _check_whole(self, path: Path, card: dict[str, Any]) -> None:
        """Find a damaged model now, not when the first node reads it; one made here has no sum."""
        if path not in self.digests:
            self.digests[path] = file_digest(path)
        try:
            check_digest(path, card, self.digests[path])
        except BidsDecoderError as error:
            self.findings.append(error.finding)

    def _check_fits(self, label: str, path: Path, card: dict[str, Any]) -> None:
        """Find a pretrained model that predicts something else; one made by this call fits."""
        if "targets" not in card:
            return
        there = {"decoder": card.get("decoder"), "target": card["targets"].get("kind")}
        here = {"decoder": self.settings.network.decoder, "target": self.targets.kind}
        transfers = DECODERS[self.settings.network.decoder].transfers
        if self.targets.kind == "image":
            there["image encoder"] = _named(card.get("encoder"))
            here["image encoder"] = _named(self.targets.encoder.identity)
        if self.targets.kind == "features":
            there["number of feature dimensions"] = str(card["targets"].get("n_dims"))
            here["number of feature dimensions"] = str(self._n_dims)
        if self.targets.kind == "category" and not transfers:
            there["labels"] = ", ".join(card["targets"].get("labels", []))
            here["labels"] = ", ".join(self.targets.ids)
        other = [name for name in here if here[name] != there[name]]
        if other:
            self.findings.append(Finding(
                f"sub-{label} with model {path.name}", "; ".join(
                    f"its {name} is '{there[name]}', here it is '{here[name]}'" for name in other
                ), "pretrain with the options of this call, or use --from-scratch",
                participant=label,
            ))

    def _check_space(self, person: PersonWork, path: Path, card: dict[str, Any]) -> None:
        """Find responses that lie elsewhere than the maps in a pretrained model."""
        common = card.get("common") or {}
        there = common.get("space")
        here = person.runs[0].entities.get("space", "func")
        if there not in (None, here) and self.settings.network.group_prior:
            self.findings.append(Finding(
                f"sub-{person.label} with model {path.name}",
                f"its maps of what voxels do are in the space {there}, the responses in {here}: "
                "they cannot be used as a prior",
                f"give --output-spaces {there} with the resolution of pretraining, or "
                "pretrain in this space", severity="warning", participant=person.label,
            ))
        elif there is not None and "shape" in common and person.source != "raw":
            header = read_header(person.participant.runs[0].image_file)
            if list(header.shape[:3]) != common["shape"]:
                sizes = " x ".join(f"{size:g}" for size in common["voxel_sizes_mm"])
                own = " x ".join(f"{size:g}" for size in header.voxel_sizes)
                self.decisions.append(Decision(
                    "prior of the group", f"resampled from voxels of {sizes} mm to {own} mm",
                    f"model {path.name} has its maps on another grid of {there}",
                ))


def _why_no_pictures(targets: TargetSpec, split: Split) -> str:
    if targets.kind != "image":
        return f"the target is {targets.kind}, not image"
    if len(split.test_stimuli) < 3:
        return f"{len(split.test_stimuli)} stimuli are held out; three are needed"
    return ""


def _named(encoder: Mapping[str, str] | None) -> str:
    return ", ".join(f"{key} {value}" for key, value in (encoder or {}).items()) or "not recorded"


def _card_of(path: Path) -> dict[str, Any]:
    """Read the card of a pretrained model, which must say what the model saw."""
    try:
        card = load_card(path)
    except ValueError as error:
        raise InputError(f"card of model {path}", f"no valid JSON: {error}",
                         "copy it again from where the model was made") from error
    absent = [name for name in ("stage_key", "dataset", "participants", "targets")
              if name not in card]
    if absent:
        raise InputError(
            f"card of model {path}", f"does not say: {', '.join(absent)}",
            "give a model that the group level of bids_decoder pretrained",
        )
    return card


def write_plan(plan: Plan | SubjectPlan) -> None:
    """Write ``plan.json`` and the planned trial tables that the nodes read."""
    if isinstance(plan, Plan):
        plan.pictures.save()
    path = plan.work.output_dir / "plan.json"
    content = plan.to_dict()
    if not path.is_file() or read_json(path) != content:
        write_json(path, content)
    for person in plan.work.people:
        table = plan.tables[person.label]
        for run_group, target in person.trials.items():
            rows = table.loc[table["run_group"] == run_group, list(TRIAL_COLUMNS)]
            if not target.is_file():
                save_table(target, rows)
