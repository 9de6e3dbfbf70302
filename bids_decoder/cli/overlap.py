"""Part of the plan that finds data shared by training and test."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd

from bids_decoder.analyses.jobs import Notes
from bids_decoder.analyses.study import Roles
from bids_decoder.bids.copies import Copies, Volume, find_copies
from bids_decoder.bids.dataset import Dataset
from bids_decoder.bids.events import TrialBuild, rename_stimuli
from bids_decoder.config import Settings
from bids_decoder.errors import BidsDecoderError, Finding, name_some
from bids_decoder.evaluation.overlap import (
    ImageOverlap,
    NearDuplicate,
    Overlap,
    StimulusOverlap,
    are_apart,
    count_seen,
    stimulus_sides,
    trial_sides,
)
from bids_decoder.stimuli.duplicates import (
    NearPair,
    chain,
    equal_pictures,
    equal_vectors,
    near_pictures,
    near_vectors,
)
from bids_decoder.stimuli.signatures import PictureSignatures
from bids_decoder.stimuli.words import StimulusVectors
from bids_decoder.trials import Decision

PICTURES_FILE = Path("logs", "pictures.npz")
"""Folder of the signatures of images, below the output folder."""

Tables = dict[str, pd.DataFrame]


@dataclass
class Twins:
    """Stimuli that occur under several names.

    Parameters
    ----------
    n_pictures, n_vectors : int
        How many were compared.
    equal : list of tuple of str
        Groups of names of one stimulus.
    near : list of NearPair
        Pairs that are nearly the same, of the first names of these groups.
    names : dict of str to str
        Name -> name that is kept, for the members of all groups that are merged.
    """

    n_pictures: int = 0
    n_vectors: int = 0
    equal: list[tuple[str, ...]] = field(default_factory=list)
    near: list[NearPair] = field(default_factory=list)
    names: dict[str, str] = field(default_factory=dict)

    @property
    def merged(self) -> dict[str, tuple[str, ...]]:
        """Map each name that is kept to the names that it replaces."""
        found: dict[str, list[str]] = defaultdict(list)
        for name, kept in self.names.items():
            if name != kept:
                found[kept].append(name)
        return {kept: tuple(others) for kept, others in sorted(found.items())}

    @property
    def left(self) -> list[NearPair]:
        """List the pairs that are nearly the same and not merged."""
        pairs = ((self.names.get(p.first, p.first), self.names.get(p.second, p.second), p.cosine)
                 for p in self.near)
        return [NearPair(*pair) for pair in pairs if pair[0] != pair[1]]


def unite_stimuli(
    build: TrialBuild, settings: Settings, pictures: PictureSignatures,
    features: StimulusVectors | None,
) -> tuple[TrialBuild, Twins]:
    """Make stimuli with equal pictures or feature vectors one, before the split is chosen.

    Parameters
    ----------
    build : TrialBuild
    settings : Settings
        With ``--near-duplicates merge`` pictures that are nearly the same become one, too.
    pictures : PictureSignatures
    features : StimulusVectors or None
        Those of ``--features``.

    Returns
    -------
    build : TrialBuild
        Trials bear the first name of each group.
    twins : Twins
    """
    used: set[str] = set()
    for table in build.tables.values():
        rows = ~table["excluded"].to_numpy(dtype=bool)
        used |= set(table["stimulus"].to_numpy()[rows].tolist()) - {None}
    twins = Twins()
    _compare_pictures(twins, {n: build.stimulus_files[n] for n in sorted(used)
                              if n in build.stimulus_files}, pictures)
    if build.target_kind == "features" and features is not None:
        _compare_vectors(twins, features, used)
    near = [(pair.first, pair.second) for pair in twins.near]
    policy = settings.trials.near_duplicates
    twins.names = chain([*twins.equal, *(near if policy == "merge" else [])])
    return rename_stimuli(build, twins.names, _decisions(twins)), twins


def _compare_pictures(
    twins: Twins, paths: Mapping[str, Path], pictures: PictureSignatures
) -> None:
    signatures = pictures.of(paths)
    groups = equal_pictures(signatures)
    others = {name for group in groups for name in group[1:]}
    distinct = {name: found for name, found in signatures.items() if name not in others}
    twins.n_pictures = len(signatures)
    twins.equal += groups
    twins.near += near_pictures(distinct, paths)


def _compare_vectors(twins: Twins, features: StimulusVectors, used: set[str]) -> None:
    try:
        table = features.of(sorted(used))
    except BidsDecoderError:
        return  # Reported by the check of the targets.
    ids, vectors = table.ids, table.vectors
    rows = [row for row, name in enumerate(ids) if name in used]
    groups = equal_vectors([ids[row] for row in rows], vectors[rows])
    others = {name for group in groups for name in group[1:]}
    rows = [row for row in rows if ids[row] not in others]
    twins.n_vectors = len(rows) + len(others)
    twins.equal += groups
    known = {(pair.first, pair.second) for pair in twins.near}
    found = near_vectors([ids[row] for row in rows], np.asarray(vectors[rows]))
    twins.near += [pair for pair in found if (pair.first, pair.second) not in known]


def _decisions(twins: Twins) -> list[Decision]:
    merged = twins.merged
    if not merged:
        return []
    count = sum(map(len, merged.values()))
    groups = [" = ".join([kept, *others[:3], *(["…"] if len(others) > 3 else [])])
              for kept, others in merged.items()]
    return [Decision(
        "stimuli under several names", f"{count + len(merged)} names of {len(merged)} stimuli",
        f"their pictures or feature vectors are the same, so each is treated as one stimulus: "
        f"{name_some(groups)}; all are under 'overlap' in plan.json",
    )]


def audit_overlap(
    dataset: Dataset, roles: Roles, tables: Tables, twins: Twins, settings: Settings, notes: Notes,
    *, common_folds: bool,
) -> Overlap:
    """Count what training and test share under a split.

    Parameters
    ----------
    dataset : Dataset
    roles : Roles
    tables : dict of str to DataFrame
        Trial tables with the split.
    twins : Twins
    settings : Settings
    notes : Notes
        Gets the numbers in one line. Identical runs and, for beta series, identical volumes
        across the split are errors.
    common_folds : bool
        Whether folds hold the same stimuli of all participants.

    Returns
    -------
    Overlap
    """
    labels = roles.labels
    involved = [person for person in dataset.participants if person.label in labels]
    copies = find_copies(dataset, involved, settings.resources.nprocs)
    across = _across(copies, tables) if dataset.source == "betas" else []
    sides = stimulus_sides(tables, common_folds=common_folds)
    near = tuple(
        NearDuplicate(p.first, p.second, p.cosine,
                      are_apart(sides.get(p.first, ()), sides.get(p.second, ())))
        for p in twins.left
    )
    overlap = Overlap(
        ImageOverlap(
            copies.n_runs, copies.n_volumes, copies.n_skipped, copies.whole,
            tuple(tuple(map(_run_name, group)) for group in copies.runs),
            tuple(tuple(map(str, group)) for group in copies.volumes),
            tuple(tuple(map(str, group)) for group in across),
        ),
        StimulusOverlap(
            twins.n_pictures, twins.n_vectors, twins.merged, near,
            settings.trials.near_duplicates, *count_seen(sides),
        ),
    )
    notes.findings += _run_findings(copies, labels)
    notes.findings += _volume_findings(copies, across, labels)
    notes.findings += _near_findings(overlap.stimuli)
    how = "all volumes" if copies.whole else "the first volumes of each run"
    notes.decisions.append(Decision(
        "overlap of training and test", str(overlap),
        f"compared: {how} of {copies.n_runs} runs, {twins.n_pictures} pictures, "
        f"{twins.n_vectors} feature vectors",
    ))
    return overlap


def _run_name(run: tuple[str, str]) -> str:
    return f"sub-{run[0]} {run[1]}"


def _across(copies: Copies, tables: Tables) -> list[tuple[Volume, ...]]:
    """Find the groups of volumes of beta series that are on both sides of the split."""
    if not copies.volumes:
        return []
    sides = trial_sides(tables)
    keys = ([(v.participant, v.run_group, v.number) for v in group] for group in copies.volumes)
    found = [{sides[key] for key in group if key in sides} for group in keys]
    return [group for group, on in zip(copies.volumes, found, strict=True) if len(on) > 1]


def _run_findings(copies: Copies, labels: set[str]) -> list[Finding]:
    findings = []
    mine = [group for group in copies.runs if labels & {run[0] for run in group}]
    others = [group for group in copies.runs if group not in mine]
    for groups, severity in ((mine, "error"), (others, "warning")):
        if groups:
            texts = [" = ".join(map(_run_name, group)) for group in groups]
            findings.append(Finding(
                "identical runs",
                f"{len(groups)} group(s) of runs hold the same images, whatever their headers and "
                f"file types: {name_some(texts)}; models would be tested on training data",
                "replace the copies by the right images, or leave them out with "
                "--bids-filter-file or --run-id", severity=severity,
            ))
    return findings


def _volume_findings(
    copies: Copies, across: list[tuple[Volume, ...]], labels: set[str]
) -> list[Finding]:
    findings = []
    rest = [group for group in copies.volumes if group not in across]
    for groups, stops, why in (
        (across, True, "the same response is a training trial and a test trial"),
        (rest, False, "they are used as they are; a recording was probably cut or copied"),
    ):
        if groups:
            texts = [" = ".join(map(str, group)) for group in groups]
            mine = any(volume.participant in labels for group in groups for volume in group)
            findings.append(Finding(
                "identical volumes of different runs" + (" across the split" if stops else ""),
                f"{len(groups)} group(s): {name_some(texts)}; {why}",
                "correct the images, or exclude these trials",
                severity="error" if stops and mine else "warning",
            ))
    return findings


def _near_findings(stimuli: StimulusOverlap) -> list[Finding]:
    pairs = [f"{p.first} ~ {p.second} ({p.cosine})" for p in stimuli.near_duplicates if p.across]
    if not pairs:
        return []
    return [Finding(
        "stimuli nearly the same in training and test",
        f"{len(pairs)} pair(s), with the cosine of their vectors: {name_some(pairs)}",
        "make them one stimulus with --near-duplicates merge, or accept it with "
        "--near-duplicates report; all pairs are under 'overlap' in plan.json",
        severity="error" if stimuli.policy == "stop" else "warning",
    )]
