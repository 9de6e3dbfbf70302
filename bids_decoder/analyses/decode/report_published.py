"""Report of a followed protocol: the own scores beside the published ones."""

from __future__ import annotations

import numpy as np

from bids_decoder.protocols import PROTOCOLS, Protocol, Published, number_of
from bids_decoder.reports.blocks import Block, Section, Table, Text
from bids_decoder.reports.results import Results, numeric, participants
from bids_decoder.reports.scores import seen_participants, show

_HEADER = ["participant", "model", "i2b", "b2i", "source"]
_CAVEAT = (
    "Top-1 among 300 images, mean of 30 pools, repeats averaged, cosine. i2b ranks the responses "
    "for each image, b2i the images for each response. The papers print i2b as image retrieval and "
    "b2i as brain retrieval: their evaluation code, which this table follows, ranks in these "
    "directions. For TROI, which published no code, the same is assumed."
)

Scores = tuple[float, float]
"""Top-1 of i2b and of b2i."""


def published_section(results: Results) -> list[Section]:
    """Return the section with one participant's scores; empty without a protocol."""
    protocol = _protocol_of(results)
    if protocol is None:
        return []
    own, why = _own_scores(results, protocol)
    if own is None:
        return _section(protocol, [Text(f"No published scores are shown: {why}.", "warn")])
    number = number_of(results.participant)
    rows = [_own_row(f"sub-{results.participant}", own)]
    rows += [_published_row(row) for row in protocol.published if row.participant == number]
    if len(rows) == 1:
        text = "The paper states its scores as means over participants: see the group report."
        return _section(protocol, [_table(rows), Text(text)])
    return _section(protocol, [_table(rows)])


def group_published_section(results: Results) -> list[Section]:
    """Return the section with the scores of all participants that followed one protocol."""
    people = [Results(results.output_dir, label) for label in participants(results.output_dir)]
    sections = []
    for protocol in PROTOCOLS.values():
        scores = {}
        for person in people:
            own = _own_scores(person, protocol)[0] if _protocol_of(person) is protocol else None
            if own is not None:
                scores[person.participant] = own
        sections += _section(protocol, [_table(_all_rows(protocol, scores))]) if scores else []
    return sections


def _all_rows(protocol: Protocol, scores: dict[str, Scores]) -> list[list[str]]:
    rows = []
    for label, own in scores.items():
        rows.append(_own_row(f"sub-{label}", own))
        rows += [_published_row(r) for r in protocol.published if r.participant == number_of(label)]
    if {number_of(label) for label in scores} == set(protocol.participants):
        forward, back = np.mean(list(scores.values()), axis=0).tolist()
        rows.append(_own_row("mean", (forward, back)))
        rows += [_published_row(r) for r in protocol.published if r.participant is None]
    return rows


def _protocol_of(results: Results) -> Protocol | None:
    return PROTOCOLS.get(results.card("decoder_model").get("protocol", ""))


def _own_scores(results: Results, protocol: Protocol) -> tuple[Scores | None, str]:
    """Return the own scores, or why they cannot stand beside the published ones."""
    wanted = protocol.sources_of(number_of(results.participant) or 0)
    card = results.card("decoder_model")
    seen = tuple(sorted(number_of(label) or 0 for label in seen_participants(card)))
    if wanted is not None and seen != wanted:
        there, expected = (", ".join(map(str, numbers)) or "nobody" for numbers in (seen, wanted))
        return None, f"the decoder was pretrained on {there}, those of the protocol on {expected}"
    metrics = results.table("metrics")
    if metrics is None:
        return None, "there is no metrics table"
    found = numeric(metrics, "value", "pool_size", "n_draws")
    found = found[
        (found["model"] == "decoder") & (found["metric"] == "top1")
        & (found["unit"] == "averaged") & (found["similarity"] == "cosine")
        & (found["pool_size"] == protocol.fixed["evaluation.pool_size"])
    ]
    values = dict(zip(found["direction"].tolist(), found["value"].tolist(), strict=True))
    if set(values) != {"i2b", "b2i"}:
        return None, "the metrics table has no scores of averaged repeats in pools of this size"
    return (values["i2b"], values["b2i"]), ""


def _own_row(who: str, own: Scores) -> list[str]:
    return [who, "this decoder", *(show(value, "top1") for value in own), "these data"]


def _published_row(row: Published) -> list[str]:
    who = "mean" if row.participant is None else f"subject {row.participant}"
    return [who, row.model, show(row.image, "top1"), show(row.brain, "top1"), row.source]


def _table(rows: list[list[str]]) -> Table:
    return Table(_HEADER, rows, "Own and published retrieval", frozenset(_HEADER[2:4]))


def _section(protocol: Protocol, blocks: list[Block]) -> list[Section]:
    said = Text(f"Protocol: {protocol.title}, {protocol.source}. {_CAVEAT}")
    return [Section("published", "Published scores", [said, *blocks])]
