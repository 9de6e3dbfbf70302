"""Decisions and findings that are collected while a dataset is read."""

from __future__ import annotations

from dataclasses import dataclass, field

from bids_decoder.errors import Finding
from bids_decoder.trials import Decision


@dataclass
class DatasetNotes:
    """Decisions and findings, collected while a dataset is read."""

    decisions: list[Decision] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)

    def decide(self, what: str, value: str, reason: str) -> None:
        """Add a decision."""
        self.decisions.append(Decision(what, value, reason))

    def warn(self, what: str, why: str, fix: str, participant: str | None = None) -> None:
        """Add a warning, which does not stop the program."""
        self.findings.append(
            Finding(what, why, fix, severity="warning", participant=participant)
        )
