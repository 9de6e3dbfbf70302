"""All that stops a call whose options or folders are wrong already."""

from __future__ import annotations

import tempfile
from contextlib import ExitStack
from pathlib import Path

from bids_decoder.config import Settings
from bids_decoder.errors import BidsDecoderError, Finding


def planning_problems(settings: Settings, cleanup: ExitStack) -> list[Finding]:
    """Make the plan in a temporary folder; return what stops it.

    Parameters
    ----------
    settings : Settings
    cleanup : ExitStack
        Removes the folder.

    Returns
    -------
    list of Finding
        Empty where there is a plan, or no place for temporary files.
    """
    from bids_decoder.cli.environment import make_home, prepare_environment
    from bids_decoder.cli.resources import with_resources
    from bids_decoder.cli.scratch import HOME

    try:
        place = tempfile.TemporaryDirectory(prefix="bids_decoder-", ignore_cleanup_errors=True)
    except OSError:
        return []
    work_dir = Path(cleanup.enter_context(place))
    try:
        settings = with_resources(settings)
        prepare_environment(work_dir / HOME, settings.resources.omp_nthreads)
        make_home(work_dir / HOME)
        # Only now: libraries read the environment when they are imported.
        from bids_decoder.cli.plan import make_plan

        make_plan(settings, work_dir)
    except BidsDecoderError as error:
        return list(error.all_findings)
    return []
