"""Report of reconstruction."""

from __future__ import annotations

from bids_decoder.reports.blocks import Block, Figure, Section, Text
from bids_decoder.reports.figures import Picture
from bids_decoder.reports.reconstructions import describe_scores, how_made, score_blocks
from bids_decoder.reports.results import Results


def sections(results: Results) -> list[Section]:
    """Return the section on reconstructed images; none without them."""
    table = results.table("reconstruction_metrics")
    sheets = results.files("reconstruction_sheet")
    if table is None or not sheets:
        return []
    how = how_made(str(results.card("reconstruction_metrics").get("Method")))
    blocks: list[Block] = [
        Text(f"One image for each tested stimulus, from the mean over its repeats: {how}."),
        Figure(Picture(
            "reconstructions", sheets[0].read_bytes(), "png",
            "What was seen, the reconstruction, the training image nearest to what was decoded, "
            "and the reconstruction from the mean of the training responses. Rows run evenly from "
            "the best to the worst two-way identification (Gabor and colour features), not picked "
            "by eye.", describe_scores(table),
        )),
        *score_blocks(table),
    ]
    return [Section("reconstruction", "Reconstruction", blocks)]
