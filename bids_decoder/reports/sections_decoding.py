"""Sections on the result: summary, TROI, learning, decoding."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from bids_decoder.bids.names import sidecar_path
from bids_decoder.errors import name_some
from bids_decoder.files import read_json
from bids_decoder.reports.blocks import Block, Figure, Headline, Section, Table, Text, Tone, absent
from bids_decoder.reports.figures import picture
from bids_decoder.reports.figures_decoding import (
    Example,
    draw_budget,
    draw_confusion,
    draw_examples,
    draw_learning,
    draw_metrics,
    find_image,
    pick_examples,
)
from bids_decoder.reports.figures_maps import relevance_pictures, troi_pictures, why_no_map
from bids_decoder.reports.results import Results
from bids_decoder.reports.scores import (
    DIRECTIONS,
    Comparison,
    compare,
    headline,
    main_measures,
    say_baseline,
    say_count,
    say_result,
    seen_participants,
    show,
    show_p_with_least,
    words,
)
from bids_decoder.reports.sections_encoding import encoding_note
from bids_decoder.reports.sections_overlap import overlap_section
from bids_decoder.reports.sections_pictures import gallery_blocks
from bids_decoder.reports.sections_tests import significance_blocks
from bids_decoder.training.ablations import PREFIX

_CAVEATS = (
    "Scores from pools of different size cannot be compared; duplicates or near-duplicates in the "
    "pool make "
    "100 % impossible.",
    "The interval covers the draw of test stimuli only: not the seed, not other sessions, not "
    "other people.",
    "CSLS corrects for hubs with all test trials at once (transductive). Compare it with plain "
    "cosine before "
    "calling a gain an improvement of the model.",
    "A map of selected voxels shows where this model found information, not where all information "
    "is.",
)

_UNSHOWN = ("budget_scores", "Type", "SkullStripped", "Sources", "SpatialReference")


def comparisons_of(results: Results) -> list[Comparison]:
    """Read a participant's metrics, grouped by measure."""
    return compare(results.table("metrics"), results.card("decoder_model"))


def target_kind(results: Results) -> str:
    """Read what was decoded: ``category``, ``image`` or ``features``."""
    return str(results.plan.get("target_kind", "image"))


def summary_section(results: Results) -> Section:
    """The headline result in words, and everything that limits it."""
    found = comparisons_of(results)
    top = headline(found, target_kind(results))
    blocks: list[Block] = []
    if top is None:
        blocks.append(Text(_why_no_result(results), "warn"))
    else:
        blocks += [_headline(top), Text(say_result(top, target_kind(results)))]
        verdict = " ".join(filter(None, (say_baseline(top), say_count(found))))
        blocks.append(Text(verdict, _tone(top)))
    blocks += seen_notes(results)
    blocks += encoding_note(results)
    found = overlap_section(results).blocks
    blocks += [b for b in found if isinstance(b, Text) and b.tone == "bad"]
    recent = [name for log, name, _ in results.crashes() if log.uuid == results.runs[-1].uuid]
    if recent:
        blocks.append(Text(f"The last call left {len(recent)} crash file(s); see Errors.", "bad"))
    return Section("summary", "Summary", blocks)


def _tone(top: Comparison) -> Tone:
    if top.best_baseline is not None and not top.gain > 0:
        return "warn"
    return "good" if top.clearly_ahead and top.beats_chance else "plain"


def _why_no_result(results: Results) -> str:
    if not results.files("trials"):
        return "This participant was not decoded: no single-trial responses are on disk yet."
    if not results.files("decoder_model"):
        return (
            "This participant is prepared but not decoded: there is no decoder on disk. Run the "
            "level participant (without --stage, or with --stage decode)."
        )
    return "There is a decoder but no metrics table: scoring did not finish."


