"""Groups of options that all analyses share; those on trials are in :mod:`.trial_options`."""

from __future__ import annotations

import argparse

from bids_decoder import __version__
from bids_decoder.analyses.registry import analyses
from bids_decoder.cli.logs import FORMATS
from bids_decoder.config import LEVELS, Settings
from bids_decoder.errors import ExitCode, UsageError
from bids_decoder.options import (
    one_of,
    option,
    read_dataset,
    read_device,
    read_label,
    read_memory,
    read_number,
    read_path,
    several,
)


def add_positionals(parser: argparse.ArgumentParser) -> None:
    """Add what every call names: dataset, output folder, level."""
    parser.add_argument(
        "execution.bids_dir", metavar="bids_dir", type=read_path,
        help="top folder of a BIDS dataset (with dataset_description.json); never written to",
    )
    parser.add_argument(
        "execution.output_dir", metavar="output_dir", type=read_path,
        help="folder for the results (BIDS derivatives)",
    )
    parser.add_argument(
        "execution.analysis_level", metavar="{participant,group}", type=_read_level, nargs="+",
        help="what to run, in this order; participant: prepare the single-trial responses of each "
        "participant and decode them, from the pretrained model where there is one; group: prepare "
        "the source participants and pretrain on them",
    )


def add_queries(parser: argparse.ArgumentParser) -> None:
    """Add the options that choose data."""
    group = parser.add_argument_group("Options for filtering BIDS queries")
    several(
        group, "--participant-label", dest="execution.participant_label", type=read_label("sub"),
        metavar="LABEL", default="all",
        help="participants, with or without `sub-`: at the level participant those to prepare "
        "and decode, at the level group those to pretrain on; at both, with "
        "`--holdout-label` those to pretrain on and decode, without it those to decode. One "
        "that does not exist is an error (exit code 18), not a warning",
    )
    several(
        group, "--session-id", "--session-label", dest="execution.session_id",
        type=read_label("ses"), metavar="LABEL", default="all",
        help="sessions, with or without `ses-`",
    )
    several(
        group, "-t", "--task-id", dest="execution.task_id", type=read_label("task"),
        metavar="LABEL", default="all that have events", help="tasks, with or without `task-`",
    )
    several(
        group, "--run-id", dest="execution.run_id", type=read_label("run"), metavar="LABEL",
        default="all", help="runs, with or without `run-`",
    )
    several(
        group, "--participant-filter", dest="execution.participant_filter", metavar="RULE",
        help="use only participants whose row of `participants.tsv` satisfies every "
        "[rule](#rules), as `'age>=18' 'group=control'`. The others are neither decoded nor "
        "pretrained on in this call",
    )
    several(
        group, "--session-filter", dest="execution.session_filter", metavar="RULE",
        help="use only sessions whose row of `sub-<label>/sub-<label>_sessions.tsv` satisfies "
        "every [rule](#rules)",
    )
    _add_sources(group)


def _add_sources(group: argparse._ArgumentGroup) -> None:
    option(
        group, "--bids-filter-file", dest="execution.bids_filter_file", type=read_path,
        metavar="FILE",
        help="JSON file with PyBIDS filters for each kind of input: `{\"bold\": {\"acquisition\": "
        "\"highres\"}, \"t1w\": {\"session\": \"01\"}}`",
    )
    several(
        group, "-d", "--derivatives", dest="execution.derivatives", type=read_dataset,
        metavar="[NAME=]PATH",
        help="derivatives to start from: `fmriprep=PATH` skips preprocessing, `betas=PATH` takes "
        "existing single-trial responses; responses in a layout that is [released](released.md) "
        "are recognised under any name. A bare `PATH` is named after its last folder",
    )
    option(
        group, "--bids-database-dir", dest="execution.bids_database_dir", type=read_path,
        metavar="FOLDER",
        help="folder for the PyBIDS index of the dataset, which saves indexing in later calls. "
        "Remove it when the dataset changes",
    )
    option(
        group, "--skip-bids-validation", dest="execution.skip_bids_validation", action="store_true",
        help="do not run the BIDS validator on a raw dataset. It is run where "
        "`bids-validator-deno` is installed; its errors are shown as warnings. What the "
        "program needs is checked in any case",
    )


