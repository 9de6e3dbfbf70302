"""The plan of the analysis of one volume per person."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bids_decoder import __version__
from bids_decoder.bids.dataset import Dataset
from bids_decoder.bids.preflight import check_places
from bids_decoder.bids.subjects import SubjectImages, collect_subjects
from bids_decoder.cli.device import resolve_device
from bids_decoder.cli.plan import Step
from bids_decoder.config import Settings
from bids_decoder.errors import ExitCode, Finding, FindingsError
from bids_decoder.evaluation.subjects import SiteConfound, site_confound
from bids_decoder.files import content_key, file_digest
from bids_decoder.markers import StageKey, why_not_done
from bids_decoder.seeds import derive_seed
from bids_decoder.trials import Decision
from bids_decoder.workflows.work import SubjectsWork, TargetSpec, Work

DECODER = "cnn3d"


@dataclass(frozen=True, eq=False)
class SubjectPlan:
    """What a call on one volume per person found and will do; see ``Plan``.

    Parameters
    ----------
    dataset : Dataset
    decisions : tuple of Decision
    findings : tuple of Finding
    steps : tuple of Step
    work : Work
    """

    dataset: Dataset
    decisions: tuple[Decision, ...]
    findings: tuple[Finding, ...]
    steps: tuple[Step, ...]
    work: Work

    @property
    def is_empty(self) -> bool:
        """True when everything is done."""
        return not any(step.todo for step in self.steps)

    def to_dict(self) -> dict[str, Any]:
        """Give the content of ``plan.json``."""
        table = self.work.subjects.table
        inner = table[~table["external"]]
        warnings = [f.record() for f in self.findings if f.severity == "warning"]
        return {
            "version": __version__, "dataset": self.dataset.name, "source": "subjects",
            "target_kind": "category", "subjects": asdict(self.work.settings.subjects),
            "labels": {str(k): int(v) for k, v in inner["label"].value_counts().items()},
            "n_external": int(table["external"].sum()),
            "decisions": [asdict(decision) for decision in self.decisions],
            "warnings": warnings,
        }


def make_subject_plan(settings: Settings, work_dir: Path) -> SubjectPlan:
    """Look at images and labels, and decide everything, before anything is computed.

    Parameters
    ----------
    settings : Settings
        With ``subjects.label_column``.
    work_dir : Path

    Returns
    -------
    SubjectPlan

    Raises
    ------
    FindingsError
        With all problems at once.
    """
    findings = [*check_places(settings), *_check_options(settings)]
    if findings and any(f.severity == "error" for f in findings):
        raise FindingsError(findings)
    found = collect_subjects(settings)
    findings += found.findings
    if any(f.severity == "error" for f in findings):
        raise FindingsError(findings)
    confound = _confound(found, settings)
    if confound is not None and confound.is_serious:
        findings.append(_site_warning(confound, settings))
    device, device_decision = resolve_device(settings.resources.device)
    key = _key(found, settings, device)
    why = why_not_done(settings.execution.output_dir, key)
    card = {
        "dataset": found.dataset.name, "version": __version__, "seed": settings.random_seed,
        "n_splits": settings.subjects.n_splits, "n_repeats": settings.subjects.n_repeats,
        "site_confound": None if confound is None else asdict(confound),
    }
    work = Work(
        settings, settings.execution.output_dir, work_dir, device, TargetSpec("category", ()),
        (), (), SubjectsWork(key, found.table, card),
    )
    inner = found.table[~found.table["external"]]
    split = Decision(
        "split", f"{settings.subjects.n_repeats} x {settings.subjects.n_splits} folds of people",
        f"{len(inner)} people with {inner['label'].nunique()} labels; each person is in one fold "
        f"of a round only; {len(found.table) - len(inner)} external people are in none",
    )
    return SubjectPlan(
        found.dataset, (*found.decisions, split, device_decision), tuple(findings),
        (Step("group", "subjects", why is not None, why or "done"),), work,
    )


def _check_options(settings: Settings) -> list[Finding]:
    findings = []
    if settings.network.decoder != DECODER:
        findings.append(Finding(
            f"--decoder {settings.network.decoder}", "cannot read one volume per person",
            f"use --decoder {DECODER} together with --subject-label", ExitCode.USAGE,
        ))
    if settings.execution.analysis_level != ("group",):
        findings.append(Finding(
            "--subject-label", "labels of people are learnt over people, at the group level",
            "give the level group, alone", ExitCode.USAGE,
        ))
    return findings


def _confound(found: SubjectImages, settings: Settings) -> SiteConfound | None:
    inner = found.table[~found.table["external"]]
    if settings.subjects.site_column is None:
        return None
    rng = np.random.default_rng(derive_seed(settings.random_seed, "site"))
    sites = inner["site"].fillna("n/a").to_numpy(str)
    return site_confound(inner["label"].to_numpy(str), sites, rng)


def _site_warning(confound: SiteConfound, settings: Settings) -> Finding:
    return Finding(
        f"site (column {settings.subjects.site_column})",
        "it tells the label: the most frequent label of each site has a balanced accuracy of "
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
        "volumes": asdict(settings.volumes), "subjects": asdict(settings.subjects),
        "evaluation": asdict(settings.evaluation), "seed": settings.random_seed,
        "device": device.split(":", maxsplit=1)[0],
        "people": content_key(content.to_csv(index=False)),
    })