def _headline(top: Comparison) -> Headline:
    row, metric = top.own, top.metric
    against = [
        ("chance", show(row["chance"], metric)),
        ("95 % interval", f"{show(row['ci_low'], metric)} – {show(row['ci_high'], metric)}"),
        ("p (permutation)", show_p_with_least(row)),
    ]
    if top.best_baseline is not None:
        against.append(("best baseline", show(top.best_baseline["value"], metric)))
    return Headline(show(row["value"], metric), f"{top.title} · {top.model}", against)


def seen_notes(results: Results) -> list[Text]:
    """Mark a model that met this participant in pretraining, or say whom it met."""
    card = results.card("decoder_model")
    if not card:
        return []
    seen = seen_participants(card)
    if results.participant in seen:
        return [
            Text(
                "Seen in pretraining: this participant's data were among those that the model was "
                "pretrained on. "
                "This is not a result for a new person.",
                "bad",
            )
        ]
    if seen:
        return [
            Text(
                f"New person: the model was pretrained on {len(seen)} other participant(s): "
                f"{name_some(seen, 20)}.{_say_prior(card)}"
            )
        ]
    why = str(card.get("from_scratch", "--from-scratch"))
    return [
        Text(
            "The decoder was trained from scratch on this participant; nothing was pretrained: "
            f"{why}.",
            "plain" if why == "--from-scratch" else "warn",
        )
    ]


def _say_prior(card: dict[str, Any]) -> str:
    """Say whether the maps of the others served as a prior."""
    if not card.get("group_prior"):
        return ""
    grids = ", resampled to this participant's grid," if card.get("group_prior_resampled") else ""
    return f" Their maps in the space {card['group_prior']}{grids} were a prior."


def troi_section(results: Results) -> Section:
    """The trainable region of interest: rule, size, place."""
    paths = results.files("troi_mask")
    if not paths:
        return Section("troi", "TROI", [absent("The TROI", why_no_map(results))])
    blocks: list[Block] = []
    for number, path in enumerate(paths, start=1):
        sidecar = sidecar_path(path)
        if sidecar.exists():
            card = read_json(sidecar)
            if card.get("selector") == "whole brain":
                return Section("troi", "TROI", [Text(
                    f"The decoder reads all {card['n_voxels']:,} voxels of the brain; no region is "
                    "selected. Where its decisions come from is shown under Relevance."
                )])
            blocks.append(_card_table(card, "How the voxels were chosen"))
            blocks += _budget_curve(card, number)
            if card.get("TrainingTrialsOnly"):
                blocks.append(Text("No test trial took part in choosing them.", "good"))
    pictures = troi_pictures(results)
    blocks += [Figure(p) for p in pictures]
    if not any(p.name.startswith("troimask") for p in pictures):
        blocks.append(absent("The mask", why_no_map(results)))
    return Section("troi", "TROI", blocks)


def _budget_curve(card: dict[str, Any], number: int) -> list[Block]:
    """How the size of the region was chosen, where the training runs decided it."""
    scores, chosen = card.get("budget_scores"), card["n_voxels"]
    if not scores:
        return []
    return [Figure(picture(
        draw_budget(scores, chosen),
        f"budget{number}",
        "What regions of each size foretell of training runs that were left out. Orange: the "
        f"size taken ({card['budget_rule']}).",
        f"Score by number of voxels; {chosen} were taken.",
    ))]


_CHECKS = {
    "relevance_per_logit": "Relevance that arrived at the voxels, as a share of the logit it "
                           "started from; the rest stayed with biases.",
    "likeness_randomised_output": "Rank correlation with the maps of the same network with a "
                                  "random output layer.",
    "likeness_randomised_all": "Rank correlation with the maps of a random network. Maps that "
                               "show the anatomy and not the decision stay alike (near 1).",
}


