"""Report of a decoder that is applied to new data."""

from __future__ import annotations

from typing import Any

import pandas as pd

from bids_decoder.analyses.apply.figures import (
    draw_courses,
    draw_reliability,
    draw_shares,
)
from bids_decoder.analyses.apply.gallery import LISTS, SHEET
from bids_decoder.analyses.apply.gallery import METRICS as GALLERY_METRICS
from bids_decoder.analyses.apply.outputs import ANSWERS, METRICS, RELIABILITY, SHIFT
from bids_decoder.analyses.apply.reconstruction import METRICS as RECONSTRUCTION_METRICS
from bids_decoder.analyses.apply.reconstruction import PICTURES
from bids_decoder.analyses.apply.reconstruction import SHEET as RECONSTRUCTIONS
from bids_decoder.evaluation.reconstruction import NEAREST
from bids_decoder.reports.blocks import Block, Figure, Section, Table, Text
from bids_decoder.reports.drawings import confusion_figure
from bids_decoder.reports.figures import Picture, picture
from bids_decoder.reports.reconstructions import describe_scores, how_made, score_blocks
from bids_decoder.reports.results import Results, numeric
from bids_decoder.reports.scores import Comparison, compare, headline, say_result
from bids_decoder.reports.tables import metrics_table, rounded
from bids_decoder.trials import KINDS

MOST_LABELS, MOST_RUNS = 40, 4
"""Labels and runs above which figures leave some out."""


def summary(results: Results) -> list[Block]:
    """Return what was decoded, the main score, and how far the data are from those of training."""
    table = results.table(ANSWERS)
    if table is None:
        return []
    said = Text(f"A decoder that was fitted before was applied to {len(table)} new trials.")
    top = _top(results)
    verdict = [] if top is None else [_judge(top, results.card(ANSWERS)["Target"])]
    shift = results.table(SHIFT)
    far = [] if shift is None else [Text(*_verdict(results.card(SHIFT)))]
    return [said, *verdict, *far]


def sections(results: Results) -> list[Section]:
    """Return the sections on answers, probabilities and distance; none where nothing is applied."""
    table = results.table(ANSWERS)
    if table is None:
        return []
    return [
        Section("apply", "Decoder applied to new data", _answers(results, table)),
        *_gallery_section(results), *_reconstruction_section(results),
        *_calibration_section(results), *_shift_section(results),
    ]


def lines(results: Results) -> list[str]:
    """Return the number of decoded trials, and the main score where labels are known."""
    table = results.table(ANSWERS)
    if table is None:
        return []
    found = [f"sub-{results.participant}: {len(table)} new trials decoded"]
    top = _top(results)
    if top is not None:
        said = say_result(top, results.card(ANSWERS)["Target"])
        found.append(f"sub-{results.participant}: {said}")
    return found


def _top(results: Results) -> Comparison | None:
    metrics = results.table(METRICS)
    kind = results.card(ANSWERS)["Target"]
    return None if metrics is None else headline(compare(metrics, {}), kind)


def _judge(top: Comparison, kind: str) -> Text:
    return Text(say_result(top, kind), "good" if top.beats_chance else "warn")


def _trained(known: pd.DataFrame) -> list[Block]:
    """Return how many of the stimuli that are scored were shown in training trials."""
    if "was_trained" not in known:
        return []
    shown = known.drop_duplicates("stimulus")
    n_trained = int((shown["was_trained"] == "True").sum())
    return [Text(
        f"{n_trained} of {len(shown)} stimuli that are scored were shown in training trials of the "
        "decoder. Such stimuli are found more easily than new ones."
        if n_trained else "None of the stimuli that are scored was shown in training trials."
    )]


