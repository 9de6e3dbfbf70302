"""Options of cross-decoding."""

from __future__ import annotations

from argparse import ArgumentParser
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bids_decoder.config import Section, Settings
from bids_decoder.errors import BidsDecoderError, Finding
from bids_decoder.options import option, several

if TYPE_CHECKING:
    from bids_decoder.analyses.jobs import Notes
    from bids_decoder.bids.rules import Rule


@dataclass(frozen=True)
class Cross(Section, table="cross"):
    """Kinds of trials between which decoders are carried over."""

    train_filter: tuple[str, ...] = ()
    test_filter: tuple[str, ...] = ()
    both_directions: bool = False
    generalise_over: str | None = None

    @property
    def has_filters(self) -> bool:
        """Whether one of the two sides is described by rules."""
        return bool(self.train_filter or self.test_filter)


SECTION = Cross


def is_wanted(settings: Settings) -> bool:
    """Return whether kinds are given, or missing when only this stage is requested."""
    cross = settings.section(Cross)
    given = cross.has_filters or cross.both_directions or cross.generalise_over is not None
    return given or "cross" in settings.execution.stage


def resolve(settings: Settings, notes: Notes) -> Settings:
    """Let trial tables keep the columns that the rules name."""
    cross = settings.section(Cross)
    (train, test), findings = read_filters(cross)
    notes.findings += findings
    names = [rule.column for rule in (*train, *test)]
    if cross.generalise_over is not None:
        names.append(cross.generalise_over)
    kept = dict.fromkeys([*settings.trials.kept_columns, *names])
    return settings.replaced(trials={"kept_columns": tuple(kept)})


def read_filters(
    cross: Cross,
) -> tuple[tuple[tuple[Rule, ...], tuple[Rule, ...]], list[Finding]]:
    """Return the rules of both sides, and a finding for each side with text that is no rule."""
    # The command line imports this module, which must stay fast.
    from bids_decoder.bids.rules import parse_rules

    sides: list[tuple[Rule, ...]] = []
    findings = []
    for texts, name in ((cross.train_filter, "--train-filter"), (cross.test_filter,
                                                                 "--test-filter")):
        try:
            sides.append(parse_rules(texts, name))
        except BidsDecoderError as error:
            findings.append(error.finding)
            sides.append(())
    return (sides[0], sides[1]), findings


def add_options(parser: ArgumentParser) -> None:
    """Add the options of this analysis."""
    group = parser.add_argument_group("Specific options for cross-decoding")
    several(
        group, "--train-filter", dest="cross.train_filter", section=Cross, metavar="RULE",
        help="also train decoders on the trials that satisfy every one of these [rules](#rules), "
        "and test them on those of `--test-filter`. Rules name `task`, `session`, `run`, `label`, "
        "`stimulus`, or any column of the events files, whose values are those before "
        "`--relabel`. Runs with trials of both kinds are tested by decoders fitted without them; "
        "where images or features are decoded, tested stimuli are held out of training instead",
    )
    several(
        group, "--test-filter", dest="cross.test_filter", section=Cross, metavar="RULE",
        help="the trials that these decoders are tested on. Both sides need the same labels, and "
        "may have no trial in common; of images or features, ten that are not tested are needed "
        "for training",
    )
    option(
        group, "--both-directions", dest="cross.both_directions", section=Cross,
        action="store_true",
        help="also train on the trials of `--test-filter` and test on those of `--train-filter`",
    )
    option(
        group, "--generalise-over", dest="cross.generalise_over", section=Cross, metavar="NAME",
        help="train on the trials with each value of `task`, `session` or another column that "
        "rules may name, and test on those with each other value; on the diagonal of this matrix "
        "is cross-validation over runs within each value. Of images or features, all cells test "
        "the same stimuli: those of the test set that occur at all values, and none is in training",
    )