def relevance_section(results: Results) -> Section | None:
    """Where decisions on held-out trials came from; None for decoders without such maps."""
    cards = [read_json(sidecar_path(path)) for path in results.files("relevance_map")]
    if not cards:
        return None
    known = [name for name in cards[0] if name not in (*_UNSHOWN, *_CHECKS, "Description")]
    shared = {name: cards[0][name] for name in known
              if all(card.get(name) == cards[0][name] for card in cards)}
    blocks: list[Block] = [_card_table(shared, "How the maps were made")]
    blocks.append(Table(
        ["check", "value"],
        [[text, _plain(cards[0][name])] for name, text in _CHECKS.items() if name in cards[0]],
        "Sanity checks of the maps", frozenset({"value"}),
    ))
    blocks += [Figure(p) for p in relevance_pictures(results)]
    blocks.append(Text(
        "The maps explain what the network did with held-out trials. They are no test: a voxel "
        "without relevance may carry information all the same."
    ))
    return Section("relevance", "Relevance", blocks)


def _card_table(card: dict[str, Any], caption: str) -> Table:
    rows = [[words(key), _plain(value)] for key, value in card.items() if key not in _UNSHOWN]
    return Table(["", "value"], rows, caption)


def _plain(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, list):
        return ", ".join(map(_plain, value))
    if isinstance(value, dict):
        return "; ".join(f"{words(k)}: {_plain(v)}" for k, v in value.items())
    return "n/a" if value is None else str(value)


def learning_section(results: Results) -> Section:
    """Learning curves of this participant's decoder."""
    table = results.table("learning")
    if table is None or table.empty:
        why = "no learning table is on disk (the decoder has no epochs, or was not trained)."
        return Section("learning", "Learning", [absent("The learning curve", why)])
    pic = picture(
        draw_learning(table),
        "learning",
        "Loss and score by epoch. Validation trials are training trials that were set aside; test "
        "trials have no "
        "part in it. Thin lines: folds of cross-validation. Dark: the fit on all training trials.",
        "Learning curves.",
    )
    return Section("learning", "Learning", [Figure(pic)])


def decoding_section(results: Results, stimuli_dir: Path | None) -> Section:
    """All measures with baselines, examples and confusions."""
    found = comparisons_of(results)
    if not found:
        return Section("decoding", "Decoding", [absent("The result", _why_no_result(results))])
    top = headline(found, target_kind(results)) or found[0]
    main = main_measures(found, top)
    pic = picture(
        draw_metrics(main),
        "metrics",
        "The decoder (orange) and its baselines on the same held-out trials. Bars: 95 % "
        "intervals. Dashed red: "
        "chance. Grey band, where given: permutation null.",
        "Dot plot of "
        + "; ".join(f"{c.title}: {show(c.own['value'], c.metric)}" for c in main)
        + ".",
    )
    blocks: list[Block] = [Figure(pic)]
    blocks += [Text(DIRECTIONS[d]) for d in DIRECTIONS if any(c.direction == d for c in found)]
    blocks.append(overview_table(main))
    blocks += significance_blocks(results)
    blocks.append(metrics_table(found))
    blocks += _ablations(top)
    blocks += _predictions(results, stimuli_dir)
    blocks += gallery_blocks(results)
    blocks += [Text("How to read these numbers: " + " ".join(_CAVEATS))]
    return Section("decoding", "Decoding", blocks)


def overview_table(found: list[Comparison]) -> Table:
    """Set the decoder against its best baseline, one row a measure."""
    header = ["measure", "decoder", "95 % interval", "chance", "p", "best baseline", "ahead"]
    rows = []
    for comparison in found:
        own, best, metric = comparison.own, comparison.best_baseline, comparison.metric
        numbers = [show(own["value"], metric), _interval(own, metric), show(own["chance"], metric)]
        against = "n/a" if best is None else f"{best['model']}: {show(best['value'], metric)}"
        ahead = "n/a" if best is None else ("yes" if comparison.gain > 0 else "no")
        rows.append([comparison.title, *numbers, show_p_with_least(own), against, ahead])
    return Table(header, rows, "The decoder and its best baseline", frozenset(header[1:5]))