def _answers(results: Results, table: pd.DataFrame) -> list[Block]:
    card = results.card(ANSWERS)
    blocks: list[Block] = [_zero_shot(card, len(table)) if card["ZeroShot"] else Text(
        f"The decoder {card['Decoder']} (fitted to {card['TrainingDataset']}) was applied to "
        f"{len(table)} trials. Nothing was fitted to them; they were z-scored by "
        + ("their own sessions or runs." if card["Scaling"] == "own" else "the training trials.")
    )]
    blocks += _alignment(card)
    if "top1" not in table:
        return blocks
    if table["top1"].nunique() <= MOST_LABELS:
        blocks.append(Figure(picture(
            draw_shares(table), "appliedshares", "How often each answer was the best one.",
            "Bars: number of trials by best answer.",
        )))
    metrics = results.table(METRICS)
    if card["TrialUnit"] == "volume":
        return [*blocks, *_courses(table, card["Labels"])]
    if metrics is None:
        blocks.append(Text(
            f"No trial, or only one {KINDS[card['Target']].column}, is known to the decoder: there "
            "is no score."
        ))
        return blocks
    found = compare(metrics, {})
    top = headline(found, card["Target"])
    if top is not None:
        blocks.append(_judge(top, card["Target"]))
    known = table[table["is_known"] == "True"]
    blocks += _trained(known)
    if card["Target"] == "category" and known["label"].nunique() <= MOST_LABELS:
        blocks.append(confusion_figure(
            known["label"], known["top1"], "appliedconfusion",
            f"Labels of the {len(known)} trials whose label the decoder knows.",
            "Confusion matrix.",
        ))
    return [*blocks, metrics_table(found)]


def _courses(table: pd.DataFrame, labels: list[str]) -> list[Block]:
    """Return the time courses of some runs, where labels are few enough to have columns."""
    names = [f"probability_{label}" for label in labels]
    note = Text(
        "Each volume was decoded alone. Times are those of what was shown: the volume at the peak "
        "of the expected response, some seconds later, was read. Neighbouring volumes depend on "
        "each other, so that there is no score; probabilities were calibrated for trials."
    )
    if not set(names) <= set(table.columns) or len(labels) > MOST_LABELS:
        return [note]
    numbers = numeric(table, "onset", *names)
    runs = {
        str(run): part for run, part in numbers.groupby("run_group", sort=False)
    }
    shown = dict(list(runs.items())[:MOST_RUNS])
    return [note, Figure(picture(
        draw_courses(shown, labels), "appliedcourses",
        f"Probability of each label over time ({len(shown)} of {len(runs)} runs). Orange: what was "
        "shown, where labels are known.", "Time courses of the probability of labels.",
    ))]


def _zero_shot(card: dict[str, Any], n_trials: int) -> Text:
    """Return how trials are decoded without any of the participant for training."""
    return Text(
        f"The pretrained model {card['Decoder']} was applied to {n_trials} trials of a participant "
        f"of whom no trial was used for fitting (zero-shot): input layers of "
        f"{card['SourceParticipants']} participants of {card['TrainingDataset']} were averaged at "
        "the same places of the standard space. Expect less than from a decoder of the "
        "participant's own; trials were z-scored by their own sessions or runs."
    )


def _alignment(card: dict[str, Any]) -> list[Block]:
    covered = card["CoveredShare"]
    if card["ZeroShot"]:
        return [Text(
            f"{covered:.0%} of the voxels are where the maps of the pretrained model are.",
            "plain" if covered > 0.9 else "warn",
        )]
    how = "aligned to its reference image" if card["Aligned"] else "on its grid"
    return [Text(
        f"The images are {how}; {covered:.0%} of its voxels have responses.",
        "plain" if covered > 0.9 else "warn",
    )]


def _gallery_section(results: Results) -> list[Section]:
    sheets = results.files(SHEET)
    if not sheets:
        return []
    size = results.card(LISTS)["GallerySize"]
    blocks: list[Block] = [Figure(Picture(
        "appliedgallery", sheets[0].read_bytes(), "png",
        f"Of {size} images, those nearest to what was decoded, with their cosine. Trials are "
        "evenly spread over all, not picked by eye.", "Nearest images of some trials.",
    ))]
    metrics = results.table(GALLERY_METRICS)
    if metrics is not None:
        found = compare(metrics, {})
        top = headline(found, "image")
        blocks += [] if top is None else [_judge(top, "image")]
        blocks.append(metrics_table(found))
    return [Section("appliedgallery", "Nearest images", blocks)]


