"""Options of statistics over participants."""

from __future__ import annotations

from argparse import ArgumentParser
from dataclasses import dataclass

from bids_decoder.config import Section
from bids_decoder.options import option


@dataclass(frozen=True)
class Population(Section, table="population"):
    """Columns of ``participants.tsv`` that scores are related to."""

    group_by: str | None = None
    covariate: str | None = None
    exchange_within: str | None = None


SECTION = Population


def add_options(parser: ArgumentParser) -> None:
    """Add the options of this analysis."""
    group = parser.add_argument_group("Specific options for statistics over participants")
    option(
        group, "--group-by", dest="population.group_by", section=Population, metavar="COLUMN",
        help="column of participants.tsv with the group of each participant (two or more groups); "
        "scores are compared between groups by permutation",
    )
    option(
        group, "--covariate", dest="population.covariate", section=Population, metavar="COLUMN",
        help="column of participants.tsv with a number, such as the age; its slope is tested by "
        "permutation",
    )
    option(
        group, "--exchange-within", dest="population.exchange_within", section=Population,
        metavar="COLUMN",
        help="column of participants.tsv with sites or families; these tests exchange "
        "participants only within one",
    )
