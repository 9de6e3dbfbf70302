"""Write report pages and citation files: those of a call, or again from results on disk."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from bids_decoder.config import Settings
from bids_decoder.errors import ExitCode, Finding, MissingInputError
from bids_decoder.files import disk_error, read_json

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


def write_again(settings: Settings, *, methods_only: bool) -> ExitCode:
    """Write reports, or the methods text only, again from the results on disk.

    Parameters
    ----------
    settings : Settings
    methods_only : bool
        ``--boilerplate-only``.

    Returns
    -------
    ExitCode

    Raises
    ------
    MissingInputError
        Where there are no results, or none of a participant who is asked for.
    """
    from bids_decoder.analyses.facts import collect_facts
    from bids_decoder.cli.summary import report_lines
    from bids_decoder.reports.boilerplate import write_citation

    output_dir = settings.execution.output_dir
    if not (output_dir / "plan.json").is_file():
        raise MissingInputError(
            f"output folder {output_dir}", "holds no results of bids_decoder",
            "give the folder of an earlier run, or run without this option first",
        )
    if methods_only:
        write_citation(output_dir, collect_facts(output_dir))
        LOGGER.info("methods text: %s", output_dir / "logs" / "CITATION.md")
        return ExitCode.OK
    wanted = _people_with_results(settings)
    stimuli = settings.trials.stimuli_dir or settings.execution.bids_dir / "stimuli"
    if not stimuli.is_dir() and read_json(output_dir / "plan.json").get("target_kind") == "image":
        LOGGER.warning("%s", Finding(
            f"images of stimuli in {stimuli}", "there is no such folder: reports show names only",
            "give the folder of the images with --stimuli-dir",
        ))
    pages, n_failed = write_pages(output_dir, wanted, stimuli if stimuli.is_dir() else None)
    for line in report_lines(pages):
        LOGGER.info("%s", line)
    return ExitCode.FAILURE if n_failed else ExitCode.OK


def _people_with_results(settings: Settings) -> list[str]:
    from bids_decoder.reports.results import participants

    found = participants(settings.execution.output_dir)
    absent = [label for label in settings.execution.participant_label if label not in found]
    if absent:
        raise MissingInputError(
            f"participant {', '.join(absent)}",
            f"has no results in {settings.execution.output_dir}",
            f"choose from: {', '.join(found)}", ExitCode.NOTHING_SELECTED,
        )
    return list(settings.execution.participant_label) or found
