"""Sections of the group page: who was in pretraining, who was left out, how people compare."""

from __future__ import annotations

from typing import Any

import pandas as pd

from bids_decoder.reports.blocks import Block, Figure, Links, Section, Table, Text, absent
from bids_decoder.reports.figures import Picture, picture
from bids_decoder.reports.figures_decoding import draw_learning, draw_people
from bids_decoder.reports.results import Results, participants
from bids_decoder.reports.scores import (
    Comparison,
    compare,
    headline,
    seen_participants,
    show,
    show_p_with_least,
)
from bids_decoder.reports.sections_decoding import target_kind
from bids_decoder.reports.sections_run import report_path


def group_summary(results: Results) -> Section:
    """How many people were decoded, and for how many the model is worth its price."""
    heads = headlines(results)
    if heads:
        blocks: list[Block] = [*_verdicts(heads), *_seen(results, heads)]
    else:
        blocks = [Text("Nobody was decoded yet in this output folder.", "warn")]
    links = [
        (report_path(results.output_dir, p).name, f"sub-{p}")
        for p in participants(results.output_dir)
        if report_path(results.output_dir, p).exists()
    ]
    if links:
        blocks.append(Links(links))
    return Section("summary", "Summary", blocks)


def _verdicts(heads: dict[str, Comparison]) -> list[Block]:
    above = sum(c.beats_chance for c in heads.values())
    first = next(iter(heads.values()))
    said: list[Block] = [
        Text(
            f"{len(heads)} participant(s) decoded; {above} above chance on “{first.title}”, each "
            "tested alone. Every participant is shown. There is no test over people: a handful of "
            "people cannot carry one."
        )
    ]
    judged = [c for c in heads.values() if c.best_baseline is not None]
    if judged:
        ahead, apart = sum(c.gain > 0 for c in judged), sum(c.clearly_ahead for c in judged)
        said.append(
            Text(
                f"The deep model is ahead of its best baseline in {ahead} of {len(judged)} "
                f"participants; the intervals are apart in {apart}.",
                "good" if apart == len(judged) else "plain" if ahead == len(judged) else "warn",
            )
        )
    return said


def _seen(results: Results, heads: dict[str, Comparison]) -> list[Block]:
    seen = [p for p in heads if p in seen_participants(_card(results, p))]
    if not seen:
        return []
    names = ", ".join(f"sub-{p}" for p in seen)
    return [Text(f"Seen in pretraining: {names}. These are not results for new people.", "bad")]


def headlines(results: Results) -> dict[str, Comparison]:
    """Give the headline measure of each decoded participant.

    The metrics table of the group is used where it lists a participant, that participant's
    own table otherwise.
    """
    together = results.table("group_metrics")
    found = {}
    for label in _labels(results, together):
        part = None
        if together is not None:
            part = together[together["participant"].str.removeprefix("sub-") == label]
        if part is None or part.empty:
            part = Results(results.output_dir, label).table("metrics")
        top = headline(compare(part, _card(results, label)), target_kind(results))
        if top is not None:
            found[label] = top
    return found


def _labels(results: Results, together: pd.DataFrame | None) -> list[str]:
    listed = [] if together is None else together["participant"].str.removeprefix("sub-")
    return sorted({*participants(results.output_dir), *listed})


def _card(results: Results, label: str) -> dict[str, Any]:
    return Results(results.output_dir, label).card("decoder_model")


def pretraining_section(results: Results) -> Section:
    """Who and what the pretrained model saw."""
    card = results.card("pretrained_model")
    if not card:
        why = "no pretrained model is in this output folder."
        return Section("pretraining", "Pretraining", [absent("Pretraining", why)])
    seen = seen_participants(card)
    held_out = [str(p).removeprefix("sub-") for p in _held_out(results, card)]
    people = sorted({*participants(results.output_dir), *seen, *held_out})
    rows = []
    for label in people:
        role = "pretraining" if label in seen else ("held out" if label in held_out else "not used")
        rows.append([f"sub-{label}", role])
    both = sorted(set(seen) & set(held_out))
    check = (
        Text(f"In pretraining and held out at once: {', '.join(both)}.", "bad")
        if both
        else Text(
            f"None of {len(held_out)} held-out participants is among the {len(seen)} that the "
            "model saw.",
            "good",
        )
    )
    blocks: list[Block] = [
        check,
        Table(["participant", "part in pretraining"], rows, "Who took part"),
    ]
    test_stimuli = set(map(str, results.plan.get("split", {}).get("test_stimuli", [])))
    if test_stimuli and "stimuli_seen" in card:
        shared = len(test_stimuli & set(map(str, card["stimuli_seen"])))
        tone = "bad" if shared else "good"
        blocks.append(
            Text(f"{shared} of {len(test_stimuli)} test stimuli were seen in pretraining.", tone)
        )
    return Section("pretraining", "Pretraining", blocks)


def _held_out(results: Results, card: dict[str, Any]) -> list[str]:
    return card.get("holdout", results.setting("execution", "holdout_label", []))


def group_learning(results: Results) -> Section:
    """Learning curve of pretraining."""
    table = results.table("pretrained_learning")
    loss = results.card("pretrained_model").get("loss", [])
    if table is None and loss:
        table = pd.DataFrame({"stage": "pretrain", "epoch": range(1, len(loss) + 1), "loss": loss})
    if table is None:
        return Section(
            "learning",
            "Learning",
            [absent("The learning curve", "no learning table of pretraining is on disk.")],
        )
    pic = picture(
        draw_learning(table),
        "pretraining",
        "Loss and validation score of pretraining by epoch.",
        "Learning curves.",
    )
    return Section("learning", "Learning", [Figure(pic)])


def people_section(results: Results) -> Section:
    """The headline measure of everybody, in a table and a plot."""
    heads = headlines(results)
    if not heads:
        return Section(
            "people",
            "Participants",
            [absent("The comparison of people", "nobody was decoded yet.")],
        )
    rows = []
    for label, top in heads.items():
        seen = label in seen_participants(_card(results, label))
        best = top.best_baseline
        row, metric = top.own, top.metric
        rows.append(
            [
                f"sub-{label}" + (" (seen in pretraining)" if seen else ""),
                top.title,
                show(row["value"], metric),
                f"{show(row['ci_low'], metric)} – {show(row['ci_high'], metric)}",
                show(row["chance"], metric),
                show_p_with_least(row),
                "n/a" if best is None else f"{best['model']}: {show(best['value'], metric)}",
            ]
        )
    header = ["participant", "measure", "value", "95 % interval", "chance", "p", "best baseline"]
    blocks: list[Block] = [
        Table(header, rows, "The headline measure of each participant", frozenset(header[2:6]))
    ]
    blocks += [Figure(_plot(heads))]
    return Section("people", "Participants", blocks)


def _plot(heads: dict[str, Comparison]) -> Picture:
    first = next(iter(heads.values()))
    tables: dict[str, list[dict]] = {}
    for label, top in heads.items():
        if top.title != first.title:
            continue
        for _, row in top.rows.iterrows():
            item = {"participant": label, **row[["value", "ci_low", "ci_high"]].to_dict()}
            tables.setdefault(str(row["model"]), []).append(item)
    figure = draw_people(
        {model: pd.DataFrame(rows) for model, rows in tables.items()},
        first.title,
        first.metric,
        first.chance,
    )
    return picture(
        figure,
        "people",
        f"{first.title}: each participant with 95 % interval; baselines beside it. Dashed red: "
        "chance.",
        f"{first.title} of {len(heads)} participants.",
    )
