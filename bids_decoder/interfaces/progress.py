"""Progress of long trainings: log lines with an estimate of the time left."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

LOGGER = logging.getLogger("bids_decoder")


def log_progress(
    what: str, seconds_between: float = 20.0, unit: str = "epoch"
) -> Callable[..., None]:
    """Make a callback (done, total, loss or None) that logs at most every few seconds."""
    start = time.monotonic()
    last = start

    def report(done: int, total: int, loss: float | None = None) -> None:
        nonlocal last
        now = time.monotonic()
        if now - last < seconds_between and done < total:
            return
        last = now
        left = (now - start) / done * (total - done)
        with_loss = "" if loss is None else f", loss {loss:.4f}"
        LOGGER.info("%s: %s %d of %d%s, about %.0f s left",
                    what, unit, done, total, with_loss, left)

    return report
