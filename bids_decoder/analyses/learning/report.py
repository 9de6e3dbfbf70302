"""Report of learning curves."""

from __future__ import annotations

from typing import Any

import pandas as pd

from bids_decoder.analyses.learning.figures import draw_curves, draw_mean
from bids_decoder.analyses.learning.outputs import FITTED_CURVE, NEEDED
from bids_decoder.analyses.learning.sentences import (
    NEED_NUMBERS,
    name_of,
    say_need,
    say_pretraining,
)
from bids_decoder.evaluation.curve_fit import FARTHEST
from bids_decoder.evaluation.multiple import headline_of
from bids_decoder.reports.blocks import Block, Figure, Section, Table, Text
from bids_decoder.reports.figures import picture
from bids_decoder.reports.results import Results, numeric, participants, truth
from bids_decoder.reports.scores import target_kind
from bids_decoder.reports.tables import interval
from bids_decoder.reports.wording import show, words

_NUMBERS = ("n_runs", "trials", "minutes", "value", "ci_low", "ci_high", "chance", "n")
_BOTH = ("decoder", "without-pretraining")
_CAVEATS = (
    "The test trials are the same for all points. Intervals are for other runs, trials and subsets "
    "of this participant. They assume that more runs would be like the ones that were measured: "
    "learning, fatigue and new sessions are not in the curve. Where scores hardly rise, or the fit "
    "goes beyond the data, the need of data is uncertain, which the width of its interval shows; "
    f"curves are not continued beyond {FARTHEST:g} times the data."
)


def sections(results: Results) -> list[Section]:
    """Return the section on the learning curve; none where it was not asked for."""
    curve = results.table("curve_metrics")
    if curve is None:
        return []
    curve, card = numeric(curve, *_NUMBERS), results.card("curve_metrics")
    needs = numeric(_required(results, NEEDED), *NEED_NUMBERS)
    fitted = numeric(_required(results, FITTED_CURVE), *_NUMBERS)
    fitted["measured"] = truth(fitted["measured"])
    metric = headline_of(target_kind(results))["metric"]
    names = _shown(curve, metric)
    blocks: list[Block] = [Text(said) for said in _say(curve, needs, metric, card)]
    for one in dict.fromkeys([metric, *curve["metric"]]):
        blocks.append(_figure(curve, fitted, names, one, card))
    blocks += [_curve_table(curve, names, metric), _needs_table(needs, names), Text(_CAVEATS)]
    return [Section("learning-curve", "Learning curve", blocks)]


def lines(results: Results) -> list[str]:
    """Return how much data the next score needs, in one line."""
    needs = results.table(NEEDED)
    if needs is None:
        return []
    metric = headline_of(target_kind(results))["metric"]
    own = _of(numeric(needs, *NEED_NUMBERS), "decoder", metric)
    return [f"sub-{results.participant}: {say_need(own.iloc[0], results.card('curve_metrics'))}"]


def group_sections(results: Results) -> list[Section]:
    """Return the section on the mean curve over participants; none with fewer than two."""
    table = results.table("group_metrics")
    metric = headline_of(target_kind(results))["metric"]
    if table is None or "n_runs" not in table:
        return []
    chosen = (table["source"] == "learning curve") & (table["metric"] == metric)
    mean = numeric(table[chosen & (table["statistic"] == "mean")], *_NUMBERS)
    mean = mean.drop_duplicates("n_runs").sort_values("n_runs")
    if mean.empty:
        return []
    people = {label: Results(results.output_dir, label)
              for label in participants(results.output_dir)}
    curves = {label: _of(numeric(table, *_NUMBERS), "decoder", metric)
              for label, own in people.items()
              if (table := own.table("curve_metrics")) is not None}
    drawn = picture(
        draw_mean(mean, list(curves.values()), metric), "learningcurve",
        f"{words(metric).capitalize()} by number of training runs: mean over participants with the "
        "95 % interval, and each participant.",
        f"Mean learning curve of {len(curves)} participants.",
    )
    blocks: list[Block] = [Figure(drawn), _mean_table(mean, metric)]
    blocks += [
        Text(f"sub-{label}: {said}.") for label in curves for said in _say_person(people[label])
    ]
    return [Section("learning-curve", "Learning curves", blocks)]


def _say_person(results: Results) -> list[str]:
    return [line.split(": ", 1)[1] for line in lines(results)]


def _required(results: Results, name: Any) -> pd.DataFrame:
    """Return a table that is written together with the curve."""
    table = results.table(name)
    return pd.DataFrame(columns=["model", "metric", "measured"]) if table is None else table


def _of(table: pd.DataFrame, model: str, metric: str) -> pd.DataFrame:
    return table[(table["model"] == model) & (table["metric"] == metric)]


