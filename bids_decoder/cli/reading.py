"""Make a study from the settings: read the dataset, split trials, choose participants."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pandas as pd

from bids_decoder.analyses.jobs import Notes
from bids_decoder.analyses.study import Roles, Study, Trials
from bids_decoder.bids.collect import collect_dataset
from bids_decoder.bids.events import TrialBuild, build_dataset_trials, with_trials_only
from bids_decoder.bids.layouts import describe
from bids_decoder.bids.preflight import check_dataset
from bids_decoder.bids.pretrained_files import uses_pretraining
from bids_decoder.bids.validation import validate
from bids_decoder.cli.counterbalancing import counterbalance
from bids_decoder.cli.device import resolve_device
from bids_decoder.cli.overlap import PICTURES_FILE, Twins, audit_overlap, unite_stimuli
from bids_decoder.cli.protocol_trials import check_protocol, limit_trials
from bids_decoder.cli.roles import choose_roles
from bids_decoder.config import REGIONS, Execution, Settings
from bids_decoder.errors import BidsDecoderError, ExitCode, Finding, UsageError, has_errors
from bids_decoder.evaluation.held_out import Split, apply_split
from bids_decoder.evaluation.split_checks import ONE_RUN
from bids_decoder.evaluation.splits import choose_split
from bids_decoder.preprocessing.templates import FUNC, OutputSpace, response_space
from bids_decoder.stimuli.encoders import AUTO, EncoderChoice, choose_encoder, default_encoder
from bids_decoder.stimuli.signatures import PictureSignatures
from bids_decoder.stimuli.words import StimulusVectors
from bids_decoder.trials import KINDS, Decision
from bids_decoder.workflows.anat import template_spaces
from bids_decoder.workflows.checks import check_targets
from bids_decoder.workflows.confound_checks import check_confounds
from bids_decoder.workflows.work import TargetSpec


def read_frame(settings: Settings, work_dir: Path, notes: Notes) -> Study:
    """Return a study without data: settings, folders and the device."""
    device = "cpu"
    try:
        device, decision = resolve_device(settings.resources.device)
    except BidsDecoderError as error:
        notes.findings.append(error.finding)
        decision = Decision("device", device, f"{settings.resources.device} cannot be used")
    notes.decisions.append(decision)
    notes.findings += _check_options(settings)
    return Study(settings, work_dir, device)


def read_study(frame: Study, notes: Notes, *, scores: bool) -> Study:
    """Read the dataset and its trials, split them, and choose participants.

    Parameters
    ----------
    frame : Study
        Of :func:`read_frame`.
    notes : Notes
    scores : bool
        Whether the call goes beyond single-trial responses; a split that cannot be scored is an
        error only then.

    Returns
    -------
    Study
        Without trials where there are none; the findings say why.

    Raises
    ------
    BidsDecoderError
        When the dataset cannot be read, or dataset and output folder are swapped.
    """
    settings = frame.settings
    _refuse_swapped(settings.execution)
    dataset = collect_dataset(settings)
    pictures = PictureSignatures(settings.execution.output_dir / PICTURES_FILE)
    build = build_dataset_trials(dataset, settings, pictures.damaged)
    if not build.tables:
        return _without_trials(replace(frame, dataset=dataset), build, notes)
    of_several = {person.label for person in dataset.participants if len(person.runs) > 1}
    dataset = with_trials_only(dataset, build)
    file = settings.trials.features
    vectors = None if file is None else StimulusVectors(file)
    build, twins = unite_stimuli(build, settings, pictures, vectors)
    roles = choose_roles(dataset, settings.execution, notes)
    build = limit_trials(build, roles, settings)
    build = counterbalance(build, settings.trials, notes)
    notes.findings += check_protocol(build.tables, build.target_kind, roles, settings)
    split, decisions, findings = _split(build, twins, settings, of_several)
    notes.decisions[:0] = (*dataset.decisions, *build.decisions, *decisions)
    tables = apply_split(build.tables, split, settings.resources.nprocs)
    overlap = audit_overlap(
        dataset, roles, tables, twins, settings, notes, common_folds=split.kind == "stimulus-folds"
    )
    study = replace(
        frame, dataset=dataset, trials=Trials(build, split, tables, overlap, pictures, vectors),
        roles=roles, targets=_target_spec(build, tables, settings, notes, scores),
    )
    study = replace(study, space=_response_space(study, notes))
    notes.findings += check_dataset(dataset, build, study.involved, settings)
    notes.findings += findings if scores else [_as_warning(f) for f in findings]
    if dataset.source == "raw" and not settings.execution.skip_bids_validation:
        notes.findings += validate(dataset.root)
    notes.findings += check_confounds(study.involved, tables, settings.trials)
    if scores:
        targets = study.targets
        notes.findings += check_targets(targets.kind, targets.ids, split.test_stimuli, vectors)
    return study


def _without_trials(study: Study, build: TrialBuild, notes: Notes) -> Study:
    """Note why there is nothing to split, and what else is wrong with dataset and options."""
    dataset = study.dataset
    notes.findings += check_dataset(dataset, build, dataset.participants, study.settings)
    roles = Roles(chosen=dataset.participants)
    if dataset.participants:
        with notes.noting_errors():
            roles = choose_roles(dataset, study.settings.execution, notes)
    return replace(study, roles=roles, space=_response_space(study, notes))


def _split(
    build: TrialBuild, twins: Twins, settings: Settings, of_several: set[str]
) -> tuple[Split, list[Decision], list[Finding]]:
    if settings.trials.new_data:
        split = Split("new", build.target_kind, reason="--apply: nothing is fitted to these trials")
        return split, [Decision("split", split.kind, split.reason)], []
    split, decisions, findings = choose_split(
        build.tables, build.target_kind, settings.trials, settings.random_seed,
        settings.resources.nprocs,
        similar=[(pair.first, pair.second) for pair in twins.left],
        pretrains=uses_pretraining(settings.execution),
    )
    if has_errors(build.findings):
        # That one run is left of several follows from events that cannot be read.
        findings = [f for f in findings if f.why != ONE_RUN or f.participant not in of_several]
    return split, decisions, findings


def _refuse_swapped(execution: Execution) -> None:
    bids_dir, output_dir = execution.bids_dir, execution.output_dir
    if (bids_dir / "dataset_description.json").is_file():
        return
    # The output folder of an earlier call is a dataset, too, but a derivative one.
    description = describe(output_dir)
    is_raw = description.get("DatasetType", "raw") == "raw"
    if description and is_raw and any(output_dir.glob("sub-*/")):
        raise UsageError(
            f"dataset {bids_dir}", f"is no dataset, but the output folder {output_dir} is one",
            f"give the dataset first: bids_decoder {output_dir} {bids_dir} "
            f"{' '.join(execution.analysis_level)}",
        )


def _check_options(settings: Settings) -> list[Finding]:
    findings = []
    if settings.execution.write_graph and shutil.which("dot") is None:
        findings.append(Finding(
            "--write-graph", "the program dot of Graphviz is not there",
            "install graphviz, or leave the option out", ExitCode.USAGE,
        ))
    region = settings.troi.region
    if region not in REGIONS and not Path(region).is_file():
        findings.append(Finding(
            f"--region {region}", "is neither brain nor occipital, nor a file",
            "give one of the two, or the path of a mask image", ExitCode.MISSING_INPUT,
        ))
    return findings


def _as_warning(finding: Finding) -> Finding:
    return replace(finding, severity="warning")


def _target_spec(
    build: TrialBuild, tables: dict[str, pd.DataFrame], settings: Settings, notes: Notes,
    scores: bool,
) -> TargetSpec:
    """Collect what is decoded, and find the image encoder for it."""
    kind, rules = build.target_kind, settings.trials
    column = KINDS[kind].column
    ids: set[str] = set()
    for table in tables.values():
        used = ~table["excluded"].to_numpy(dtype=bool)
        ids |= set(table[column].to_numpy()[used].tolist()) - {None}
    images = {i: build.stimulus_files[i] for i in ids if i in build.stimulus_files}
    encoder = EncoderChoice("gabor")
    if kind == "image" and scores:
        try:
            encoder = choose_encoder(rules.image_encoder, rules.encoder_weights)
            why = default_encoder()[1] if rules.image_encoder == AUTO else "--image-encoder"
            notes.decisions.append(Decision("image encoder", encoder.name, why))
        except BidsDecoderError as error:
            notes.findings.append(error.finding)
    return TargetSpec(
        kind, tuple(sorted(ids)), rules.features, images, encoder, build.value_columns, build.units
    )


def _response_space(study: Study, notes: Notes) -> OutputSpace:
    """Choose where responses of raw data are; note missing spaces and templates."""
    settings = study.settings
    if study.dataset.source != "raw":
        return FUNC
    try:
        if settings.execution.wants("prepare"):
            template_spaces(settings)
        space = response_space(settings.preprocessing.output_spaces)
    except BidsDecoderError as error:
        notes.findings.append(error.finding)
        return FUNC
    if space != FUNC:
        notes.decisions.append(
            Decision("decoding space", str(space), "first of --output-spaces")
        )
    return space
