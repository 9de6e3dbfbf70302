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
        metavar="LABEL", help="participants that pretraining must not see",
    )
    option(
        group, "--leave-one-out", dest="execution.leave_one_out", action="store_true",
        help="pretrain one model per participant, on all the others",
    )
    option(
        group, "--pretrained", dest="execution.*", type=_read_pretrained, metavar="PATH|required",
        help="pretrained model to start from, or the folder of results that holds it (default: the "
        "one in output_dir if there is one); required: stop where there is none",
    )
    option(
        group, "--from-scratch", dest="execution.from_scratch", action="store_true",
        help="decode without a pretrained model even where there is one",
    )
    option(
        group, "--allow-seen", dest="execution.allow_seen", action="store_true",
        help="decode participants or test stimuli that the pretrained model saw; every output "
        "then says so",
    )


def _read_pretrained(text: str) -> dict[str, Any]:
    """Read a path, or the word ``required``."""
    if text == "required":
        return {"pretrained": None, "require_pretrained": True}
    return {"pretrained": read_path(text), "require_pretrained": False}
