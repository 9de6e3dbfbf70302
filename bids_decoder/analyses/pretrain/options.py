"""Options of pretraining, and of the use of pretrained models."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from bids_decoder.options import option, read_label, read_path, several


def add_options(parser: ArgumentParser) -> None:
    """Add the options of this analysis."""
    group = parser.add_argument_group("Specific options for cross-subject pretraining")
    several(
        group, "--holdout-label", dest="execution.holdout_label", type=read_label("sub"),
        metavar="LABEL", help="participants to hold out of pretraining",
    )
    option(
        group, "--leave-one-out", dest="execution.leave_one_out", action="store_true",
        help="pretrain one model for each participant, on all the others. Not together with "
        "`--holdout-label`",
    )
    option(
        group, "--pretrained", dest="execution.*", type=_read_pretrained, metavar="PATH|required",
        default="the one in `output_dir` if there is one",
        help="pretrained model to start from, or a folder with it: results of an earlier call "
        "(or their `group/`), where a model that held the participant out takes precedence "
        "over the common one. `--pretrained required` uses the one in the output folder and "
        "stops with exit code 66 where there is none",
    )
    option(
        group, "--from-scratch", dest="execution.from_scratch", action="store_true",
        help="decode without a pretrained model even where there is one. Not together with "
        "`--pretrained`",
    )
    option(
        group, "--allow-seen", dest="execution.allow_seen", action="store_true",
        help="decode participants or test stimuli that the pretrained model saw. Every output is "
        "marked, because such a result says nothing about new data",
    )


def _read_pretrained(text: str) -> dict[str, Any]:
    """Read a path, or the word ``required``."""
    if text == "required":
        return {"pretrained": None, "require_pretrained": True}
    return {"pretrained": read_path(text), "require_pretrained": False}