def metrics_table(found: list[Comparison]) -> Table:
    """List all measures with all their models, folded away."""
    header = ["model", "value", "chance", "95 % interval", "p", "n", "draws"]
    rows: list[list[str]] = []
    strong, groups = [], []
    for comparison in found:
        groups.append(len(rows))
        strong.append(len(rows) + 1)
        rows.append([comparison.title])
        rows += [_metrics_row(row, comparison.metric) for _, row in comparison.rows.iterrows()]
    return Table(
        header,
        rows,
        f"All {len(found)} measures of all models: the decoder in bold, baselines from best to "
        "worst",
        frozenset(header[1:]),
        frozenset(strong),
        frozenset(groups),
        folded=True,
    )


def _ablations(top: Comparison) -> list[Block]:
    """Say what the decoder reaches without each of its parts, where that was asked for."""
    if top.ablations.empty:
        return []
    header = ["part left out", "value", "change", "95 % interval"]
    whole = float(top.own["value"])
    content = [["none: the decoder", show(whole, top.metric), "", _interval(top.own, top.metric)]]
    for _, row in top.ablations.iterrows():
        name = str(row["model"]).removeprefix(PREFIX).replace("-", " ")
        change = 100 * (float(row["value"]) - whole)
        content.append([name, show(row["value"], top.metric), f"{change:+.1f} points",
                        _interval(row, top.metric)])
    return [Table(header, content, f"Without its parts: {top.title}", frozenset(header[1:]))]


def _metrics_row(row: pd.Series, metric: str) -> list[str]:
    return [
        str(row["model"]),
        show(row["value"], metric),
        show(row["chance"], metric),
        _interval(row, metric),
        show_p_with_least(row),
        _count(row["n"]),
        _count(row["n_draws"]),
    ]


def _interval(row: pd.Series, metric: str) -> str:
    if not np.isfinite([row["ci_low"], row["ci_high"]]).all():
        return "n/a"
    return f"{show(row['ci_low'], metric)} – {show(row['ci_high'], metric)}"


def _count(value: float) -> str:
    return f"{value:.0f}" if np.isfinite(value) else "n/a"


def _predictions(results: Results, stimuli_dir: Path | None) -> list[Block]:
    table = results.table("predictions")
    if table is None:
        return [absent("The list of single-trial predictions", "no predictions table is on disk.")]
    blocks: list[Block] = []
    decoded = table.get("predicted_label", pd.Series(None, table.index, dtype=object))
    known = table["label"].notna() & decoded.notna() if "label" in table else decoded.notna()
    if known.any():
        pic = picture(
            draw_confusion(table.loc[known, "label"], decoded[known]),
            "confusion",
            "Confusion matrix: share of trials of each shown label (row) decoded as each label "
            "(column).",
            f"Confusion matrix of {table.loc[known, 'label'].nunique()} labels.",
        )
        blocks.append(Figure(pic))
    examples = [] if known.any() else pick_examples(table)
    if examples:
        blocks.append(_examples(examples, stimuli_dir))
    return blocks


def _examples(examples: list[Example], stimuli_dir: Path | None) -> Block:
    chosen = "Trials spread evenly from the best to the worst rank, not picked by eye."
    has_images = stimuli_dir is not None and any(
        find_image(stimuli_dir, e.stimulus) for e in examples
    )
    if stimuli_dir is None or not has_images:
        header = ["shown", "rank", *(f"top {i}" for i in range(1, 6))]
        rows = [
            [e.stimulus, f"{e.rank:.0f}", *e.found, *[""] * (5 - len(e.found))] for e in examples
        ]
        return Table(header, rows, f"Retrieval examples. {chosen}", frozenset({"rank"}))
    pic = picture(
        draw_examples(examples, stimuli_dir),
        "retrieval",
        f"Retrieval examples: the shown image and the five nearest; green: the right one. {chosen}",
        "; ".join(f"{e.stimulus} at rank {e.rank:.0f}" for e in examples) + ".",
        "png",
    )
    return Figure(pic)
