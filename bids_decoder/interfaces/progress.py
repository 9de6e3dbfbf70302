"""Progress of long computations in nodes, as log records that a display can read."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

LOGGER = logging.getLogger("bids_decoder")

_SECONDS_BETWEEN = 1.0


def log_progress(what: str, unit: str = "epoch") -> Callable[..., None]:
    """Make a callback (done, total, loss or None) that logs at most once a second.

    Its records carry ``event="work"`` and ``fraction``. The process of the call takes them for
    its display, so that none of them is a line of its own on the screen or in the log.

    Parameters
    ----------
    what : str
        What is computed, for instance ``"searchlight, fold 1"``.
    unit : str
        What is counted.
    """
    last = float("-inf")

    def report(done: int, total: int, loss: float | None = None) -> None:
        nonlocal last
        now = time.monotonic()
        if now - last < _SECONDS_BETWEEN and done < total:
            return
        last = now
        with_loss = "" if loss is None else f", loss {loss:.4f}"
        LOGGER.info("%s: %s %d of %d%s", what, unit, done, total, with_loss,
                    extra={"event": "work", "fraction": done / total})

    return report
