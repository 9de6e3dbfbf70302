"""Sections on the data: inputs, preprocessing, single-trial responses, split."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pandas as pd

from bids_decoder.agreement import same_grid
from bids_decoder.analyses.prepare.figures import (
    draw_motion,
    draw_quality,
    draw_timeline,
    trial_use,
)
from bids_decoder.analyses.prepare.report_distortion import distortion_blocks
from bids_decoder.analyses.prepare.report_echoes import echo_blocks
from bids_decoder.analyses.prepare.report_overlap import overlap_section
from bids_decoder.errors import Finding, summarise
from bids_decoder.reports.blocks import Block, Figure, Section, Table, Text, absent, table_of
from bids_decoder.reports.figures import picture
from bids_decoder.reports.figures_maps import (
    contrast_maps,
    contrast_pictures,
    normalisation_pictures,
    registration_picture,
)
from bids_decoder.reports.geometry import load
from bids_decoder.reports.results import Results, numeric, run_name, sidecar_of

_QUALITY = {
    "rsquare": "R² of the GLM",
    "reliability": "Split-half reliability (r)",
    "noiseceiling": "Noise ceiling (% variance)",
}


_CENSORED = {
    "Volumes": "volumes", "BeforeSteadyState": "before the steady state",
    "Motion": "motion (scrubbing)", "Trials": "trials with a censored volume",
}


def sections(results: Results) -> list[Section]:
    """Return the sections on inputs, preprocessing, responses, split and overlap."""
    return [
        inputs_section(results), preprocessing_section(results), responses_section(results),
        split_section(results), overlap_section(results),
    ]


def inputs_section(results: Results) -> Section:
    """Return the section on runs, trials and repeats, with exclusions and their reasons."""
    tables = results.tables("trials")
    if not tables:
        why = "no trial table was written; the participant was not prepared in this output folder."
        return Section("inputs", "Inputs and exclusions", [absent("The list of trials", why)])
    rows = [_run_row(name, table) for name, table in tables.items()]
    header = ["run", "trials", "used", "excluded", "stimuli", "repeated trials", "rows of events"]
    blocks: list[Block] = [
        Table(header, rows, "Trials per run", frozenset(header[1:])),
        *_exclusions(tables),
        *_warnings(results),
    ]
    pic = picture(
        draw_timeline(tables), "timeline",
        f"Times of trials and their use.{_cross_validation(results, tables)}",
        f"Timeline of {len(tables)} runs with trials coloured by use.",
    )
    return Section("inputs", "Inputs and exclusions", [*blocks, Figure(pic)])


def _run_row(name: str, table: pd.DataFrame) -> list[str]:
    use = trial_use(table)
    counted = numeric(table, "repeat", "n_events")
    return [
        name,
        str(len(table)),
        str(int((use != "excluded").sum())),
        str(int((use == "excluded").sum())),
        str(table["stimulus"].nunique()),
        str(int((counted["repeat"] > 0).sum())),
        f"{counted['n_events'].sum():.0f}" if counted["n_events"].notna().any() else "n/a",
    ]


def _cross_validation(results: Results, tables: dict[str, pd.DataFrame]) -> str:
    if not any((table["split"] == "cv").any() for table in tables.values()):
        return ""
    kind = results.plan.get("split", {}).get("kind")
    things = "stimulus" if kind == "stimulus-folds" else "run"
    return f" In cross-validation (cv) each {things} is test once."


def _exclusions(tables: dict[str, pd.DataFrame]) -> list[Block]:
    reasons: Counter[str] = Counter()
    for table in tables.values():
        left_out = table[trial_use(table) == "excluded"]
        reasons.update(str(r) for r in left_out.get("reason", pd.Series(dtype=object)))
    if not reasons:
        return [Text("No trial was excluded.")]
    rows = [[reason, str(count)] for reason, count in sorted(reasons.items())]
    return [Table(["reason", "trials"], rows, "Excluded trials by reason", frozenset({"trials"}))]


def _warnings(results: Results) -> list[Block]:
    found = [
        Finding(**w, severity="warning")
        for w in results.plan.get("warnings", [])
        if w.get("participant") in (None, results.participant)
    ]
    rows = [[w.what, w.why, w.fix] for w in summarise(found, "plan.json")]
    return (
        [Table(["what", "why", "remedy"], rows, "Warnings from checking the data")] if rows else []
    )


def preprocessing_section(results: Results) -> Section:
    """Return the section on motion, echoes, distortion, alignment, and normalisation."""
    blocks = [*_motion(results), *echo_blocks(results), *distortion_blocks(results)]
    blocks += _alignment(results)
    blocks += [Figure(drawn) for drawn in normalisation_pictures(results)]
    return Section("preprocessing", "Preprocessing and motion", blocks)


def _motion(results: Results) -> list[Block]:
    tables = results.tables("confounds")
    if not tables:
        return [absent("Head motion", _why_unprepared(results, "there are no confounds on disk"))]
    limit = displacement_limit(results)
    rows = []
    for name, table in tables.items():
        fd = displacement(table)
        moved = int((fd > limit).sum())
        if fd.notna().any():
            rows.append(
                [
                    name,
                    str(len(fd)),
                    f"{fd.mean():.2f}",
                    f"{fd.max():.2f}",
                    f"{moved} ({100 * moved / len(fd):.0f} %)",
                ]
            )
    header = ["run", "volumes", "mean FD (mm)", "largest FD (mm)", f"volumes above {limit:g} mm"]
    pic = picture(
        draw_motion(tables, limit), "motion",
        f"Head motion, runs end to end. Dashed: framewise displacement of {limit:g} mm.",
        f"Curves of head motion over {len(tables)} runs.",
    )
    return [
        Table(header, rows, "Framewise displacement (FD) per run", frozenset(header[1:])),
        Figure(pic),
    ]


def displacement_limit(results: Results) -> float:
    """Return the framewise displacement in mm above which a volume counts as moved."""
    return float(results.setting("preprocessing", "fd_threshold", 0.5))


def _why_unprepared(results: Results, absence: str) -> str:
    """Return why something of preprocessing is not on disk, by where the responses are from."""
    source = results.plan.get("source")
    if source == "fmriprep":
        return "images were preprocessed by fMRIPrep, whose own reports show it."
    if source == "betas":
        return "ready-made beta series were used."
    return f"{absence}: preparing did not finish."


def displacement(confounds: pd.DataFrame) -> pd.Series:
    """Return the framewise displacement in mm of each volume of a run."""
    return numeric(confounds, "framewise_displacement")["framewise_displacement"]


def _alignment(results: Results) -> list[Block]:
    drawn = registration_picture(results)
    if drawn is not None:
        return [Figure(drawn)]
    if not results.files("boldref"):
        why = _why_unprepared(results, "there is no BOLD reference on disk")
    elif not results.files("preproc_T1w"):
        why = "there is no T1w image; everything stays in the space of the BOLD runs."
    elif not results.files("bold_xfm"):
        why = "there is no BOLD to T1w transform on disk."
    else:
        why = "the BOLD grid has no geometry."
    return [absent("Alignment of BOLD and T1w", why)]


def responses_section(results: Results) -> Section:
    """Return the section on the quality of single-trial responses, with contrast maps."""
    blocks: list[Block] = []
    values = _quality_values(results)
    if values:
        pic = picture(
            draw_quality(values),
            "quality",
            "Voxels by how well their responses can be explained and repeated. Reliability and "
            "noise ceiling "
            "need repeated stimuli.",
            "Histograms of " + ", ".join(values) + ".",
        )
        blocks += [Figure(pic), *_released_ceiling(results)]
    else:
        blocks.append(
            absent("Voxel-wise quality", "no R², reliability or noise ceiling map is on disk.")
        )
    blocks += _censored(results)
    drawn = contrast_pictures(results)
    blocks += [Figure(p) for p in drawn]
    if not drawn:
        why = "no contrast was asked for (--contrasts)."
        if contrast_maps(results):
            why = "the image grid has no geometry, or the maps are empty."
        blocks.append(absent("A contrast map", why))
    return Section("responses", "Single-trial responses", blocks)


def _censored(results: Results) -> list[Block]:
    """Return the numbers of censored volumes and of trials with one in their response."""
    found = [
        (run_name(path), sidecar_of(path).get("Censored")) for path in results.files("betaseries")
    ]
    rows = [
        [name, *(str(counts[key]) for key in _CENSORED)] for name, counts in found if counts
    ]
    if not any(counts["BeforeSteadyState"] + counts["Motion"] for _, counts in found if counts):
        return [Text("No volume is censored.")] if rows else []
    header = ["run", *_CENSORED.values()]
    return [Table(header, rows, "Censored volumes, which have a regressor of their own, and trials "
                  "with one between their onset and 8 s after their end", frozenset(header[1:]))]


def _released_ceiling(results: Results) -> list[Block]:
    """Return what a noise ceiling that was not estimated here is based on."""
    released = [
        sidecar_of(path) for path in results.files("statmap", stat="noiseceiling")
        if "Sources" in sidecar_of(path)
    ]
    return [
        Text(f"Noise ceiling from {', '.join(sidecar['Sources'])}. {sidecar['Description']}")
        for sidecar in released
    ]


def _quality_values(results: Results) -> dict[str, np.ndarray]:
    """Return the values of each map in the voxels of the responses, 0 among them.

    Released responses have no mask, and of their maps all values but 0 are taken.
    """
    masks = [load(path) for path in results.files("glm_mask")]
    values = {}
    for stat, title in _QUALITY.items():
        parts = []
        for path in results.files("statmap", stat=stat):
            if "_contrast-" in path.name:
                continue
            image = load(path)
            data = np.asanyarray(image.dataobj, dtype=np.float32)
            inside = next((
                np.asanyarray(mask.dataobj) > 0 for mask in masks
                if same_grid((mask.shape, mask.affine), (image.shape, image.affine))
            ), data != 0)
            parts.append(data[np.isfinite(data) & inside])
        joined = np.concatenate(parts) if parts else np.empty(0)
        if joined.size:
            values[title] = joined
    return values


def split_section(results: Results) -> Section:
    """Return the section on the split: kind, reason, number of trials on each side."""
    tables = results.tables("trials")
    split = results.plan.get("split", {})
    if not tables:
        return Section("split", "Split", [absent("The split", "no trial table was written.")])
    trials = pd.concat(tables.values(), ignore_index=True)
    trials = trials[trial_use(trials) != "excluded"]
    blocks: list[Block] = []
    if split:
        blocks.append(Text(f"Kind: {split.get('kind', 'n/a')}. {split.get('reason', '')}"))
    blocks.append(_split_table(trials))
    rotating = trials[trials["split"] == "cv"]
    if len(rotating):
        blocks.append(_fold_table(rotating))
    return Section("split", "Split", blocks)


def _split_table(trials: pd.DataFrame) -> Table:
    counts = pd.crosstab(trials["run_group"], trials["split"]).reset_index()
    counts.columns.name = None
    counts = counts.rename(columns={"run_group": "run"})
    return table_of(counts, "Trials per run and side of the split")


def _fold_table(trials: pd.DataFrame) -> Table:
    rows = []
    for fold, part in sorted(trials.groupby("fold"), key=lambda item: float(item[0])):
        rest = trials[trials["fold"] != fold]
        shared = set(part["run_group"]) & set(rest["run_group"])
        rows.append(
            [
                str(fold),
                ", ".join(sorted(set(part["run_group"]))),
                str(part["stimulus"].nunique()),
                str(len(part)),
                str(len(rest)),
                str(len(shared)),
            ]
        )
    header = ["fold", "test runs", "test stimuli", "test trials", "training trials",
              "runs on both sides"]
    return Table(header, rows, "Folds of the cross-validation", frozenset({"fold", *header[2:]}))
