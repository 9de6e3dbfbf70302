"""Choose the participants of a call: those to pretrain on, and those to decode."""

from __future__ import annotations

from bids_decoder.analyses.jobs import Notes
from bids_decoder.analyses.study import Roles
from bids_decoder.bids.collect import select_participants
from bids_decoder.bids.dataset import Dataset, Participant
from bids_decoder.config import Execution
from bids_decoder.errors import name_some
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
    one = execution.leave_one_out or _must_leave_one_out(execution, notes)
    sources = choose_sources(dataset, execution, leaves_one_out=one) if "group" in levels else ()
    decoded = (
        choose_decoded(dataset, execution, leaves_one_out=one) if "participant" in levels else ()
    )
    notes.decisions += say_participants(execution, sources, decoded)
    return Roles(sources, decoded, one)


def _must_leave_one_out(execution: Execution, notes: Notes) -> bool:
    """Return whether each participant needs a model that is pretrained on all others.

    This is so when both levels run at once and no participant is held out.
    """
    both = {"group", "participant"} <= set(execution.analysis_level)
    named = execution.participant_label or execution.holdout_label
    if not both or named or execution.allow_seen or execution.pretrained is not None:
        return False
    notes.decisions.append(Decision(
        "pretraining", "leave one out",
        "no participant is held out, and a model must not decode participants that it was "
        "pretrained on: each participant is decoded with a model pretrained on all others",
    ))
    return True


def choose_sources(
    dataset: Dataset, execution: Execution, *, leaves_one_out: bool
) -> tuple[Participant, ...]:
    """Return the participants to pretrain on.

    ``--participant-label`` names them at the group level, and at both levels together with
    ``--holdout-label``; those held out are left out. At both levels without ``--holdout-label``
    the participants named are decoded, and all others are pretrained on.

    Parameters
    ----------
    dataset : Dataset
    execution : Execution
    leaves_one_out : bool
        One model for each participant, pretrained on all others.

    Raises
    ------
    FindingsError
        With code 18 when a label is unknown.
    """
    select_participants(dataset, execution.holdout_label, "--holdout-label")
    held, wanted = set(execution.holdout_label), execution.participant_label
    if "participant" in execution.analysis_level and not _names_everybody(execution):
        held |= set() if leaves_one_out else set(wanted)
        wanted = ()
    return tuple(p for p in select_participants(dataset, wanted) if p.label not in held)


def choose_decoded(
    dataset: Dataset, execution: Execution, *, leaves_one_out: bool
) -> tuple[Participant, ...]:
    """Return the participants to decode; see :func:`choose_sources`.

    Parameters
    ----------
    dataset : Dataset
    execution : Execution
    leaves_one_out : bool

    Raises
    ------
    FindingsError
        With code 18 when a label is unknown.
    """
    named, held = execution.participant_label, execution.holdout_label
    if "group" not in execution.analysis_level or leaves_one_out:
        return select_participants(dataset, named)
    if _names_everybody(execution):
        own = [label for label in held if label in named] or held
        return select_participants(dataset, own, "--holdout-label")
    return select_participants(dataset, named) if named else \
        select_participants(dataset, held, "--holdout-label")


def say_participants(
    execution: Execution, sources: tuple[Participant, ...], decoded: tuple[Participant, ...]
) -> list[Decision]:
    """Note the participants to pretrain on and to decode, where options name both."""
    if not _names_everybody(execution):
        return []
    who = (f"pretrained on: {name_some([p.label for p in sources], 8)}; "
           f"decoded: {name_some([p.label for p in decoded], 8)}")
    return [Decision("participants", who, "--participant-label names all participants, "
                     "--holdout-label those of them that are decoded")]


def _names_everybody(execution: Execution) -> bool:
    """Return whether the participants named are those of both levels, not only those decoded."""
    both = {"group", "participant"} <= set(execution.analysis_level)
    beyond = set(execution.participant_label) - set(execution.holdout_label)
    return both and bool(execution.holdout_label) and bool(beyond)
