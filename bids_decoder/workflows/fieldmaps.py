"""Which field corrects which run of a participant, and what prevents it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

from bids_decoder.bids.dataset import BoldRun, Participant
from bids_decoder.bids.image_checks import content_damage
from bids_decoder.bids.images import read_header
from bids_decoder.errors import BidsDecoderError, Finding
from bids_decoder.preprocessing.distortion import PhaseEncoding
from bids_decoder.trials import Decision
from bids_decoder.workflows.fieldmap_choice import IN_WORDS, Chooser, Fieldmap, UnusableError

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


def plan_fieldmaps(participant: Participant) -> FieldmapPlan:
    """Choose the field of each run of a participant.

    Parameters
    ----------
    participant : Participant
        Without field maps for ``--ignore fieldmaps``.

    Returns
    -------
    FieldmapPlan
        A run has the field that its ``B0FieldSource`` names, or else one whose images name the
        run in ``IntendedFor``: of several the first of a pair, a measured map, a phase
        difference, two phases. Runs without one are reported as a warning. Of several sources
        that a run names, the first from which a field can be computed is used.
    """
    plan = FieldmapPlan()
    runs = [run for run in participant.runs if run.source == "raw" and _is_readable(run)]
    if participant.fieldmaps:
        _choose_fields(participant, runs, plan)
    return plan


def _is_readable(run: BoldRun) -> bool:
    try:
        read_header(run.image_file)
    except BidsDecoderError:
        # Reported by bids.preflight.
        return False
    return True


def _choose_fields(
    participant: Participant, runs: Sequence[BoldRun], plan: FieldmapPlan
) -> None:
    chooser = Chooser(participant)
    for run in runs:
        try:
            found, encoding = chooser.choose(run)
        except UnusableError as problem:
            why, fix = problem.args
            plan.findings.append(_not_corrected(run, why, fix))
            continue
        except BidsDecoderError as error:
            plan.findings.append(replace(error.finding, participant=run.subject))
            continue
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


def _not_corrected(run: BoldRun, why: str, fix: str) -> Finding:
    where = f"sub-{run.subject} {run.run_group}"
    return Finding(
        f"{where}: distortion is not corrected", why, f"{fix}, {_IGNORE}", severity="warning",
        participant=run.subject, place=where,
    )
