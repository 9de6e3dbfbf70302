"""Report of decoding over participants."""

from __future__ import annotations

from typing import Any

import pandas as pd
from markupsafe import Markup

from bids_decoder.analyses.verdicts import verdict_of
from bids_decoder.errors import name_some
from bids_decoder.reports.blocks import Block, Figure, Section, State, Table, Text
from bids_decoder.reports.drawings_people import people_drawing
from bids_decoder.reports.figures import picture
from bids_decoder.reports.figures_decoding import draw_people
from bids_decoder.reports.results import Results, participants
from bids_decoder.reports.scores import (
    Comparison,
    compare,
    headline,
    seen_participants,
    target_kind,
)
from bids_decoder.reports.sections_run import report_path
from bids_decoder.reports.tables import interval
from bids_decoder.reports.verdict import ANSWERS, judge, with_worries
from bids_decoder.reports.wording import P_HEADER, p_cells, show


def verdicts(results: Results, heads: dict[str, Comparison]) -> list[Block]:
    """Return for how many participants the model is above chance and ahead of its baselines."""
    found = results.once(_read_states)
    above = sum(state == "yes" for state in found.values())
    first = next(iter(heads.values()))
    said: list[Block] = [
        Text(
            f"{above} of {len(heads)} decoded participants above chance on “{first.title}”, each "
            "tested alone. Every participant is shown."
        )
    ]
    invalid = [f"sub-{label}" for label, state in found.items() if state == "invalid"]
    if invalid:
        said.append(Text(
            f"Scores that are not valid and do not count as above chance: {name_some(invalid)}. "
            "The reports of these participants say why.", "bad",
        ))
    judged = [c for c in heads.values() if c.best_baseline is not None]
    if judged:
        ahead, apart = sum(c.gain > 0 for c in judged), sum(c.clearly_ahead for c in judged)
        said.append(
            Text(
                f"The decoder is ahead of its best baseline in {ahead} of {len(judged)} "
                f"participants; the intervals are apart in {apart}.",
                "good" if apart == len(judged) else "plain" if ahead == len(judged) else "warn",
            )
        )
    return said


def seen_people(results: Results, heads: dict[str, Comparison]) -> list[Block]:
    """Return a note on the participants that the model saw in pretraining."""
    seen = [p for p in heads if p in seen_participants(_card(results, p))]
    if not seen:
        return []
    names = ", ".join(f"sub-{p}" for p in seen)
    text = f"Seen in pretraining: {names}. These are not results for new participants."
    return [Text(text, "bad")]


def _read_states(results: Results) -> dict[str, State]:
    """Return the answer of each decoded participant, as the report of the participant has it."""
    kind = target_kind(results)
    found: dict[str, State] = {}
    for label, top in headlines(results).items():
        worries = verdict_of(Results(results.output_dir, label)).worries
        found[label] = with_worries([judge(top, kind)], worries).answers[0].state
    return found


def headlines(results: Results) -> dict[str, Comparison]:
    """Return the headline measure of each decoded participant."""
    return results.once(_read_headlines)


def _read_headlines(results: Results) -> dict[str, Comparison]:
    found = {}
    for label in participants(results.output_dir):
        own = Results(results.output_dir, label)
        top = headline(compare(own.table("metrics"), own.card("decoder_model")),
                       target_kind(results))
        if top is not None:
            found[label] = top
    return found


def _card(results: Results, label: str) -> dict[str, Any]:
    return Results(results.output_dir, label).card("decoder_model")


def people_section(results: Results) -> list[Section]:
    """Return the section with the headline measure of all participants, as table and plot."""
    heads = headlines(results)
    if not heads:
        return []
    rows = []
    found = results.once(_read_states)
    titles = {top.title for top in heads.values()}
    for label, top in heads.items():
        seen = label in seen_participants(_card(results, label))
        best = top.best_baseline
        row, metric = top.own, top.metric
        rows.append(
            [
                _linked(results, label),
                ANSWERS[found[label]],
                *([top.title] if len(titles) > 1 else []),
                show(row["value"], metric),
                interval(row, metric),
                show(row["chance"], metric),
                *p_cells(row),
                "n/a" if best is None else f"{best['model']}: {show(best['value'], metric)}",
                "yes" if seen else "no",
            ]
        )
    numbers = ["value", "95 % interval", "chance", *P_HEADER]
    header = ["participant", "above chance", *(["measure"] if len(titles) > 1 else []), *numbers,
              "best baseline", "seen in pretraining"]
    caption = "The headline measure of each participant"
    if len(titles) == 1:
        caption += f": {titles.pop()}"
    blocks: list[Block] = [
        Table(header, rows, caption, frozenset(numbers), key="people"),
        _plot(heads),
    ]
    return [Section("people", "Participants", blocks)]


def _linked(results: Results, label: str) -> Markup:
    """Return the name of a participant, with a link to the page where there is one."""
    page = report_path(results.output_dir, label)
    name = Markup("sub-{}").format(label)
    return Markup('<a href="{}">{}</a>').format(page.name, name) if page.exists() else name


def _plot(heads: dict[str, Comparison]) -> Figure:
    first = next(iter(heads.values()))
    tables: dict[str, list[dict]] = {}
    for label, top in heads.items():
        if top.title != first.title:
            continue
        for _, row in top.rows.iterrows():
            item = {"participant": label, **row[["value", "ci_low", "ci_high"]].to_dict()}
            tables.setdefault(str(row["model"]), []).append(item)
    shown = (
        {model: pd.DataFrame(rows) for model, rows in tables.items()}, first.title, first.metric,
        first.chance,
    )
    drawn = picture(
        draw_people(*shown), "people",
        f"{first.title}: each participant with 95 % interval; baselines beside it. Dashed red: "
        "chance.",
        f"{first.title} of {len(heads)} participants.",
    )
    return Figure(drawn, people_drawing(*shown))
