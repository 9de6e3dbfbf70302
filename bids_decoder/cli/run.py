"""The whole call: plan, run, report, exit code. Only this module exits."""

from __future__ import annotations

import errno
import logging
import os
import sys
import time
import uuid
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bids_decoder import __version__
from bids_decoder.cli.logs import (
    asked_format,
    log_file,
    quiet_libraries,
    quiet_nipype,
    set_up_logging,
    tell,
)
from bids_decoder.cli.parser import Actions, read_command_line
from bids_decoder.cli.stopping import Stopping
from bids_decoder.config import Settings
from bids_decoder.errors import (
    BidsDecoderError,
    ExitCode,
    Finding,
    FindingsError,
    MemoryLackError,
    has_errors,
    summarise,
)
from bids_decoder.files import can_write, disk_error, write_json

if TYPE_CHECKING:
    from bids_decoder.cli.engine import Outcome
    from bids_decoder.cli.plan import Plan

LOGGER = logging.getLogger("bids_decoder")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the program and return its exit code.

    Parameters
    ----------
    argv : sequence of str, optional
        The command line without the name of the program.

    Returns
    -------
    int
        See :class:`~bids_decoder.errors.ExitCode`.
    """
    words = list(sys.argv[1:] if argv is None else argv)
    actions = Actions(log_format=asked_format(words))
    try:
        settings, actions, problems = read_command_line(words)
        set_up_logging(actions.verbosity, actions.log_format)
        with ExitStack() as cleanup:
            stopping = Stopping(words, actions.log_format, cleanup)
            with stopping.on_signals():
                if problems:
                    code = _refuse(settings, actions, problems, cleanup)
                else:
                    code = _run(settings, actions, stopping)
    except BidsDecoderError as error:
        tell(error.render(full=actions.verbosity > 0), actions.log_format)
        code = error.code
    except MemoryError as error:
        LOGGER.debug("details", exc_info=True)
        tell(str(_explain_memory(error)), actions.log_format)
        code = ExitCode.FAILURE
    except Exception as error:
        cause = error if isinstance(error, OSError) else disk_error(error)
        if cause is None:
            raise
        LOGGER.debug("details", exc_info=True)
        tell(_explain_os_error(cause), actions.log_format)
        code = ExitCode.IO_ERROR
    return int(code)


def _refuse(
    settings: Settings, actions: Actions, problems: Sequence[Finding], cleanup: ExitStack
) -> ExitCode:
    """Tell what is wrong with the options, then what else would stop the call without them."""
    from bids_decoder.cli.collecting_parser import as_error
    from bids_decoder.cli.problems import planning_problems

    full = actions.verbosity > 0
    error = as_error(problems)
    tell(error.render(full=full), actions.log_format)
    makes_plan = not (actions.reports_only or actions.boilerplate_only or actions.demo)
    if not makes_plan:
        return error.code
    _tell_of_search("without these options")
    others = planning_problems(settings, cleanup)
    if has_errors(others):
        others_text = FindingsError(others).render(full=full)
        tell(f"seen without these options: {others_text}", actions.log_format)
    return error.code


def _tell_of_search(why: str) -> None:
    """Say that the call goes on although it is refused: a plan of many runs takes minutes."""
    LOGGER.info("looking for more problems (%s); Ctrl+C ends this", why)


def _explain_memory(error: MemoryError) -> BidsDecoderError:
    from bids_decoder.cli.resources import available_memory_gb

    return MemoryLackError(
        "the memory is not enough", f"container, job or machine has {available_memory_gb():.1f} GB"
        + (f"; {error}" if str(error) else ""),
    )


def _run(settings: Settings, actions: Actions, stopping: Stopping) -> ExitCode:
    """Run the call; ``stopping.cleanup`` removes temporary files however it ends."""
    from bids_decoder.bids.places import check_places, check_writable, existing_parent
    from bids_decoder.cli.environment import make_home, prepare_environment
    from bids_decoder.cli.pages import write_again
    from bids_decoder.cli.problems import planning_problems
    from bids_decoder.cli.resources import with_resources
    from bids_decoder.cli.scratch import HOME, remove_unused, work_dir_of

    cleanup = stopping.cleanup
    settings = with_resources(settings)
    work_dir = work_dir_of(settings)
    prepare_environment(work_dir / HOME, settings.resources.omp_nthreads)
    if "WORLD_SIZE" in os.environ and _trained_along(settings, cleanup):
        return ExitCode.OK
    results_only = actions.reports_only or actions.boilerplate_only
    misplaced = check_writable(settings) if results_only else check_places(settings)
    if has_errors(misplaced):
        # Neither folder is touched: planning elsewhere tells the problems of the data, too.
        if results_only:
            raise FindingsError(misplaced)
        _tell_of_search("; ".join(f"{found.what}: {found.why}" for found in misplaced))
        raise FindingsError(planning_problems(settings, cleanup) or misplaced)
    stop = existing_parent(work_dir)
    unused = cleanup.enter_context(ExitStack())
    if stop != work_dir:
        unused.callback(remove_unused, work_dir, stop)
    make_home(work_dir / HOME)
    if results_only:
        return write_again(settings, methods_only=actions.boilerplate_only)
    if actions.demo is not None:
        settings = _with_demo(settings)
    plan = _plan(settings, work_dir, actions)
    if actions.dry_run:
        return ExitCode.OK
    with cleanup.enter_context(ExitStack()) as locks:
        _start(plan, locks)
        # From here on the work folder holds results that a later call can reuse.
        unused.pop_all()
        stopping.plan = plan
        quiet_nipype(actions.verbosity)
        log_dir, record = _open_log(plan, stopping)
        # However the call ends, files of finished stages have their record.
        locks.callback(_provenance_writer(plan, stopping.command, record["started"], log_dir.name))
        outcome = _compute(plan, log_dir)
        write_json(log_dir / "run.json", {**record, "timings": outcome.timings})
        reports = _write_reports(plan)
        code = _conclude(plan, outcome, reports, log_dir)
        if code == ExitCode.OK:
            # With the locks held: an equal call may wait to begin in this folder.
            _remove_work_dir(plan)
    if code == ExitCode.OK:
        LOGGER.info("finished successfully")
    return code


def _trained_along(settings: Settings, cleanup: ExitStack) -> bool:
    """Join the training of a torchrun group until its first process ends."""
    from bids_decoder.cli.device import resolve_device
    from bids_decoder.training.parallel import is_first, others_wait, train_along
    from bids_decoder.training.pretrain import pretrain_trunk

    device, _ = resolve_device(settings.resources.device)
    if is_first():
        cleanup.enter_context(others_wait(device))
        return False
    train_along(device, pretrain_trunk)
    return True


def _plan(settings: Settings, work_dir: Path, actions: Actions) -> Plan:
    started = time.monotonic()
    from bids_decoder.processes import collector_paused

    with collector_paused():
        from bids_decoder.cli.plan import make_plan

        quiet_libraries(actions.verbosity)
        plan = make_plan(settings, work_dir)
    _print_plan(plan, time.monotonic() - started, actions)
    return plan


def _start(plan: Plan, locks: ExitStack) -> None:
    """Set up the output folder and take the locks of all that is to be processed."""
    from bids_decoder.analyses.registry import all_descriptions
    from bids_decoder.bids.description import write_dataset_files
    from bids_decoder.bids.locks import all_locks
    from bids_decoder.cli.environment import make_home
    from bids_decoder.cli.scratch import (
        HOME,
        discard_other_build,
        empty_folder,
        remove_unfinished,
    )

    output_dir = plan.study.output_dir
    write_dataset_files(output_dir, plan.study.dataset, descriptions=all_descriptions())
    work_dir = plan.study.work_dir
    units = sorted({step.unit for step in plan.steps if step.todo and step.locks})
    labels = [unit.removeprefix("sub-") for unit in units]
    # The work folder, too: the same call may run twice with steps that take no lock.
    locks.enter_context(all_locks(output_dir, [*labels, work_dir.name]))
    for unit in units:
        remove_unfinished(output_dir / unit)
    # An equal call that ended meanwhile has removed its folder.
    make_home(work_dir / HOME)
    if plan.study.settings.execution.clean_workdir:
        empty_folder(work_dir)
    if discard_other_build(work_dir):
        LOGGER.info("the work folder is of another build of the program: its parts of steps that "
                    "are not finished are made again")


def _open_log(plan: Plan, stopping: Stopping) -> tuple[Path, dict[str, Any]]:
    """Make the folder of this call below ``logs``; settings and command go there."""
    log_dir = plan.study.output_dir / "logs" / _run_name()
    log_dir.mkdir(parents=True)
    stopping.cleanup.enter_context(log_file(log_dir / "bids_decoder.log", stopping.log_format))
    plan.study.settings.to_toml(log_dir / "settings.toml")
    record = {"command": ["bids_decoder", *stopping.command], "version": __version__,
              "started": datetime.now(UTC).isoformat(timespec="seconds")}
    write_json(log_dir / "run.json", {**record, "timings": []})
    return log_dir, record


def _compute(plan: Plan, log_dir: Path) -> Outcome:
    from bids_decoder.cli.engine import Outcome, run_workflow
    from bids_decoder.cli.monitor import summary_lines
    from bids_decoder.cli.plan import write_plan

    write_plan(plan)
    if plan.is_empty:
        LOGGER.info("nothing to compute: everything requested is done")
        return Outcome([], {})
    started = time.monotonic()
    outcome = run_workflow(plan.study.work, plan.jobs, log_dir)
    busy = sum(timing["seconds"] for timing in outcome.timings)
    for line in summary_lines(outcome.steps):
        LOGGER.info("%s", line, extra={"event": "summary"})
    LOGGER.info("computed for %.0f s; the nodes took %.0f s of work",
                time.monotonic() - started, busy)
    return outcome


def _provenance_writer(
    plan: Plan, command: Sequence[str], started: str, run_name: str
) -> Callable[[], None]:
    """Return what writes which files this call made, from what and how."""
    # Imported now: a signal that comes while a library is imported finds parts of it only.
    from bids_decoder.bids.provenance import Call, write_provenance

    due = [stage.key for job in plan.jobs for stage in job.stages if stage.is_due]
    name = "".join(character for character in run_name if character.isalnum())
    sources = ("raw", *plan.study.dataset.derivatives)

    def write() -> None:
        ended = datetime.now(UTC).isoformat(timespec="seconds")
        call = Call(name, command, started, ended, sources)
        write_provenance(plan.study.output_dir, call, due, os.environ)

    return write


def _write_reports(plan: Plan) -> tuple[list[Path], int]:
    from bids_decoder.cli.pages import write_pages

    people, output_dir = list(plan.study.work.people), plan.study.output_dir
    present = [output_dir / f"sub-{label}.html" for label in people]
    if plan.is_empty and all(page.is_file() for page in present):
        return present, 0
    return write_pages(output_dir, people, plan.study.dataset.stimuli_dir)


def _conclude(
    plan: Plan, outcome: Outcome, reports: tuple[list[Path], int], log_dir: Path
) -> ExitCode:
    from bids_decoder.cli.summary import failure_lines, headlines, report_lines

    pages, n_failed = reports
    for line in failure_lines(outcome.failures):
        LOGGER.error("%s", line)
    study = plan.study
    for line in headlines(study.output_dir, list(study.work.people), study.dataset.root):
        LOGGER.info("%s", line)
    for line in report_lines(pages):
        LOGGER.info("%s", line)
    if outcome.failures or n_failed:
        LOGGER.error("%d step(s) and %d report(s) failed; what is finished is kept. Log: %s",
                     len(outcome.failures), n_failed, log_dir)
        if any(f.disk_is_full for f in outcome.failures) or not can_write(log_dir):
            LOGGER.error("the disk is full: free some space, then run the same command again")
            return ExitCode.IO_ERROR
        return ExitCode.FAILURE
    return ExitCode.OK


def _remove_work_dir(plan: Plan) -> None:
    """Remove the work folder of this call; keep a folder named by the user."""
    from bids_decoder.cli.scratch import remove_folder

    if plan.study.settings.execution.work_dir is None:
        remove_folder(plan.study.work_dir, plan.study.output_dir)


def _with_demo(settings: Settings) -> Settings:
    from bids_decoder.cli.demo import demo_settings

    return demo_settings(settings)


def _print_plan(plan: Plan, seconds: float, actions: Actions) -> None:
    from bids_decoder.cli.summary import plan_lines

    warnings = [finding for finding in plan.findings if finding.severity == "warning"]
    if not actions.verbosity:
        full_list = str(plan.study.output_dir / "plan.json")
        warnings = summarise(warnings, "give -v" if actions.dry_run else full_list)
    for finding in warnings:
        LOGGER.warning("%s", finding)
    for line in plan_lines(plan, seconds):
        LOGGER.info("%s", line)


def _run_name() -> str:
    return f"{datetime.now(UTC):%Y%m%d-%H%M%S}_{uuid.uuid4()}"


def _explain_os_error(error: OSError) -> str:
    again = "then run the same command again; what is finished is kept"
    full = error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
    fix = f"free some space, {again}" if full else f"check the disk and the permissions, {again}"
    return f"{error.filename or 'input/output'}\n    why: {error.strerror or error}\n    fix: {fix}"
