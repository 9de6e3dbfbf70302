"""Report of decoding: the result, the voxels, learning."""

from __future__ import annotations

from typing import Any

import pandas as pd

from bids_decoder.analyses.decode.group import headlines, people_section, seen_people, verdicts
from bids_decoder.analyses.decode.report_published import (
    group_published_section,
    published_section,
)
from bids_decoder.analyses.decode.report_tests import baseline_blocks, null_blocks
from bids_decoder.analyses.decode.report_trials import prediction_blocks
from bids_decoder.bids.names import sidecar_path
from bids_decoder.bids.writer import read_table
from bids_decoder.errors import name_some
from bids_decoder.evaluation.multiple import is_headline
from bids_decoder.files import read_json
from bids_decoder.reports.blocks import Block, Figure, Headline, Section, Table, Text, Tone, absent
from bids_decoder.reports.cards import card_table
from bids_decoder.reports.figures import picture
from bids_decoder.reports.figures_decoding import (
    draw_budget,
    draw_learning,
    draw_metrics,
)
from bids_decoder.reports.figures_maps import pattern_pictures, troi_pictures, why_no_map
from bids_decoder.reports.results import Results, numeric
from bids_decoder.reports.scores import (
    Comparison,
    compare,
    headline,
    main_measures,
    say_baseline,
    say_count,
    seen_participants,
    target_kind,
)
from bids_decoder.reports.tables import interval, metrics_table, rounded
from bids_decoder.reports.wording import (
    DIRECTIONS,
    show,
    show_difference,
    show_p,
    show_p_with_least,
)
from bids_decoder.training.ablations import PREFIX

_CAVEATS = (
    "Scores from pools of different size cannot be compared; duplicates or near-duplicates in the "
    "pool make "
    "100 % impossible.",
    "The interval covers the draw of test stimuli only: not the seed, not other sessions, not "
    "other participants.",
    "CSLS corrects for hubs with all test trials at once (transductive). Compare it with plain "
    "cosine before "
    "calling a gain an improvement of the model.",
    "A map of selected voxels shows where this model found information, not where all information "
    "is.",
)


def comparisons_of(results: Results) -> list[Comparison]:
    """Read a participant's metrics, grouped by measure; most parts of a page need them."""
    return results.once(_read_comparisons)


def _read_comparisons(results: Results) -> list[Comparison]:
    return compare(
        results.table("metrics"), results.card("decoder_model"), results.table("comparisons")
    )


def summary(results: Results) -> list[Block]:
    """Return the headline result beside its baselines, and what was pretrained on."""
    found = comparisons_of(results)
    top = headline(found, target_kind(results))
    if top is None and _only_applied(results):
        return []
    if top is None:
        return [Text(_why_no_result(results), "warn"), *seen_notes(results)]
    beside = " ".join(filter(None, (say_baseline(top), say_count(found))))
    return [
        _headline(top), Text(beside, _tone(top)), *baseline_blocks(results),
        *seen_notes(results),
    ]


def sections(results: Results) -> list[Section]:
    """Return the sections on voxels, learning and results."""
    if _only_applied(results):
        return []
    return [
        troi_section(results), learning_section(results), decoding_section(results),
        *published_section(results),
    ]


def group_summary(results: Results) -> list[Block]:
    """Return the number of participants that were decoded above chance."""
    heads = headlines(results)
    return [*verdicts(results, heads), *seen_people(results, heads)] if heads else []


def group_sections(results: Results) -> list[Section]:
    """Return the comparison of participants."""
    return [*people_section(results), *group_published_section(results)]


def lines(results: Results) -> list[str]:
    """Return the main result in one line."""
    kind = target_kind(results)
    return [
        _main_result(results.participant, read_table(path), kind)
        for path in results.files("metrics")
    ]


def _main_result(label: str, metrics: pd.DataFrame, target: str) -> str:
    own = metrics[metrics["model"] == "decoder"]
    head = own[is_headline(numeric(own, "pool_size"), target)]
    if head.empty:
        return (f"sub-{label}: the table of metrics is of another kind than '{target}', the target "
                "of the last call; decode again with --stage decode")
    row = head.iloc[0]
    kind = ", ".join(
        str(row[c]) for c in ("target", "direction", "unit", "similarity")
        if row.get(c) is not None
    )
    low, high, p = (rounded(row[column]) for column in ("ci_low", "ci_high", "p"))
    return (
        f"sub-{label}: {row['metric']}{f' ({kind})' if kind else ''} = {rounded(row['value'])}, "
        f"chance {rounded(row['chance'])}, 95 % interval {low} to {high}, p = {p}"
        f"{_least(row)}, n = {row['n']}"
    )


def _least(row: pd.Series) -> str:
    """Return the smallest possible p-value of the test, as text."""
    least = row.get("p_min")
    return "" if least is None else f" (smallest possible {rounded(least)})"


def _tone(top: Comparison) -> Tone:
    if top.best_baseline is not None and not top.gain > 0:
        return "warn"
    return "good" if top.clearly_ahead and top.beats_chance else "plain"


