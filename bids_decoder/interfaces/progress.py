"""Progress of long trainings: a line now and then, with an estimate of the time left."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

LOGGER = logging.getLogger("bids_decoder")


def log_progress(what: str, seconds_between: float = 20.0) -> Callable[[int, int, float], None]:
    """Make a callback (epochs done, epochs in all, loss) that logs at most every few seconds."""
    start = time.monotonic()
    last = start

    def report(done: int, total: int, loss: float) -> None:
        nonlocal last
        now = time.monotonic()
        if now - last < seconds_between and done < total:
            return
        last = now
        left = (now - start) / done * (total - done)
        LOGGER.info("%s: epoch %d of %d, loss %.4f, about %.0f s left",
                    what, done, total, loss, left)

    return report
