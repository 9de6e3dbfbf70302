"""Options of confounds: which ones are decoded from, and whether they are removed."""

from __future__ import annotations

from argparse import ArgumentParser

from bids_decoder.config import TrialRules
from bids_decoder.options import choices, option, several


def add_options(parser: ArgumentParser) -> None:
    """Add the options of this analysis."""
    group = parser.add_argument_group("Specific options for confounds")
    several(
        group, "--control", dest="trials.controls", metavar="COLUMN",
        default="position in the run, mean signal, head motion and reaction time, where there are "
        "such values",
        help="columns of the events files (or trial tables) from which alone the target is "
        "decoded, on the split of the decoder ([statistics.md](statistics.md#confounds)). "
        "`trial_order`, `mean_signal` and `framewise_displacement` are computed. With "
        "`--subject-label`, columns of `participants.tsv`, for instance `age`. A column must "
        "have a value in every trial (for every participant), and vary",
    )
    option(
        group, "--confound-removal", dest="trials.confound_removal",
        choices=choices(TrialRules, "confound_removal"),
        help="`regress`: the columns of `--control` are regressed out of the responses, with "
        "weights of the training trials of each fold; decoder, baselines, permutations and all "
        "other analyses use what is left. `counterbalance`: trials are left out until all labels "
        "have as many trials with about the same values of these columns "
        "([statistics.md](statistics.md#confounds))",
    )
