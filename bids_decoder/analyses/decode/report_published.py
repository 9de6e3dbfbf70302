"""Report of a followed protocol: the own scores beside the published ones."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from bids_decoder.analyses.decode.published import (
    PUBLISHED_COLUMNS,
    Scores,
    beside_published,
    own_row,
    own_scores,
    protocol_of,
    published_rows,
)
from bids_decoder.protocols import PROTOCOLS, Protocol, number_of
from bids_decoder.reports.blocks import Block, Section, Table, Text
from bids_decoder.reports.results import Results, participants
from bids_decoder.reports.wording import show

_MEANS = "The paper states its scores as means over participants: see the group report."
_NONE = (
    "No published scores are shown: none that is computed in this way is known for this protocol."
)


def published_section(results: Results) -> list[Section]:
    """Return the section with one participant's scores; empty without a protocol."""
    card = results.card("decoder_model")
    protocol = protocol_of(card)
    if protocol is None:
        return []
    metrics = results.table("metrics")
    why = own_scores(results.participant, card, metrics)[1]
    if why:
        return _section(protocol, [Text(f"No published scores are shown: {why}.", "warn")])
    table = beside_published(results.participant, card, metrics)
    blocks: list[Block] = [_table(list(table.itertuples(index=False, name=None)))]
    if len(table) == 1:
        blocks.append(Text(_MEANS if protocol.published else _NONE))
    return _section(protocol, blocks)


def group_published_section(results: Results) -> list[Section]:
    """Return the section with the scores of all participants that followed one protocol."""
    people = [Results(results.output_dir, label) for label in participants(results.output_dir)]
    sections = []
    for protocol in PROTOCOLS.values():
        scores = {}
        for person in people:
            card = person.card("decoder_model")
            if protocol_of(card) is protocol:
                own = own_scores(person.participant, card, person.table("metrics"))[0]
                scores |= {} if own is None else {person.participant: own}
        sections += _section(protocol, [_table(_all_rows(protocol, scores))]) if scores else []
    return sections


def _all_rows(
    protocol: Protocol, scores: dict[str, Scores]
) -> list[tuple[str, str, float, float, str]]:
    rows = []
    for label, own in scores.items():
        rows.append(own_row(f"sub-{label}", own))
        rows += published_rows(protocol, number_of(label) or 0)
    if {number_of(label) for label in scores} == set(protocol.participants):
        forward, back = np.mean(list(scores.values()), axis=0).tolist()
        rows.append(own_row("mean", (forward, back)))
        rows += published_rows(protocol, None)
    return rows


def _table(rows: Sequence[tuple[str, str, float, float, str]]) -> Table:
    shown = [
        [who, model, show(image, "top1"), show(brain, "top1"), source]
        for who, model, image, brain, source in rows
    ]
    header = list(PUBLISHED_COLUMNS)
    return Table(header, shown, "Own and published retrieval", frozenset(header[2:4]))


def _section(protocol: Protocol, blocks: list[Block]) -> list[Section]:
    said = Text(f"Protocol: {protocol.title}, {protocol.source}. {protocol.scoring}")
    return [Section("published", "Published scores", [said, *blocks])]
