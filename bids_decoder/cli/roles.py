"""Who takes part in a call: those to pretrain on, and those to decode."""

from __future__ import annotations

from bids_decoder.analyses.base import Notes
from bids_decoder.analyses.study import Roles
from bids_decoder.bids.collect import Dataset, Participant, select_participants
from bids_decoder.config import Execution
from bids_decoder.trials import Decision


def choose_roles(dataset: Dataset, execution: Execution, notes: Notes) -> Roles:
    """Choose sources and participants from the options.

    Parameters
    ----------
    dataset : Dataset
    execution : Execution
    notes : Notes

    Returns
    -------
    Roles
    """
    levels = execution.analysis_level
    leaves_one_out = execution.leave_one_out or _must_leave_one_out(execution, notes)
    return Roles(
        _sources(dataset, execution, leaves_one_out) if "group" in levels else (),
        _chosen(dataset, execution, leaves_one_out) if "participant" in levels else (),
        leaves_one_out,
    )


def _must_leave_one_out(execution: Execution, notes: Notes) -> bool:
    """Both levels at once and nobody held out: a common model would have seen everybody."""
    both = {"group", "participant"} <= set(execution.analysis_level)
    named = execution.participant_label or execution.holdout_label
    if not both or named or execution.allow_seen or execution.pretrained is not None:
        return False
    notes.decisions.append(Decision(
        "pretraining", "leave one out",
        "nobody is held out, and a model may not decode people whom it saw: each participant "
        "is decoded with a model pretrained on all others",
    ))
    return True


def _sources(
    dataset: Dataset, execution: Execution, leaves_one_out: bool
) -> tuple[Participant, ...]:
    """Return those chosen, or all, without those held out."""
    held = set(execution.holdout_label)
    wanted: tuple[str, ...] = ()
    if "participant" not in execution.analysis_level:
        wanted = execution.participant_label
    elif not leaves_one_out:
        held |= set(execution.participant_label)
    select_participants(dataset, execution.holdout_label)
    return tuple(p for p in select_participants(dataset, wanted) if p.label not in held)


def _chosen(
    dataset: Dataset, execution: Execution, leaves_one_out: bool
) -> tuple[Participant, ...]:
    """Return those asked for; else, beside a group level, those that it leaves out."""
    labels = execution.participant_label
    if not labels and "group" in execution.analysis_level and not leaves_one_out:
        labels = execution.holdout_label
    return select_participants(dataset, labels)
