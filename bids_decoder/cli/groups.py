"""Groups of options that all analyses share."""

from __future__ import annotations

import argparse

from bids_decoder import __version__
from bids_decoder.analyses.registry import analyses
from bids_decoder.config import LEVELS, Settings, TrialRules
from bids_decoder.errors import ExitCode, UsageError
from bids_decoder.options import (
    bad_value,
    choices,
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
        metavar="LABEL", help="participants, with or without sub- (default: all): at the level "
        "participant those to prepare and decode, at the level group those to pretrain on; at "
        "both, with --holdout-label those to pretrain on and decode, without it those to decode",
    )
    several(
        group, "--session-id", "--session-label", dest="execution.session_id",
        type=read_label("ses"), metavar="LABEL", help="sessions to use (default: all)",
    )
    several(
        group, "-t", "--task-id", dest="execution.task_id", type=read_label("task"),
        metavar="LABEL", help="tasks to use (default: all tasks with events)",
    )
    several(
        group, "--run-id", dest="execution.run_id", type=read_label("run"), metavar="LABEL",
        help="runs to use (default: all)",
    )
    several(
        group, "--participant-filter", dest="execution.participant_filter", metavar="RULE",
        help="use only participants whose row of participants.tsv satisfies every rule, as "
        "'age>=18' 'group=control'; rules are those of --trial-filter",
    )
    several(
        group, "--session-filter", dest="execution.session_filter", metavar="RULE",
        help="use only sessions whose row of sub-<label>_sessions.tsv satisfies every rule",
    )
    option(
        group, "--bids-filter-file", dest="execution.bids_filter_file", type=read_path,
        metavar="FILE", help="JSON file with PyBIDS filters for each kind of input",
    )
    several(
        group, "-d", "--derivatives", dest="execution.derivatives", type=read_dataset,
        metavar="[NAME=]PATH",
        help="datasets to take results from: fmriprep=PATH skips preprocessing, betas=PATH takes "
        "existing single-trial responses; without NAME the last folder of PATH is the name",
    )
    option(
        group, "--bids-database-dir", dest="execution.bids_database_dir", type=read_path,
        metavar="FOLDER", help="PyBIDS index to reuse, or to make if it is absent",
    )
    option(
        group, "--skip-bids-validation", dest="execution.skip_bids_validation",
        action="store_true", help="do not check the dataset against the BIDS rules",
    )


def add_trials(parser: argparse.ArgumentParser) -> None:
    """Add the options on trials, stimuli and the split."""
    group = parser.add_argument_group("Specific options for trials, stimuli and the split")
    option(
        group, "--target", dest="trials.target", choices=choices(TrialRules, "target"),
        help="what is decoded",
    )
    option(
        group, "--stimulus-column", dest="trials.stimulus_column", metavar="NAME",
        help="column of the events files that identifies the stimulus (default: the first of "
        "stim_id, stim_file, stimulus_name, file_path, ImgName, trial_type that is there)",
    )
    option(
        group, "--label-column", dest="trials.label_column", metavar="NAME",
        help="column with the category that is decoded (default: trial_type if it has two or more "
        "levels, else the stimulus)",
    )
    several(
        group, "--trial-filter", dest="trials.trial_filter", metavar="RULE",
        help="keep only rows that satisfy every rule: column=a|b, column!=a, or with numbers "
        "column>0.5, column<=2 and the like; n/a stands for a missing cell; put rules in quotes",
    )
    several(
        group, "--relabel", dest="trials.relabel", metavar="OLD=NEW",
        help="rename labels or stimuli: Face=face; 'shoe|boot=footwear' joins several, rest= "
        "leaves the rows out",
    )
    option(
        group, "--trial-unit", dest="trials.trial_unit",
        choices=choices(TrialRules, "trial_unit"),
        help="a trial is one event, or one block of consecutive events of one condition",
    )
    option(
        group, "--features", dest="trials.features", type=read_path, metavar="FILE",
        help="TSV, npz or safetensors with one vector per stimulus, to decode instead of images",
    )
    option(
        group, "--stimuli-dir", dest="trials.stimuli_dir", type=read_path, metavar="FOLDER",
        help="where the stimulus images are (default: stimuli/ of the dataset)",
    )
    option(
        group, "--image-encoder", dest="trials.image_encoder", metavar="NAME", type=_read_encoder,
        help="what turns images into vectors: gabor, clip, transformers, torchvision, timm, "
        "open_clip (all but gabor need --encoder-weights; clip:tokens and transformers:tokens give "
        "all tokens; the last three want an architecture, as timm:resnet50)",
    )
    option(
        group, "--encoder-weights", dest="trials.encoder_weights", type=read_path, metavar="PATH",
        help="folder or file with the weights of the image encoder, safetensors only; nothing is "
        "fetched at run time",
    )
    option(
        group, "--near-duplicates", dest="trials.near_duplicates",
        choices=choices(TrialRules, "near_duplicates"),
        help="what stimuli that are nearly the same lead to, as rescaled or re-encoded copies of a "
        "picture: they are reported, made one stimulus, or stop the program when one is trained "
        "on and the other one tested; equal ones are one stimulus always",
    )
    _add_split(group)


def _add_split(group: argparse._ArgumentGroup) -> None:
    several(
        group, "--test-runs", dest="trials.test_runs", type=read_label("run"), metavar="LABEL",
        help="runs held out for testing, with --test-sessions only those in them (default: decided "
        "from the dataset, see plan.json)",
    )
    several(
        group, "--test-sessions", dest="trials.test_sessions", type=read_label("ses"),
        metavar="LABEL", help="sessions held out for testing",
    )
    option(
        group, "--split-column", dest="trials.split_column", metavar="NAME",
        help="column of the events files that says train or test",
    )


