"""The space of a dataset in which responses are decoded."""

from __future__ import annotations

from collections import defaultdict

from bids_decoder.bids.dataset import BoldRun
from bids_decoder.bids.images import ImageHeader, grids_agree, read_header
from bids_decoder.bids.notes import DatasetNotes
from bids_decoder.bids.run_names import identity
from bids_decoder.bids.series import is_volume
from bids_decoder.errors import BidsDecoderError, Finding
from bids_decoder.trials import Decision

_SURFACES = ("fsaverage5", "fsaverage6", "fsaverage", "fsnative")
"""Surfaces by preference, where there are only surfaces: coarse ones hold as much of BOLD."""


def one_space(
    runs: list[BoldRun], output_spaces: tuple[str, ...], notes: DatasetNotes
) -> list[BoldRun]:
    """Keep the runs in one space per dataset, in which participants are decoded."""
    spaces: dict[str, list[BoldRun]] = defaultdict(list)
    for run in runs:
        spaces[_space_of(run)].append(run)
    if not spaces:
        return []
    best, reason = _choose_space(spaces, output_spaces)
    missing = {identity(run) for run in runs} - {identity(run) for run in spaces[best]}
    if missing:
        notes.findings.append(Finding(
            f"{len(missing)} run(s) without an image in space {best}",
            f"for instance {sorted(missing)[0]}; they are left out",
            "run the preprocessing again with this output space", severity="warning",
        ))
    if len(spaces) > 1 or best != "func":
        notes.decisions.append(Decision("decoding space", best, reason))
    return spaces[best]


def _choose_space(
    spaces: dict[str, list[BoldRun]], output_spaces: tuple[str, ...]
) -> tuple[str, str]:
    there = f"found: {', '.join(sorted(spaces))}"
    for wanted in output_spaces:
        name = next((s for s in spaces if _is_space(s, wanted)), None)
        if name is not None and (name != "func" or _native_grids_agree(spaces["func"])):
            return name, f"first of --output-spaces that exists, one grid per participant; {there}"
    own = next((space for space in ("T1w", "T2w", "anat") if space in spaces), None)
    if own is not None:
        return own, f"one grid per participant; {there}"
    if "func" in spaces and _native_grids_agree(spaces["func"]):
        return "func", f"all runs of a participant share one grid; {there}"
    standard = [space for space in spaces if space != "func" and _in_volume(spaces[space])]
    if standard:
        return standard[0], f"native runs have different grids; first standard space; {there}"
    if "func" not in spaces:
        best = next((s for s in _SURFACES if s in spaces), next(iter(spaces)))
        return best, f"there are no volumes; surfaces or grayordinates; {there}"
    return "func", "no other space exists although runs of a participant have different grids"


def _in_volume(runs: list[BoldRun]) -> bool:
    return is_volume(runs[0].image_file)


def _space_of(run: BoldRun) -> str:
    given = run.entities
    parts = [f"{key}-{given[key]}" for key in ("cohort", "res", "den") if key in given]
    return ":".join([given.get("space", "func"), *parts])


def _is_space(found: str, wanted: str) -> bool:
    aliases = {"anat": "T1w", "bold": "func", "run": "func", "boldref": "func"}
    wanted = aliases.get(wanted, wanted)
    (name, *details), (wanted_name, *wanted_details) = found.split(":"), wanted.split(":")
    return name == wanted_name and set(wanted_details) <= set(details)


def _native_grids_agree(runs: list[BoldRun]) -> bool:
    by_person: dict[str, list[ImageHeader]] = defaultdict(list)
    try:
        for run in runs:
            by_person[run.subject].append(read_header(run.image_file))
    except BidsDecoderError:
        # The unreadable file is reported by the preflight check, with its path.
        return True
    return all(grids_agree(headers) for headers in by_person.values())
