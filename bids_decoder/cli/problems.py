"""All that stops a call whose options or folders are wrong already."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from bids_decoder.config import Settings
from bids_decoder.errors import BidsDecoderError, Finding


def planning_problems(
    settings: Settings, cleanup: ExitStack, known: Sequence[Finding] = ()
) -> list[Finding]:
    """Make the plan in a temporary folder; return what stops it.

    Parameters
    ----------
    settings : Settings
    cleanup : ExitStack
        Removes the folder.
    known : sequence of Finding
        Problems of the folders, which planning finds, too; they are returned where there is no
        temporary folder.

    Returns
    -------
    list of Finding
        Empty where there is a plan.
    """
    from bids_decoder.cli.environment import make_home, prepare_environment
    from bids_decoder.cli.resources import with_resources
    from bids_decoder.cli.scratch import HOME

    settings = with_resources(settings)
    try:
        place = tempfile.TemporaryDirectory(prefix="bids_decoder-", ignore_cleanup_errors=True)
    except OSError:
        return list(known)
    work_dir = Path(cleanup.enter_context(place))
    prepare_environment(work_dir / HOME, settings.resources.omp_nthreads)
    make_home(work_dir / HOME)
    from bids_decoder.cli.plan import make_plan

    try:
        make_plan(settings, work_dir)
    except BidsDecoderError as error:
        return list(error.all_findings)
    return []