def add_performance(parser: argparse.ArgumentParser) -> None:
    """Add the options on the machine."""
    group = parser.add_argument_group("Options to handle performance")
    option(
        group, "--nprocs", "--nthreads", "--n-cpus", dest="resources.nprocs",
        type=read_number(int, 1), metavar="N", default="what the process may use",
        help="threads over all processes. The limits of affinity, cgroup and Slurm count",
    )
    option(
        group, "--omp-nthreads", dest="resources.omp_nthreads", type=read_number(int, 1),
        metavar="N", default="`1`", help="threads of one process",
    )
    option(
        group, "--mem", "--mem-mb", dest="resources.mem_gb", type=read_memory, metavar="SIZE",
        default="what the process may use",
        help="upper bound of memory: `16G`, `1.5T`, `800M`; a bare number is in MB",
    )
    option(
        group, "--low-mem", dest="resources.low_mem", action="store_true",
        help="use less memory, at the cost of time and of space in the work folder",
    )
    option(
        group, "--device", dest="resources.device", type=read_device, metavar="auto|cpu|cuda[:N]",
        help="where networks are trained: `auto` (a GPU if one is usable), `cpu`, `cuda`, or "
        "`cuda:1` for one of several. `cuda` without a usable GPU is an error; the program "
        "does not fall back to the CPU",
    )
    option(
        group, "--use-plugin", "--nipype-plugin-file", dest="resources.plugin_file", type=read_path,
        metavar="FILE",
        help="YAML file with the settings of a Nipype plugin (SLURM, SGE, PBS, LSF, ...), to "
        "distribute the work over a cluster. See [hpc.md](hpc.md)",
    )


def add_subset(parser: argparse.ArgumentParser) -> None:
    """Add the options that run a part only."""
    stages = tuple(dict.fromkeys(analysis.stage for analysis in analyses()))
    group = parser.add_argument_group("Options for performing only a subset of the workflow")
    only = group.add_mutually_exclusive_group()
    option(
        only, "--dry-run", dest="actions.dry_run", action="store_true",
        help="check everything, print the plan and all problems, compute nothing",
    )
    option(
        only, "--reports-only", dest="actions.reports_only", action="store_true",
        help="write the reports again, from the results on disk",
    )
    option(
        only, "--boilerplate-only", dest="actions.boilerplate_only", action="store_true",
        help="write the methods text and the references (`logs/CITATION.md`)",
    )
    several(
        group, "--stage", dest="execution.stage", choices=stages, metavar="STAGE",
        default="all of the level",
        help=f"only these of the stages {', '.join(f'`{stage}`' for stage in stages)}. A stage "
        "that the level does not have is an error",
    )