def _reconstruction_section(results: Results) -> list[Section]:
    sheets = results.files(RECONSTRUCTIONS)
    table, metrics = results.table(PICTURES), results.table(RECONSTRUCTION_METRICS)
    if not sheets or table is None:
        return []
    how = how_made(str(results.card(PICTURES)["Method"]))
    said = "Their scores are not known." if metrics is None else describe_scores(metrics)
    blocks: list[Block] = [
        Text(
            f"{len(table)} images, one for each stimulus that the events name (from the mean over "
            f"its repeats) and one for each trial without a name: {how}."
        ),
        Figure(Picture(
            "appliedreconstructions", sheets[0].read_bytes(), "png",
            "Reconstructions, beside what was seen where its image is known. Images are evenly "
            "spread over all, not picked by eye.", said,
        )),
    ]
    blocks += [Text(
        "The images of fewer than three stimuli are known: there is no score."
    )] if metrics is None else [*score_blocks(metrics), *_nearest(table, metrics)]
    return [Section("appliedreconstruction", "Reconstruction of new trials", blocks)]


def _nearest(table: pd.DataFrame, metrics: pd.DataFrame) -> list[Block]:
    """Return what is to be known of the control by the nearest training image."""
    if NEAREST in set(metrics["model"]):
        n_same = int((table["nearest_training_stimulus"] == table["stimulus"]).sum())
        return [Text(
            f"The nearest training image of {n_same} stimuli is the very image that was shown: "
            "they were shown in training, and no reconstruction can be ahead of it."
        )] if n_same else []
    return [Text(
        "The training images were not all at hand: the nearest of them, which says how far "
        "reconstructions repeat what the decoder was fitted to, is missing among the controls. The "
        "folder of the training images (--stimuli-dir) adds it."
    )]


def _calibration_section(results: Results) -> list[Section]:
    table = results.table(RELIABILITY)
    if table is None:
        return []
    card = results.card(RELIABILITY)
    errors = card["ExpectedCalibrationError"]
    said = [f"{errors[kind]:.1%} for {name}" for kind, name in (
        ("training", "held-out training trials, each calibrated on the other runs"),
        ("new", "new trials whose label is known"),
    ) if kind in errors]
    return [Section("calibration", "Probabilities", [
        Text(
            f"Probabilities were calibrated on {card['CalibrationTrials']} held-out trials of the "
            f"training data ({card['CalibrationSource']}). Expected calibration error, the mean "
            f"distance of probability and share of right answers: {', '.join(said) or 'n/a'}."
        ),
        Figure(picture(
            draw_reliability(numeric(table, "bin", "n", "confidence", "accuracy")),
            "reliability", "Probability of the best answer, and how often it is right. Below the "
            "line the decoder is too sure of itself. Area: number of trials.",
            "Reliability diagram.",
        )),
    ])]


def _shift_section(results: Results) -> list[Section]:
    table, card = results.table(SHIFT), results.card(SHIFT)
    if table is None:
        return []
    rows = [
        [row["run_group"], row["measure"], rounded(row["value"]),
         f"{rounded(row['low'])} to {rounded(row['high'])}", rounded(row["p_corrected"])]
        for _, row in table.iterrows()
    ]
    header = ["run", "measure", "value", "expected", "p corrected"]
    return [Section("shift", "Distance from the training data", [
        Text(*_verdict(card)),
        Table(header, rows, "Measures of the new runs, and where a further training run would be",
              frozenset(header[2:]), folded=True),
        Table(["measure", "meaning"], [[k, v] for k, v in card["Measures"].items()],
              "What is measured", folded=True),
    ])]


def _verdict(card: dict[str, Any]) -> tuple[str, Any]:
    """Return a sentence on how many runs are unlike the training runs, and its tone."""
    n_training = card["TrainingRuns"]
    if not card["Judged"]:
        return f"{n_training} training run(s) are too few to judge new runs by.", "plain"
    rate = card["FalseAlarms"]
    nominal = f"a further training run would be with probability {card['Level']:g}"
    measured = "" if rate is None else f"; of the training runs themselves {rate:.0%} are"
    if not card["Far"]:
        return (
            f"None of {card['Judged']} new run(s) is unlike the {n_training} training runs "
            f"({nominal}{measured})."
        ), "good"
    return (
        f"{len(card['Far'])} of {card['Judged']} new run(s) are unlike the {n_training} training "
        f"runs ({nominal}{measured}): {', '.join(card['Far'][:3])}. Other data can be decoded less "
        "well, and probabilities are calibrated for data like those of training."
    ), "warn"
