"""Tables that benchmarks print."""

from __future__ import annotations

from collections.abc import Sequence


def table(rows: Sequence[tuple]) -> None:
    """Print rows as a Markdown table; the first row is the head."""
    for number, row in enumerate(rows):
        print("| " + " | ".join(map(str, row)) + " |", flush=True)
        if number == 0:
            print("|" + " --- |" * len(row))
