"""Summary of a dataset: the numbers that decide the split and are in the report."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pandas as pd

from bids_decoder.bids.dataset import BoldRun, Dataset
from bids_decoder.bids.events import TrialBuild
from bids_decoder.bids.images import ImageHeader, read_header
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
        "has_fieldmaps": {person.label: person.fieldmaps for person in dataset.participants},
        "has_slice_timing": bool(dataset.runs) and all(
            "SliceTiming" in run.metadata for run in dataset.runs
        ),
        **_trial_summary(build),
    }


def _header(run: BoldRun) -> ImageHeader | None:
    try:
        return read_header(run.image_file)
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
    kept = {label: table[~table["excluded"]] for label, table in tables.items()}
    stimuli = {label: set(table["stimulus"].dropna()) for label, table in kept.items()}
    shared = set.intersection(*stimuli.values()) if stimuli else set()
    everything = set().union(*stimuli.values())
    return {
        "target": build.target_kind,
        "trial_unit": build.trial_unit,
        "stimulus_column": build.stimulus_column,
        "label_column": build.label_column,
        "n_trials": {label: len(table) for label, table in kept.items()},
        "n_excluded": {label: int(table["excluded"].sum()) for label, table in tables.items()},
        "n_stimuli": {label: len(ids) for label, ids in stimuli.items()},
        "n_stimuli_in_all": len(everything),
        "n_stimuli_shared": len(shared),
        "n_stimuli_with_image": len(everything & set(build.stimulus_files)),
        "repeats": {label: _repeats(table) for label, table in kept.items()},
        "repeats_of_shared": {
            label: _repeats(table[table["stimulus"].isin(shared)]) for label, table in kept.items()
        },
        "labels": _label_counts(kept),
        "median_soa": _median_soa(tables),
    }


def _repeats(table: pd.DataFrame) -> dict[str, int]:
    """Count the stimuli by how often they were shown."""
    counts = Counter(int(count) for count in table["stimulus"].value_counts())
    return {str(times): counts[times] for times in sorted(counts)}


def _label_counts(kept: dict[str, pd.DataFrame]) -> dict[str, Any]:
    """Count the levels, and the fewest and most trials per run of each level."""
    tables = [table.assign(person=label) for label, table in kept.items()]
    if not tables:
        return {"n_levels": 0, "per_run": {}}
    trials = pd.concat(tables, ignore_index=True)
    table = pd.crosstab([trials["person"], trials["run_group"]], trials["label"])
    per_run = {} if table.shape[1] > 100 else {
        str(name): [int(table[name].min()), int(table[name].max())] for name in table.columns
    }
    return {"n_levels": int(table.shape[1]), "per_run": per_run}


def _median_soa(tables: dict[str, pd.DataFrame]) -> float | None:
    steps = [
        group["onset"].diff().dropna().to_numpy()
        for table in tables.values() for _, group in table.groupby("run_group", sort=False)
    ]
    values = np.concatenate([np.zeros(0), *steps])
    return round(float(np.median(values)), 4) if values.size else None
