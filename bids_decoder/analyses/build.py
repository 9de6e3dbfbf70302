"""Build the workflow of a call from the jobs that are due."""

from __future__ import annotations

from collections.abc import Iterable

from nipype.pipeline.engine import Workflow

from bids_decoder import __version__
from bids_decoder.analyses.jobs import Job
from bids_decoder.analyses.registry import find_analysis
from bids_decoder.workflows.wiring import Wiring
from bids_decoder.workflows.work import Work


def init_bids_decoder_wf(work: Work, jobs: Iterable[Job]) -> Workflow:
    """Wire all jobs of a call that are due.

    Parameters
    ----------
    work : Work
    jobs : iterable of Job
        Each after those that it uses. Finished jobs are left out; their outputs are read from
        the derivatives.

    Returns
    -------
    Workflow
    """
    version = "".join(c if c.isalnum() else "_" for c in __version__)
    wiring = Wiring(work, f"bids_decoder_{version}_wf")
    for job in jobs:
        if job.is_due:
            find_analysis(job.analysis).build(job, wiring)
    return wiring.workflow
