"""Report of retrieval among a gallery."""

from __future__ import annotations

from bids_decoder.reports.blocks import Figure, Section, Text, absent
from bids_decoder.reports.figures import Picture
from bids_decoder.reports.results import Results, numeric
from bids_decoder.reports.scores import compare
from bids_decoder.reports.tables import metrics_table


def sections(results: Results) -> list[Section]:
    """Return the section on retrieval among a gallery; none without a gallery."""
    table, sheets = results.table("gallery"), results.files("gallery_sheet")
    if table is None:
        return []
    found = compare(results.table("gallery_metrics"), results.card("decoder_model"))
    ranks = numeric(table, "rank", "pool_size")
    pool = f"{ranks['pool_size'].iloc[0]:,.0f}"
    if not sheets:
        return [Section("gallery", "Gallery", [
            absent("The sheet of the gallery", "it is not on disk."), metrics_table(found),
        ])]
    return [Section("gallery", "Gallery", [
        Figure(Picture(
            "gallery", sheets[0].read_bytes(), "png",
            f"Retrieval among {pool} images, the tested stimuli and the gallery: what was seen "
            "(with its rank) and the five nearest (with their cosine); green: the right one. Rows "
            "run evenly from the best to the worst rank, not picked by eye.",
            f"Median rank {ranks['rank'].median():g} among {pool} images.",
        )),
        Text("The ten nearest images of each stimulus are in "
             f"{results.files('gallery')[0].name}."),
        metrics_table(found),
    ])]