def add_workflow(parser: argparse.ArgumentParser) -> None:
    """Add the options that configure the workflow."""
    group = parser.add_argument_group("Workflow configuration")
    several(
        group, "--output-spaces", dest="preprocessing.output_spaces", metavar="SPACE",
        default="`func`",
        help="spaces in which preprocessed BOLD is written. The first is also the space in which "
        "responses are estimated and decoded; of fMRIPrep's derivatives, or beta series, it is the "
        "first that all runs have. `func` (the participant's own functional space, always "
        "written), `T1w` (the box of the T1w image, in voxels of the BOLD's size), or a template "
        "with its resolution, as `MNI152NLin2009cAsym:res-2`; of derivatives also `fsaverage5`, "
        "`fsaverage6`, `fsaverage`, `fsnative`, `fsLR:den-91k`. See [spaces](#spaces)",
    )
    several(
        group, "--ignore", dest="preprocessing.ignore", metavar="STEP",
        choices=("slicetiming", "fieldmaps", "sbref"),
        help="what to disregard. `slicetiming`: leave this correction out (the plan reports "
        "impossible values of `SliceTiming`, for instance in milliseconds; times that start "
        "before the volume are shifted, if they fit into one repetition). `fieldmaps`: do not "
        "correct [distortion](#distortion). `sbref`: take the median of the volumes as reference",
    )
    option(
        group, "--use-syn-sdc", dest="preprocessing.use_syn_sdc", choices=("warn", "error"),
        nargs="?", const="error", default="runs without field map are not corrected",
        help="estimate the [distortion](#distortion) of raw runs without a usable field map from "
        "their differences to the T1w image, along the phase-encoding direction. Where this is "
        "not possible, `error`, which is meant without a value, refuses the call, and `warn` "
        "leaves the run as it is. With `--ignore fieldmaps` it is used for all runs",
    )
    option(
        group, "--dummy-scans", dest="preprocessing.dummy_scans", type=read_number(int, 0),
        metavar="N", default="detected",
        help="volumes at the start of each run that are not in the steady state; `0`: there are "
        "none",
    )
    option(
        group, "--discarded-volumes", dest="preprocessing.discarded_volumes",
        type=read_number(int, 0), metavar="N", default="what the sidecars say",
        help="volumes that preprocessed runs lack at their start, compared with the raw runs; "
        "onsets are shifted by as much. See [missing volumes of "
        "derivatives](#missing-volumes-of-derivatives)",
    )
    option(
        group, "--random-seed", dest="random_seed", type=read_number(int, 0), metavar="SEED",
        default=f"`{Settings().random_seed}`",
        help="seed of all random numbers. It has a fixed default, so that two calls agree, and "
        "is saved with the results",
    )


def add_other(parser: argparse.ArgumentParser) -> None:
    """Add the options that fit nowhere else."""
    group = parser.add_argument_group("Other options")
    option(
        group, "-w", "--work-dir", dest="execution.work_dir", type=read_path, metavar="FOLDER",
        default="`work/` in `output_dir`",
        help="folder for intermediate files; not inside the dataset. It may be deleted "
        "afterwards",
    )
    option(
        group, "--clean-workdir", dest="execution.clean_workdir", action="store_true",
        help="empty the work folder first",
    )
    option(
        group, "--config-file", dest="config_file", type=read_path, metavar="FILE",
        help="settings of an earlier run (`settings.toml` below `logs/`); options given here "
        "win. See [settings files](#settings-files)",
    )
    option(
        group, "--stop-on-first-crash", dest="execution.stop_on_first_crash", action="store_true",
        help="stop everything when one participant fails; otherwise the other participants "
        "continue, and the exit code is 1",
    )
    option(
        group, "--write-graph", dest="execution.write_graph", action="store_true",
        help="draw the workflow; needs Graphviz (it is in the container)",
    )
    option(
        group, "--demo", dest="actions.demo", type=read_path, metavar="OUT", default="",
        help="make a small dataset in `OUT/data`, run group and participant on it, write "
        "`OUT/derivatives`. Takes no positional arguments",
    )
    option(
        group, "--notrack", dest="notrack", action="store_true",
        help="accepted for compatibility with fMRIPrep command lines; nothing is ever tracked",
    )
    option(
        group, "-v", "--verbose", dest="actions.verbosity", action="count",
        help="log more, and list every problem instead of one of each kind; `-vv` for debugging",
    )
    option(
        group, "--log-format", dest="actions.log_format", choices=FORMATS, default="`text`",
        help="`json`: one object per line, on the screen and in the log file. See "
        "[progress](#progress)",
    )
    option(group, "-h", "--help", dest="help", action="help", help="show all options")
    option(
        group, "--version", dest="version", action="version", help="show the version",
        version=f"%(prog)s {__version__}",
    )


def _read_level(text: str) -> str:
    if text not in LEVELS:
        raise UsageError(
            f"analysis level {text!r}", "is unknown",
            f"{one_of(text, LEVELS)}, or both, after dataset and output folder: bids_decoder "
            f"BIDS_DIR OUTPUT_DIR {LEVELS[0]}",
            ExitCode.UNKNOWN_LEVEL,
        )
    return text
