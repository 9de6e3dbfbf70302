"""Plan of decoding one volume per participant."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from bids_decoder import __version__
from bids_decoder.analyses.jobs import Job, Notes
from bids_decoder.analyses.study import Study
from bids_decoder.analyses.subjects.collect import SubjectImages, collect_subjects
from bids_decoder.analyses.subjects.options import Subjects
from bids_decoder.config import Settings
from bids_decoder.errors import BidsDecoderError, ExitCode, Finding, name_some
from bids_decoder.evaluation.subjects import SiteConfound, site_confound
from bids_decoder.files import content_key, file_digest
from bids_decoder.markers import StageKey
from bids_decoder.seeds import derive_seed
from bids_decoder.stimuli.weights import PACKAGED, find_packaged
from bids_decoder.trials import Decision
from bids_decoder.workflows.confound_checks import check_removal

DECODER = "cnn3d"


@dataclass(frozen=True, eq=False)
class SubjectsSpec:
    """The decoding of one volume per participant.

    Parameters
    ----------
    table : DataFrame
        See :class:`~bids_decoder.analyses.subjects.collect.SubjectImages`.
    confounds : DataFrame
        Of the same participants; labels are decoded from each column alone.
    removed : tuple of str
        Those that are regressed out of the volumes.
    card : dict
        Added to sidecars and the model card.
    """

    table: pd.DataFrame
    confounds: pd.DataFrame
    removed: tuple[str, ...]
    card: dict[str, Any]


def read(study: Study, notes: Notes) -> Study:
    """Read images and labels of all participants."""
    notes.findings += _check_options(study.settings)
    notes.stop_if_errors()
    found = collect_subjects(study.settings)
    notes.findings += found.findings
    notes.stop_if_errors()
    inner = found.table[~found.table["external"]]
    subjects = study.settings.section(Subjects)
    notes.decisions[:0] = (*found.decisions, Decision(
        "split", f"{subjects.n_repeats} x {subjects.n_splits} folds of participants",
        f"{len(inner)} participants with {inner['label'].nunique()} labels; each is in one fold "
        f"of a round only; {len(found.table) - len(inner)} external participants are in none",
    ))
    return replace(study, dataset=found.dataset, data=found)


def check(study: Study, notes: Notes) -> None:
    """Note confounds, and a site that predicts the label."""
    if len(study.data.confounds.columns):
        names = list(study.data.confounds)
        what = "labels are decoded from each of them alone, in the same folds"
        if _removed(study.data, study.settings):
            what += "; they are regressed out of the volumes, with weights of the training folds"
        notes.decisions.append(Decision("confounds", name_some(names, 8), what))
    confound = _confound(study.data, study.settings)
    if confound is not None and confound.is_serious:
        notes.findings.append(_site_warning(confound, study.settings))


def jobs(study: Study, notes: Notes, made: Mapping[str, Job]) -> list[Job]:
    """Return the one job of the dataset."""
    del notes, made
    settings, found = study.settings, study.data
    subjects = settings.section(Subjects)
    confound = _confound(found, settings)
    card = {
        "dataset": found.dataset.name, "version": __version__, "seed": settings.random_seed,
        "n_splits": subjects.n_splits, "n_repeats": subjects.n_repeats,
        "site_confound": None if confound is None else asdict(confound),
        "removed_confounds": list(_removed(found, settings)),
    }
    stage = study.stage(_key(found, settings, study.device_kind))
    spec = SubjectsSpec(found.table, found.confounds, _removed(found, settings), card)
    return [Job("subjects_wf", "subjects", (stage,), spec)]


def record(study: Study) -> dict[str, Any]:
    """Return the entries of the data in ``plan.json``."""
    table = study.data.table
    inner = table[~table["external"]]
    return {
        "dataset": study.dataset.name, "source": "subjects", "target_kind": "category",
        "subjects": asdict(study.settings.section(Subjects)),
        "labels": {str(k): int(v) for k, v in inner["label"].value_counts().items()},
        "n_external": int(table["external"].sum()),
    }


def _check_options(settings: Settings) -> list[Finding]:
    findings = []
    if settings.network.decoder != DECODER:
        findings.append(Finding(
            f"--decoder {settings.network.decoder}", "cannot read one volume per participant",
            f"use --decoder {DECODER} together with --subject-label", ExitCode.USAGE,
        ))
    if settings.execution.analysis_level != ("group",):
        findings.append(Finding(
            "--subject-label", "labels of participants are learnt at the group level",
            "give the level group, alone", ExitCode.USAGE,
        ))
    if PACKAGED in settings.section(Subjects).backbones:
        try:
            find_packaged(f"--backbone {PACKAGED}")
        except BidsDecoderError as error:
            findings.append(error.finding)
    if settings.trials.confound_removal == "counterbalance":
        findings.append(Finding(
            "--confound-removal counterbalance", "leaves trials out, and here participants are "
            "the samples", "use --confound-removal regress, or leave participants out "
            "(--participant-filter)", ExitCode.USAGE,
        ))
    return findings + check_removal(settings.trials, "participants.tsv: --control age")


def _removed(found: SubjectImages, settings: Settings) -> tuple[str, ...]:
    return tuple(found.confounds) if settings.trials.confound_removal == "regress" else ()


def _confound(found: SubjectImages, settings: Settings) -> SiteConfound | None:
    inner = found.table[~found.table["external"]]
    if settings.section(Subjects).site_column is None:
        return None
    rng = np.random.default_rng(derive_seed(settings.random_seed, "site"))
    sites = inner["site"].fillna("n/a").to_numpy(str)
    return site_confound(inner["label"].to_numpy(str), sites, rng)


def _site_warning(confound: SiteConfound, settings: Settings) -> Finding:
    return Finding(
        f"site (column {settings.section(Subjects).site_column})",
        "it predicts the label: the most frequent label of each site has a balanced accuracy of "
        f"{confound.balanced_accuracy:.2f}, {confound.chance:.2f} when permuted, "
        f"p = {confound.p:.3g}",
        "a network can learn the scanner instead of the label: compare within sites, or "
        "harmonise",
        severity="warning",
    )


def _key(found: SubjectImages, settings: Settings, device: str) -> StageKey:
    table = found.table
    content = table.assign(image=[file_digest(path) for path in table["image"]])
    return StageKey("subjects", "group", {
        "volumes": asdict(settings.volumes), "subjects": asdict(settings.section(Subjects)),
        "evaluation": asdict(settings.evaluation), "seed": settings.random_seed,
        "device": device,
        "people": content_key(content.to_csv(index=False)),
        "confounds": content_key(found.confounds.to_csv(index=False)),
        "removed": list(_removed(found, settings)),
    })
