"""Summary of a dataset: the numbers that decide the split and are in the report."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas as pd

from bids_decoder.bids.dataset import BoldRun, Dataset
from bids_decoder.bids.events import TrialBuild
from bids_decoder.bids.images import ImageHeader
from bids_decoder.bids.layouts import natural_key
from bids_decoder.errors import BidsDecoderError


def fingerprint(dataset: Dataset, build: TrialBuild) -> dict[str, Any]:
    """Summarise a dataset.

    Parameters
    ----------
    dataset : Dataset
    build : TrialBuild

    Returns
    -------
    dict
        JSON-able. Numbers per participant are under their labels; times in seconds, sizes in
        millimetres; images whose content is missing are counted in ``unreadable_images``.
    """
    headers = [(run, _header(run)) for run in dataset.runs]
    readable = [(run, header) for run, header in headers if header is not None]
    return {
        "name": dataset.name,
        "source": dataset.source,
        "participants": [person.label for person in dataset.participants],
        "sessions": _labels(run.session for run in dataset.runs),
        "tasks": _labels(run.task for run in dataset.runs),
        "runs": {person.label: len(person.runs) for person in dataset.participants},
        "t_r": _times(readable),
        "volumes": _sorted_unique(header.n_volumes for _, header in readable),
        "voxel_sizes": _sorted_unique(header.voxel_sizes for _, header in readable),
        "grid_shapes": _sorted_unique(header.shape[:3] for _, header in readable),
        "unreadable_images": len(headers) - len(readable),
        "has_t1w": {
            person.label: bool(person.t1w_files or person.preproc_t1w)
            for person in dataset.participants
        },
        "has_fieldmaps": {person.label: bool(person.fieldmaps) for person in dataset.participants},
        "has_slice_timing": bool(dataset.runs) and all(
            "SliceTiming" in run.metadata for run in dataset.runs
        ),
        **_trial_summary(build),
    }


def _header(run: BoldRun) -> ImageHeader | None:
    try:
        return run.header
    except BidsDecoderError:
        return None


def _times(readable: list[tuple[BoldRun, ImageHeader]]) -> list[float]:
    times = (run.t_r(header) for run, header in readable if run.source != "betas")
    return _sorted_unique(round(time, 6) for time in times if time is not None)


def _labels(values: Any) -> list[str]:
    return sorted({value for value in values if value is not None}, key=natural_key)


def _sorted_unique(values: Any) -> list[Any]:
    return [list(v) if isinstance(v, tuple) else v for v in sorted(set(values))]


def _trial_summary(build: TrialBuild) -> dict[str, Any]:
    tables = build.tables
    used = {label: ~table["excluded"].to_numpy(dtype=bool) for label, table in tables.items()}
    shown = {
        label: Counter(_known(table["stimulus"], used[label])) for label, table in tables.items()
    }
    shared = set.intersection(*map(set, shown.values())) if shown else set()
    everything = set().union(*shown.values())
    return {
        "target": build.target_kind,
        "trial_unit": build.trial_unit,
        "stimulus_column": build.stimulus_column,
        "label_column": build.label_column,
        "n_trials": {label: int(rows.sum()) for label, rows in used.items()},
        "n_excluded": {label: int((~rows).sum()) for label, rows in used.items()},
        "n_stimuli": {label: len(counts) for label, counts in shown.items()},
        "n_stimuli_in_all": len(everything),
        "n_stimuli_shared": len(shared),
        "n_stimuli_with_image": len(everything & set(build.stimulus_files)),
        "repeats": {label: _repeats(counts.values()) for label, counts in shown.items()},
        "repeats_of_shared": {
            label: _repeats(count for name, count in counts.items() if name in shared)
            for label, counts in shown.items()
        },
        "labels": _label_counts(tables, used),
        "median_soa": _median_soa(tables),
    }


def _known(column: pd.Series, rows: np.ndarray) -> list[str]:
    """Return the names in some rows of a column, without missing ones."""
    return [name for name in column.to_numpy()[rows].tolist() if isinstance(name, str)]


def _repeats(times_shown: Iterable[int]) -> dict[str, int]:
    """Count the stimuli by how often they were shown."""
    counts = Counter(times_shown)
    return {str(times): counts[times] for times in sorted(counts)}


def _label_counts(
    tables: dict[str, pd.DataFrame], used: dict[str, np.ndarray]
) -> dict[str, Any]:
    """Count the levels, and the fewest and most trials per run of each level."""
    per_label: dict[str, Counter[tuple[str, str]]] = defaultdict(Counter)
    for person, table in tables.items():
        names, groups = (table[name].to_numpy()[used[person]] for name in ("label", "run_group"))
        for name, group in zip(names.tolist(), groups.tolist(), strict=True):
            if isinstance(name, str):
                per_label[name][person, group] += 1
    n_runs = len(set().union(*per_label.values()))
    per_run = {} if len(per_label) > 100 else {
        name: [min(counts.values()) if len(counts) == n_runs else 0, max(counts.values())]
        for name, counts in sorted(per_label.items())
    }
    return {"n_levels": len(per_label), "per_run": per_run}


def _median_soa(tables: dict[str, pd.DataFrame]) -> float | None:
    values = np.concatenate([np.zeros(0), *map(_steps, tables.values())])
    return round(float(np.median(values)), 4) if values.size else None


def _steps(table: pd.DataFrame) -> np.ndarray:
    """Return the seconds from each onset to the next one of its run."""
    run_of = pd.factorize(table["run_group"].to_numpy())[0]
    order = np.argsort(run_of, kind="stable")
    steps = np.diff(table["onset"].to_numpy(dtype=float)[order])
    return steps[(np.diff(run_of[order]) == 0) & ~np.isnan(steps)]