def _only_applied(results: Results) -> bool:
    """Return whether the last call fitted nothing, and no earlier one did."""
    new = results.setting("trials", "new_data", False)
    return bool(new) and not results.files("decoder_model")


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
    """Note which other participants the model saw in pretraining."""
    card = results.card("decoder_model")
    if not card:
        return []
    seen = seen_participants(card)
    if results.participant in seen:
        return []
    if seen:
        return [
            Text(
                f"New participant: the model was pretrained on {len(seen)} other participant(s): "
                f"{name_some(seen, 20)}.{_say_prior(card)}"
            )
        ]
    why = str(card.get("from_scratch", "--from-scratch"))
    expected = why == "--from-scratch" or card.get("target_kind") == "value"
    return [
        Text(
            "The decoder was trained from scratch on this participant; nothing was pretrained: "
            f"{why}.",
            "plain" if expected else "warn",
        )
    ]


def _say_prior(card: dict[str, Any]) -> str:
    """Return whether maps of other participants were the prior, as text."""
    if not card.get("group_prior"):
        return ""
    grids = ", resampled to this participant's grid," if card.get("group_prior_resampled") else ""
    return f" Their maps in the space {card['group_prior']}{grids} were a prior."


def troi_section(results: Results) -> Section:
    """Return the section on the trainable region of interest: rule, size, location."""
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
                    "selected. The section Relevance shows where its decisions come from."
                )])
            blocks.append(card_table(card, "How the voxels were chosen"))
            blocks += _budget_curve(card, number)
            if card.get("TrainingTrialsOnly"):
                blocks.append(Text("No test trial took part in choosing them.", "good"))
            if card.get("ResponsesFiltered"):
                blocks.append(Text(
                    "Responses were filtered over space, so that the decoder also reads voxels "
                    "around these, for the noise that they share. The map of weights shows them."
                ))
    pictures = troi_pictures(results)
    blocks += [Figure(p) for p in pictures]
    if not any(p.name.startswith("troimask") for p in pictures):
        blocks.append(absent("The mask", why_no_map(results)))
    blocks += _patterns(results)
    return Section("troi", "TROI", blocks)


def _patterns(results: Results) -> list[Block]:
    """Show where signal is, and what the weights of the decoder are."""
    pictures = pattern_pictures(results)
    if not pictures:
        return []
    return [Text(
        "Activation patterns show where responses vary with what is decoded. Weights do not: a "
        "voxel without signal has a large weight when it cancels the noise of others "
        "(Haufe et al. 2014)."
    ), *(Figure(p) for p in pictures)]


def _budget_curve(card: dict[str, Any], number: int) -> list[Block]:
    """Draw the score of each region size, if the size was chosen on training runs."""
    scores, chosen = card.get("budget_scores"), card["n_voxels"]
    if not scores:
        return []
    return [Figure(picture(
        draw_budget(scores, chosen),
        f"budget{number}",
        "Score of regions of each size on held-out training runs. Orange: the chosen "
        f"size ({card['budget_rule']}).",
        f"Score by number of voxels; {chosen} were chosen.",
    ))]


def learning_section(results: Results) -> Section:
    """Return the section with the learning curves of this participant's decoder."""
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


def decoding_section(results: Results) -> Section:
    """Return the section with all measures and baselines, examples and confusions."""
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
    blocks += null_blocks(results)
    blocks.append(metrics_table(found))
    blocks += _ablations(top)
    blocks += prediction_blocks(results)
    blocks += [Text("How to read these numbers: " + " ".join(_CAVEATS))]
    return Section("decoding", "Decoding", blocks)


def overview_table(found: list[Comparison]) -> Table:
    """Compare the decoder with its best baseline, one row per measure."""
    header = [
        "measure", "decoder", "95 % interval", "chance", "p", "p (Holm)", "best baseline", "ahead",
    ]
    rows = []
    for comparison in found:
        own, best, metric = comparison.own, comparison.best_baseline, comparison.metric
        numbers = [show(own["value"], metric), interval(own, metric), show(own["chance"], metric)]
        against = "n/a" if best is None else f"{best['model']}: {show(best['value'], metric)}"
        ahead = "n/a" if best is None else ("yes" if comparison.gain > 0 else "no")
        tested = [show_p(own["p"]), show_p(own["p_holm"])]
        rows.append([comparison.title, *numbers, *tested, against, ahead])
    return Table(header, rows, "The decoder and its best baseline", frozenset(header[1:6]))


def _ablations(top: Comparison) -> list[Block]:
    """Return the table of ablations: the decoder without each of its parts."""
    if top.ablations.empty:
        return []
    header = ["part left out", "value", "change", "95 % interval"]
    whole = float(top.own["value"])
    content = [["none: the decoder", show(whole, top.metric), "", interval(top.own, top.metric)]]
    for _, row in top.ablations.iterrows():
        name = str(row["model"]).removeprefix(PREFIX).replace("-", " ")
        change = show_difference(float(row["value"]) - whole, top.metric)
        content.append([name, show(row["value"], top.metric), change, interval(row, top.metric)])
    return [Table(header, content, f"Without its parts: {top.title}", frozenset(header[1:]))]