def add_performance(parser: argparse.ArgumentParser) -> None:
    """Add the options on the machine."""
    group = parser.add_argument_group("Options to handle performance")
    option(
        group, "--nprocs", "--nthreads", "--n-cpus", dest="resources.nprocs",
        type=read_number(int, 1), metavar="N", default="what the process may use",
        help="threads over all processes",
    )
    option(
        group, "--omp-nthreads", dest="resources.omp_nthreads", type=read_number(int, 1),
        metavar="N", default="1", help="threads of one process",
    )
    option(
        group, "--mem", "--mem-mb", dest="resources.mem_gb", type=read_memory, metavar="SIZE",
        default="what the process may use",
        help="upper bound of memory, with unit K, M, G or T; a bare number is in MB",
    )
    option(
        group, "--low-mem", dest="resources.low_mem", action="store_true",
        help="need less memory, at the price of time and of space in the work folder",
    )
    option(
        group, "--device", dest="resources.device", type=read_device, metavar="auto|cpu|cuda[:N]",
        help="where networks are trained; cuda without a usable GPU is an error",
    )
    option(
        group, "--use-plugin", "--nipype-plugin-file", dest="resources.plugin_file", type=read_path,
        metavar="FILE", help="YAML file with Nipype plugin settings (SLURM, SGE, PBS, LSF, ...)",
    )


def add_subset(parser: argparse.ArgumentParser) -> None:
    """Add the options that run a part only."""
    stages = tuple(dict.fromkeys(analysis.stage for analysis in analyses()))
    group = parser.add_argument_group("Options for performing only a subset of the workflow")
    only = group.add_mutually_exclusive_group()
    option(
        only, "--dry-run", dest="actions.dry_run", action="store_true",
        help="check everything, print the plan, compute nothing",
    )
    option(
        only, "--reports-only", dest="actions.reports_only", action="store_true",
        help="write the reports again from existing results",
    )
    option(
        only, "--boilerplate-only", dest="actions.boilerplate_only", action="store_true",
        help="write the methods text and stop",
    )
    several(
        group, "--stage", dest="execution.stage", choices=stages, metavar="STAGE",
        help=f"run only these stages: {', '.join(stages)} (default: all that the level has)",
    )


def add_workflow(parser: argparse.ArgumentParser) -> None:
    """Add the options that configure the workflow."""
    group = parser.add_argument_group("Workflow configuration")
    several(
        group, "--output-spaces", dest="preprocessing.output_spaces", metavar="SPACE",
        help="spaces of preprocessed BOLD (default: func); responses are estimated and decoded in "
        "the first, those of derivatives in the first that all their runs have",
    )
    several(
        group, "--ignore", dest="preprocessing.ignore", choices=("slicetiming", "fieldmaps"),
        metavar="STEP", help="what to disregard: slicetiming leaves this correction out, fieldmaps "
        "silences the warning that they are not used",
    )
    option(
        group, "--dummy-scans", dest="preprocessing.dummy_scans", type=read_number(int, 0),
        metavar="N", help="non-steady-state volumes at the start of each run (default: detected)",
    )
    option(
        group, "--discarded-volumes", dest="preprocessing.discarded_volumes",
        type=read_number(int, 0), metavar="N", default="what the sidecars say",
        help="volumes that preprocessed runs lack at their start, compared with the raw runs; "
        "onsets are shifted by as much",
    )
    option(
        group, "--random-seed", dest="random_seed", type=read_number(int, 0), metavar="SEED",
        default=str(Settings().random_seed), help="seed of everything that is drawn at random",
    )


def add_other(parser: argparse.ArgumentParser) -> None:
    """Add the options that fit nowhere else."""
    group = parser.add_argument_group("Other options")
    option(
        group, "-w", "--work-dir", dest="execution.work_dir", type=read_path, metavar="FOLDER",
        help="folder for intermediate files",
    )
    option(
        group, "--clean-workdir", dest="execution.clean_workdir", action="store_true",
        help="empty the work folder first",
    )
    option(
        group, "--config-file", dest="config_file", type=read_path, metavar="FILE",
        help="settings of an earlier run (settings.toml below logs/); options given here win",
    )
    option(
        group, "--stop-on-first-crash", dest="execution.stop_on_first_crash",
        action="store_true", help="stop everything when one participant fails",
    )
    option(
        group, "--write-graph", dest="execution.write_graph", action="store_true",
        help="draw the workflow (needs Graphviz)",
    )
    option(
        group, "--demo", dest="actions.demo", type=read_path, metavar="OUT",
        default="", help="make a small dataset in OUT/data, run group and participant on it, write "
        "OUT/derivatives; takes no positional arguments",
    )
    option(
        group, "--notrack", dest="notrack", action="store_true",
        help="accepted so that fMRIPrep command lines run; nothing is ever tracked",
    )
    option(
        group, "-v", "--verbose", dest="actions.verbosity", action="count",
        help="say more; twice for debugging",
    )
    group.add_argument("--version", action="version", version=f"%(prog)s {__version__}")


def _read_level(text: str) -> str:
    if text not in LEVELS:
        raise UsageError(
            f"analysis level {text!r}", "is unknown", f"give {' or '.join(LEVELS)}, or both",
            ExitCode.UNKNOWN_LEVEL,
        )
    return text


def _read_encoder(text: str) -> str:
    from bids_decoder.errors import BidsDecoderError
    from bids_decoder.stimuli.encoders import parse_encoder

    try:
        parse_encoder(text)
    except BidsDecoderError as error:
        raise bad_value(f"{text!r} {error.finding.why}", error.finding.fix) from error
    return text
