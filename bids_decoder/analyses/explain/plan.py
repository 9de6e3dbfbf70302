"""Plan of relevance maps: for decoders that can explain held-out trials."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from bids_decoder.analyses.fitting import decoded, job_of_decoder
from bids_decoder.analyses.jobs import Job, Notes
from bids_decoder.analyses.study import Study
from bids_decoder.training.decoders import DECODERS
from bids_decoder.workflows.work import PersonWork


@dataclass(frozen=True, eq=False)
class ExplainSpec:
    """The relevance maps of one participant.

    Parameters
    ----------
    person : PersonWork
    folds : tuple of int
        Folds that were predicted; (0,) for a fixed split.
    card : mapping
        Card entries of the decoder, for sidecars.
    """

    person: PersonWork
    folds: tuple[int, ...]
    card: Mapping[str, Any]


def jobs(study: Study, notes: Notes, made: Mapping[str, Job]) -> list[Job]:
    """Return one job per decoded participant, where the decoder has such maps."""
    del notes
    if not DECODERS[study.settings.network.decoder].explains:
        return []
    return [
        job_of_decoder(
            study, "explain", person, decode,
            ExplainSpec(person, study.folds(person.label) or (0,), decode.card),
        )
        for person, decode in decoded(study, made)
    ]
