"""Report of relevance maps."""

from __future__ import annotations

from bids_decoder.bids.names import sidecar_path
from bids_decoder.files import read_json
from bids_decoder.reports.blocks import Block, Figure, Section, Table, Text
from bids_decoder.reports.cards import UNSHOWN, card_table, plain
from bids_decoder.reports.figures_maps import relevance_pictures
from bids_decoder.reports.results import Results

_CHECKS = {
    "relevance_per_logit": "Relevance that arrived at the voxels, as a share of the logit it "
                           "started from; the rest stayed with biases.",
    "likeness_randomised_output": "Rank correlation with the maps of the same network with a "
                                  "random output layer.",
    "likeness_randomised_all": "Rank correlation with the maps of a random network. Maps that "
                               "show the anatomy and not the decision stay alike (near 1).",
}


def sections(results: Results) -> list[Section]:
    """Return the section on relevance maps; none for decoders without such maps."""
    cards = [read_json(sidecar_path(path)) for path in results.files("relevance_map")]
    if not cards:
        return []
    known = [name for name in cards[0] if name not in (*UNSHOWN, *_CHECKS, "Description")]
    shared = {name: cards[0][name] for name in known
              if all(card.get(name) == cards[0][name] for card in cards)}
    blocks: list[Block] = [card_table(shared, "How the maps were made")]
    blocks.append(Table(
        ["check", "value"],
        [[text, plain(cards[0][name])] for name, text in _CHECKS.items() if name in cards[0]],
        "Sanity checks of the maps", frozenset({"value"}),
    ))
    blocks += [Figure(p) for p in relevance_pictures(results)]
    blocks.append(Text(
        "The maps explain what the network did with held-out trials. They are no test: a voxel "
        "without relevance may still carry information."
    ))
    return [Section("relevance", "Relevance", blocks)]