def _shown(curve: pd.DataFrame, metric: str) -> dict[str, str]:
    """Return the models that are drawn: decoders, and the best baseline with all runs."""
    last = curve[(curve["metric"] == metric) & (curve["n_runs"] == curve["n_runs"].max())]
    baselines = last[~last["model"].isin(_BOTH)].sort_values("value", ascending=False)
    has_both = (last["model"] == _BOTH[1]).any()
    names = {model: name_of(model, is_pretrained=has_both)
             for model in _BOTH if (last["model"] == model).any()}
    return names | {model: f"{model} (best baseline)" for model in baselines["model"].head(1)}


def _say(
    curve: pd.DataFrame, needs: pd.DataFrame, metric: str, card: dict[str, Any]
) -> list[str]:
    own = _of(curve, "decoder", metric).sort_values("n_runs")
    first, last = own.iloc[0], own.iloc[-1]
    said = (
        f"With {first['n_runs']:.0f} training run(s) {words(metric)} of held-out trials is "
        f"{show(first['value'], metric)} (95 % interval {interval(first, metric)}), with "
        f"{last['n_runs']:.0f} it is {show(last['value'], metric)} ({interval(last, metric)}; "
        f"chance {show(last['chance'], metric)})."
    )
    targets = [
        f"{text[0].upper()}{text[1:]}." for _, row in _of(needs, "decoder", metric).iterrows()
        if (text := say_need(row, card))
    ]
    gain = say_pretraining(own, _of(curve, _BOTH[1], metric).sort_values("n_runs"))
    return [said, *dict.fromkeys(targets), *gain]


def _figure(
    curve: pd.DataFrame, fitted: pd.DataFrame, names: dict[str, str], metric: str,
    card: dict[str, Any],
) -> Figure:
    chosen, line = (table[table["metric"] == metric] for table in (curve, fitted))
    unit = "minutes" if chosen["minutes"].notna().all() else "trials"
    source = {"volumes": " Minutes are the duration of the runs.",
              "trials": " Minutes are those from the start of a run to the end of its last trial."}
    caption = (
        f"{words(metric).capitalize()} by amount of training data. Points: measured, mean over "
        f"{card.get('Orders')} nested orders of runs in {card.get('Folds')} fold(s), with 95 % "
        "intervals. Lines and bands: fit, dashed beyond the data. The baseline is the best one "
        "with all runs."
        f"{source.get(card.get('MinutesFrom', ''), '') if unit == 'minutes' else ''}"
    )
    own = chosen[chosen["model"] == "decoder"]
    alt = "Learning curve of the decoder: " + ", ".join(
        f"{row['n_runs']:.0f} runs {show(row['value'], metric)}" for _, row in own.iterrows()
    ) + "."
    name = f"learningcurve{metric.replace('_', '')}"
    return Figure(picture(draw_curves(chosen, line, names, unit), name, caption, alt))


def _curve_table(curve: pd.DataFrame, names: dict[str, str], metric: str) -> Table:
    chosen = curve[(curve["metric"] == metric) & curve["model"].isin(names)]
    header = ["training runs", "trials", "minutes", *names.values()]
    rows = []
    for size, part in chosen.groupby("n_runs", sort=True):
        by_model, row = part.set_index("model"), part.iloc[0]
        minutes = "n/a" if pd.isna(row["minutes"]) else f"{row['minutes']:.0f}"
        rows.append([f"{size:.0f}", f"{row['trials']:.0f}", minutes, *(
            f"{show(by_model.loc[model, 'value'], metric)} "
            f"({interval(by_model.loc[model], metric)})" for model in names
        )])
    caption = f"{words(metric).capitalize()} by number of training runs, with 95 % intervals"
    return Table(header, rows, caption, frozenset(header))


def _needs_table(needs: pd.DataFrame, names: dict[str, str]) -> Table:
    header = ["model", "metric", "score to reach", "runs in all", "minutes in all", "what it is"]
    rows = [
        [names[row["model"]], words(row["metric"]), show(row["target"], "accuracy"),
         _range(row, "n_runs", "runs"), _range(row, "minutes", "minutes"), row["verdict"]]
        for _, row in needs[needs["model"].isin(names)].iterrows()
    ]
    return Table(header, rows, "Training data that a score needs, with 95 % intervals; “more”: "
                 f"more than {FARTHEST:g} times the data", frozenset(header[2:5]))


def _range(row: pd.Series, name: str, ends: str) -> str:
    low, value, high = row[f"{ends}_low"], row[name], row[f"{ends}_high"]
    if pd.isna(low):
        return "n/a" if row["verdict"] != "beyond" or name == "minutes" else "more"
    shown = "more" if pd.isna(value) else f"{value:.0f}"
    return f"{shown} ({low:.0f} – {'more' if pd.isna(high) else f'{high:.0f}'})"


def _mean_table(mean: pd.DataFrame, metric: str) -> Table:
    header = ["training runs", "participants", words(metric), "95 % interval", "chance"]
    rows = [
        [f"{row['n_runs']:.0f}", f"{row['n']:.0f}", show(row["value"], metric),
         interval(row, metric), show(row["chance"], metric)] for _, row in mean.iterrows()
    ]
    return Table(header, rows, "Mean over participants", frozenset(header))
