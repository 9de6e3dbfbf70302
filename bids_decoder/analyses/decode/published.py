"""Own scores beside the published ones of a protocol."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from bids_decoder.bids.names import OutputName
from bids_decoder.protocols import PROTOCOLS, Protocol, Published, number_of
from bids_decoder.reports.results import numeric
from bids_decoder.reports.scores import seen_participants

PUBLISHED = OutputName("metrics", ".tsv", "func", {"desc": "published"})
PUBLISHED_COLUMNS = {
    "participant": "Participant of these data, or subject of the paper; mean: over those of the "
                   "protocol.",
    "model": "Decoder of these data, or published model.",
    "i2b": "Top-1: the query is an image, the gallery the responses.",
    "b2i": "Top-1: the query is a response, the gallery the images.",
    "source": "Where the scores are from.",
}
OWN = "this decoder"

Scores = tuple[float, float]
"""Top-1 of i2b and of b2i."""


def protocol_of(card: Mapping[str, Any]) -> Protocol | None:
    """Return the protocol that a decoder followed, from its card; None without one."""
    return PROTOCOLS.get(card.get("protocol", ""))


def own_scores(
    participant: str, card: Mapping[str, Any], metrics: pd.DataFrame | None
) -> tuple[Scores | None, str]:
    """Return the own scores, or why they cannot stand beside the published ones.

    Parameters
    ----------
    participant : str
        Label.
    card : mapping
        Of a decoder that followed a protocol.
    metrics : DataFrame or None
        Of the decode stage.
    """
    protocol = PROTOCOLS[card["protocol"]]
    wanted = protocol.sources_of(number_of(participant) or 0)
    seen = tuple(sorted(number_of(label) or 0 for label in seen_participants(dict(card))))
    if wanted is not None and seen != wanted:
        there, expected = (", ".join(map(str, numbers)) or "nobody" for numbers in (seen, wanted))
        return None, f"the decoder was pretrained on {there}, those of the protocol on {expected}"
    if metrics is None:
        return None, "there is no metrics table"
    found = numeric(metrics, "value", "pool_size")
    found = found[
        (found["model"] == "decoder") & (found["metric"] == "top1")
        & (found["unit"] == "averaged") & (found["similarity"] == "cosine")
    ]
    size = protocol.fixed["evaluation.pool_size"]
    if protocol.searches_all and not found.empty:
        size = found["pool_size"].max()
    found = found[found["pool_size"] == size]
    values = dict(zip(found["direction"].tolist(), found["value"].tolist(), strict=True))
    if set(values) != {"i2b", "b2i"}:
        return None, f"the metrics table has no scores of averaged repeats in pools of {size:g}"
    return (values["i2b"], values["b2i"]), ""


def own_row(who: str, own: Scores) -> tuple[str, str, float, float, str]:
    """Return a row of the own scores in the columns of :data:`PUBLISHED_COLUMNS`."""
    return who, OWN, *own, "these data"


def published_rows(
    protocol: Protocol, number: int | None
) -> list[tuple[str, str, float, float, str]]:
    """Return the published rows of a participant, or of the mean where *number* is None."""
    return [_row(row) for row in protocol.published if row.participant == number]


def _row(row: Published) -> tuple[str, str, float, float, str]:
    who = "mean" if row.participant is None else f"subject {row.participant}"
    return who, row.model, row.image, row.brain, row.source


def beside_published(
    participant: str, card: Mapping[str, Any], metrics: pd.DataFrame
) -> pd.DataFrame | None:
    """Return the own scores above the published ones of the same participant.

    Parameters
    ----------
    participant : str
        Label.
    card : mapping
        Of the decoder.
    metrics : DataFrame

    Returns
    -------
    DataFrame or None
        Columns of :data:`PUBLISHED_COLUMNS`; None without a protocol, and where the own scores
        cannot stand beside the published ones.
    """
    protocol = protocol_of(card)
    own = None if protocol is None else own_scores(participant, card, metrics)[0]
    if own is None:
        return None
    rows = [own_row(f"sub-{participant}", own)]
    rows += published_rows(protocol, number_of(participant) or 0)
    return pd.DataFrame(rows, columns=list(PUBLISHED_COLUMNS))
