"""Settings of multi-echo data; light, so that the command line can read them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from bids_decoder.config import Section


@dataclass(frozen=True)
class MultiEcho(Section, table="multiecho"):
    """What is done with the echoes of multi-echo runs.

    Parameters
    ----------
    echo : int or None
        Number of the only echo that is used; None combines all.
    output : {"combined", "echoes"}
        Whether each preprocessed echo is written beside their combination.
    tedana : bool
        Whether components that do not depend on the echo time become confounds.
    """

    echo: int | None = None
    output: Literal["combined", "echoes"] = "combined"
    tedana: bool = False
