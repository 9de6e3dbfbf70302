"""Which field corrects which run of a participant, and what prevents it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from bids_decoder.bids.dataset import BoldRun, Participant
from bids_decoder.bids.image_checks import content_damage
from bids_decoder.bids.images import read_header
from bids_decoder.errors import BidsDecoderError, Finding
from bids_decoder.preprocessing.distortion import PhaseEncoding
from bids_decoder.trials import Decision
from bids_decoder.workflows.fieldmap_choice import (
    IN_WORDS,
    Chooser,
    Fieldmap,
    NoFieldmapError,
    UnusableError,
)

SynSdc = Literal["no", "warn", "error"]

_IGNORE = "or use --ignore fieldmaps"


@dataclass
class FieldmapPlan:
    """Fields of a participant by run.

    Parameters
    ----------
    fields : dict of str to Fieldmap
        By name.
    by_run : dict of str to (str, PhaseEncoding)
        Run group to the name of its field, and how the run was encoded; without runs that are
        not corrected.
    decisions : list of Decision
    findings : list of Finding
    """

    fields: dict[str, Fieldmap] = field(default_factory=dict)
    by_run: dict[str, tuple[str, PhaseEncoding]] = field(default_factory=dict)
    decisions: list[Decision] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)


def plan_fieldmaps(participant: Participant, use_syn_sdc: SynSdc) -> FieldmapPlan:
    """Choose the field of each run of a participant.

    Parameters
    ----------
    participant : Participant
        Without field maps for ``--ignore fieldmaps``.
    use_syn_sdc : {"no", "warn", "error"}
        Whether runs without a usable field map have one from registration to the T1w image, and
        how a run is reported for which this is not possible.

    Returns
    -------
    FieldmapPlan
        A run has the field that its ``B0FieldSource`` names, or else one whose images name the
        run in ``IntendedFor``: of several the first of a pair, a measured map, a phase
        difference, two phases. Runs without one are reported. Of several sources that a run
        names, the first from which a field can be computed is used.
    """
    plan = FieldmapPlan()
    runs = [run for run in participant.runs if run.source == "raw" and _is_readable(run)]
    if participant.fieldmaps or use_syn_sdc != "no":
        _choose_fields(participant, runs, use_syn_sdc, plan)
    return plan


def _is_readable(run: BoldRun) -> bool:
    try:
        read_header(run.image_file)
    except BidsDecoderError:
        # Reported by bids.preflight.
        return False
    return True


def _choose_fields(
    participant: Participant, runs: Sequence[BoldRun], use_syn_sdc: SynSdc, plan: FieldmapPlan
) -> None:
    chooser = Chooser(participant)
    for run in runs:
        try:
            chosen = _choose(chooser, run, use_syn_sdc, plan.findings)
        except BidsDecoderError as error:
            plan.findings.append(replace(error.finding, participant=run.subject))
            continue
        if chosen is None:
            continue
        found, encoding = chosen
        plan.fields[found.name] = found
        plan.by_run[run.run_group] = found.name, encoding
    plan.findings += [*chooser.findings, *_check_content(participant, plan)]
    for name, found in plan.fields.items():
        n_runs = sum(used == name for used, _ in plan.by_run.values())
        plan.decisions.append(Decision(
            f"field map of sub-{participant.label}, {n_runs} run(s)",
            " and ".join(path.name for path in found.files),
            f"{IN_WORDS[found.kind]}; {chooser.reasons[name]}",
        ))


def _choose(
    chooser: Chooser, run: BoldRun, use_syn_sdc: SynSdc, findings: list[Finding]
) -> tuple[Fieldmap, PhaseEncoding] | None:
    """Return the field of a run; None, with a finding, where it has none."""
    try:
        return chooser.choose(run)
    except UnusableError as problem:
        why, fix = problem.args
        if use_syn_sdc == "no":
            findings.append(_not_corrected(run, why, f"{fix}, {_IGNORE}"))
            return None
        is_absent = isinstance(problem, NoFieldmapError)
    try:
        chosen = chooser.of_t1w(run, "no usable field map; --use-syn-sdc")
    except UnusableError as problem:
        # Without phase encoding neither way is open, and both give the same reason.
        reasons = dict.fromkeys([*([] if is_absent else [why]), problem.args[0]])
        way = "leave out --use-syn-sdc"
        if use_syn_sdc == "error":
            way = "use --use-syn-sdc warn to leave such runs as they are"
        findings.append(_not_corrected(
            run, "; ".join(reasons), f"{problem.args[1]}, or {way}",
            "error" if use_syn_sdc == "error" else "warning",
        ))
        return None
    if not is_absent:
        where = f"sub-{run.subject} {run.run_group}"
        findings.append(Finding(
            f"{where}: the field map is not used, but registration to the T1w image", why,
            f"{fix}, {_IGNORE}", severity="warning", participant=run.subject, place=where,
        ))
    return chosen


def _check_content(participant: Participant, plan: FieldmapPlan) -> Iterator[Finding]:
    """Find images that are used and cannot be read to their end."""
    runs = {run.image_file for run in participant.runs}
    used = dict.fromkeys(
        path for found in plan.fields.values() for path in (*found.files, found.magnitude)
        if path is not None and path not in runs
    )
    for path in used:
        try:
            damage = content_damage(path, read_header(path), full_read=True)
        except BidsDecoderError as error:
            yield replace(error.finding, participant=participant.label)
            continue
        if damage is not None:
            yield Finding(
                str(path), damage, f"copy or convert the image again, {_IGNORE}",
                participant=participant.label, place=str(path),
            )


def _not_corrected(
    run: BoldRun, why: str, fix: str, severity: Literal["error", "warning"] = "warning"
) -> Finding:
    where = f"sub-{run.subject} {run.run_group}"
    return Finding(
        f"{where}: distortion is not corrected", why, fix, severity=severity,
        participant=run.subject, place=where,
    )
