"""Write all report pages of a call: of participants, of the group, and the citation files."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from bids_decoder.files import disk_error

LOGGER = logging.getLogger("bids_decoder")


def write_pages(
    output_dir: Path, people: Sequence[str], stimuli_dir: Path | None
) -> tuple[list[Path], int]:
    """Write the pages of participants, of the group if there is one, and the citation files.

    Parameters
    ----------
    output_dir : Path
    people : sequence of str
        Labels; those without results are skipped.
    stimuli_dir : Path or None

    Returns
    -------
    pages : list of Path
    n_failed : int
        Pages that could not be made; the log says why. All others are made.

    Raises
    ------
    OSError
        When the disk is full or broken.
    """
    from bids_decoder.analyses.assemble import build_group_report, build_participant_report
    from bids_decoder.analyses.facts import collect_facts
    from bids_decoder.reports.boilerplate import write_citation

    builders: dict[str, Callable[[], Path]] = {
        f"sub-{label}": partial(
            build_participant_report, output_dir, label, stimuli_dir=stimuli_dir
        )
        for label in people if (output_dir / f"sub-{label}").is_dir()
    }
    if (output_dir / "group").is_dir():
        builders["group"] = partial(build_group_report, output_dir)
    LOGGER.info("writing %d report(s)", len(builders))
    pages = []
    for name, build in builders.items():
        try:
            pages.append(build())
        except Exception as error:
            if disk_error(error) is not None:
                # The next page would fail on the same disk, so the call ends with an error.
                raise
            LOGGER.exception("the report of %s could not be made; its results are there", name)
    write_citation(output_dir, collect_facts(output_dir))
    return pages, len(builders) - len(pages)
