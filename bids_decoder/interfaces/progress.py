"""Progress of long trainings: log lines with an estimate of the time left."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

LOGGER = logging.getLogger("bids_decoder")


_SECONDS_BETWEEN = 20.0


def log_progress(what: str, unit: str = "epoch") -> Callable[..., None]:
    """Make a callback (done, total, loss or None) that logs at most every 20 seconds."""
    start = time.monotonic()
    last = start

    def report(done: int, total: int, loss: float | None = None) -> None:
        nonlocal last
        now = time.monotonic()
        if now - last < _SECONDS_BETWEEN and done < total:
            return
        last = now
        left = (now - start) / done * (total - done)
        with_loss = "" if loss is None else f", loss {loss:.4f}"
        LOGGER.info("%s: %s %d of %d%s, about %.0f s left",
                    what, unit, done, total, with_loss, left)

    return report
