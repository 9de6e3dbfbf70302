"""Report of reconstruction."""

from __future__ import annotations

import numpy as np

from bids_decoder.reports.blocks import Block, Figure, Section, Text
from bids_decoder.reports.figures import Picture, picture
from bids_decoder.reports.figures_pictures import draw_errors
from bids_decoder.reports.reconstructions import describe_scores, how_made, score_blocks
from bids_decoder.reports.results import Results, numeric


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
        *_error_blocks(results),
    ]
    return [Section("reconstruction", "Reconstruction", blocks)]


def _error_blocks(results: Results) -> list[Block]:
    """Return the map of the expected error of painted images."""
    table = results.table("reconstruction_error")
    if table is None or results.card("reconstruction_metrics").get("Method") != "ridge":
        return []
    table = numeric(table, "row", "column", "error", "spread")
    maps = table.set_index(["row", "column"]).unstack()
    error, spread = maps["error"].to_numpy(), maps["spread"].to_numpy()
    return [Figure(picture(
        draw_errors(error, spread), "reconstructionerror",
        "Uncertainty of painted images: the error that is expected of each pixel of a new image "
        "(root mean square over colours, of training images painted from trials outside the fit; "
        "images from several repeats have less), and which share of the variance of "
        "the images is known where. It is the same for all images.",
        f"Mean error {np.sqrt((error**2).mean()):.3f}; of the mean training image "
        f"{np.sqrt((spread**2).mean()):.3f}.",
    ))]
