"""All analyses: one folder each, and one line each in the list here."""

from __future__ import annotations

from functools import cache
from importlib import import_module

from bids_decoder.analyses.base import Analysis, in_order
from bids_decoder.config import Section

NAMES = (
    "prepare",
    "pretrain",
    "decode",
    "controls",
    "gallery",
    "reconstruct",
    "explain",
    "encode",
    "searchlight",
    "regions",
    "cross",
    "learning",
    "timecourse",
    "align",
    "rsa",
    "apply",
    "population",
    "subjects",
)
"""Folders below ``bids_decoder/analyses``, in the order of help texts and reports."""


@cache
def analyses() -> tuple[Analysis, ...]:
    """Return all analyses, each after those whose results it needs."""
    found = [import_module(f"bids_decoder.analyses.{name}").ANALYSIS for name in NAMES]
    return tuple(in_order(found))


def find_analysis(name: str) -> Analysis:
    """Return the analysis called *name*."""
    return next(analysis for analysis in analyses() if analysis.name == name)


def section_kinds() -> tuple[type[Section], ...]:
    """Return the classes of all settings that belong to one analysis."""
    return tuple(a.section for a in analyses() if a.section is not None)


def stages_of_level(level: str) -> tuple[str, ...]:
    """Return the values of ``--stage`` that a level has, in order."""
    return tuple(dict.fromkeys(a.stage for a in analyses() if level in a.levels))


def all_descriptions() -> dict[str, str]:
    """Return the labels of the ``desc`` entity in outputs of analyses, and what they mean."""
    return {
        label: text for analysis in analyses() for label, text in analysis.descriptions.items()
    }
