"""Report of statistics over participants."""

from __future__ import annotations

import numpy as np
import pandas as pd

from bids_decoder.analyses.population.figures import draw_forest, map_pictures
from bids_decoder.errors import name_some
from bids_decoder.evaluation.population import RESULT_COLUMNS
from bids_decoder.evaluation.statistics import ALPHA
from bids_decoder.reports.blocks import Block, Figure, Section, Table, Text
from bids_decoder.reports.drawings_people import forest_drawing
from bids_decoder.reports.figures import picture
from bids_decoder.reports.results import Results, numeric
from bids_decoder.reports.scores import (
    Comparison,
    compare,
    headline,
    seen_participants,
    target_kind,
)
from bids_decoder.reports.tables import interval
from bids_decoder.reports.wording import (
    P_HEADER,
    p_cells,
    show,
    show_difference,
    show_p,
    show_p_with_least,
)

_NUMBERS = [name for name in RESULT_COLUMNS if name not in
            ("statistic", "method", "against", "participant")]
_TEXTS = (
    "target", "metric", "direction", "unit", "similarity", "split", "pool_size", "features",
    "voxels",
)
_WHY = (
    "A t-test of accuracies against chance is not shown. No true accuracy is below chance, so "
    "that this test rejects as soon as some participant carries information, and says nothing "
    "about the population (Allefeld, Görgen and Haynes 2016). Prevalence asks how common "
    "information is: from the number of participants with a significant result (Ince et al. "
    "2021), and from their permutations (Allefeld et al. 2016). Differences from baselines may "
    "have either sign; they are tested by flipping signs."
)
_TITLES = {"decoder": "decoder", "gallery": "among the gallery", "encoder": "encoding model",
           "reconstruction": "reconstruction", "rsa": "models of distances"}
FEW = 6
"""With fewer participants no sign-flip test can reach p = .05, and the report says so."""


def group_summary(results: Results) -> list[Block]:
    """Return mean, prevalence and differences of the headline measure in words."""
    table = read_statistics(results)
    if table is None or table.empty:
        return []
    top = _headline(table, results)
    if top is None:
        return []
    rows = _rows_of(table, top)
    return [Text(" ".join([*_say_mean(rows, top), *_say_prevalence(rows),
                           *_say_differences(rows, top)])), *_limits(rows)]


def group_sections(results: Results) -> list[Section]:
    """Return the section on statistics over participants; none where there are none."""
    table = read_statistics(results)
    if table is None or table.empty:
        return []
    blocks: list[Block] = [Text(_WHY)]
    for source in dict.fromkeys(table["source"]):
        blocks += _source_blocks(table[table["source"] == source], source, results)
    blocks += [*_null_notes(results), *_dependence(results)]
    blocks += [Figure(drawn) for drawn in map_pictures(results)]
    blocks += [Text(note) for note in results.card("group_metrics").get("MapsLeftOut", [])]
    blocks.append(Text(
        "All numbers, those of every participant and the mean without each of them included, are "
        "in group/desc-group_metrics.tsv. P values are not corrected over measures; the headline "
        "measure is the same for every dataset of a kind, whatever the results."
    ))
    return [Section("population", "Statistics over participants", blocks)]


def read_statistics(results: Results) -> pd.DataFrame | None:
    """Read the statistics of single scores; None where they were not made."""
    table = results.table("group_metrics")
    if table is None:
        return None
    # Learning curves have a section of their own.
    return numeric(table[table["source"].isin(_TITLES)], *_NUMBERS)


def _headline(table: pd.DataFrame, results: Results) -> Comparison | None:
    """Choose the measure by the rule that serves each participant."""
    means = table[(table["statistic"] == "mean") & (table["source"] == table["source"].iloc[0])]
    found = compare(means.drop_duplicates([name for name in _TEXTS if name in means]), {})
    return headline(found, target_kind(results))


def _rows_of(table: pd.DataFrame, measure: Comparison) -> pd.DataFrame:
    """Return all statistics of a measure."""
    own = measure.own
    same = table["source"] == own["source"]
    for name in _TEXTS:
        wanted = own.get(name)
        if name == "pool_size":
            wanted = None if pd.isna(wanted) else f"{wanted:.0f}"
        same &= table[name].fillna("") == ("" if pd.isna(wanted) else wanted)
    return table[same]


def _source_blocks(table: pd.DataFrame, source: str, results: Results) -> list[Block]:
    top = _headline(table, results)
    if top is None:
        return []
    rows, title = _rows_of(table, top), f"{top.title}, {_TITLES.get(source, source)}"
    people = rows[rows["statistic"] == "participant"]
    drawn = picture(
        draw_forest(rows, top.metric, title), f"forest{source}",
        f"{title}: each participant with the 95 % interval and the number of trials or images "
        "tested. Red: chance. Orange: the mean over participants. Dotted: where the true score of "
        "one more participant is expected.",
        f"Forest plot of {len(people)} participants: " + ", ".join(
            f"{row['participant']} {show(row['value'], top.metric)}"
            for _, row in people.iterrows()
        ) + ".",
    )
    return [
        Figure(drawn, forest_drawing(rows, title, top.metric)),
        *_overview(table, source), *_differences(rows, title),
        *_columns(rows, top, title), _influence(rows, top, title),
    ]


def _overview(table: pd.DataFrame, source: str) -> list[Table]:
    """List mean and prevalence of every measure."""
    means = table[table["statistic"] == "mean"].drop_duplicates(
        [name for name in _TEXTS if name in table]
    )
    effects, shares = [], []
    for measure in compare(means, {}):
        rows, own, metric = _rows_of(table, measure), measure.own, measure.metric
        ahead = _one(rows, "new_participant")
        effects.append([
            measure.title, f"{own['n']:.0f}", show(own["value"], metric), interval(own, metric),
            "n/a" if ahead is None else interval(ahead, metric), show(own["chance"], metric),
        ])
        shares.append([measure.title, *_prevalence_cells(rows)])
    title = _TITLES.get(source, source)
    header = ["measure", "participants", "mean", "95 % interval", "one more participant", "chance"]
    tables = [Table(header, effects, f"Mean of each measure, {title}", frozenset(header[1:]))]
    if any(set(cells[1:]) != {"n/a"} for cells in shares):
        header = ["measure", "significant", "prevalence (Bayes)", "p, nobody", "p, at most half",
                  "prevalence above"]
        tables.append(
            Table(header, shares, f"Prevalence by each measure, {title}", frozenset(header[1:]))
        )
    return tables


def _prevalence_cells(rows: pd.DataFrame) -> list[str]:
    bayes, least = _one(rows, "prevalence_bayesian"), _one(rows, "prevalence_permutation")
    major = _one(rows, "prevalence_majority")
    return [
        "n/a" if bayes is None else f"{bayes['n_significant']:.0f} of {bayes['n']:.0f}",
        "n/a" if bayes is None else f"{bayes['value']:.2f} ({_range(bayes)})",
        "n/a" if least is None else show_p(least["p"]),
        "n/a" if major is None else show_p_with_least(major),
        "n/a" if least is None or np.isnan(least["value"]) else f"{least['value']:.2f}",
    ]


def _differences(rows: pd.DataFrame, title: str) -> list[Table]:
    """List the difference from each baseline, where there are some."""
    header = ["baseline", "participants", "ahead by", "95 % interval", *P_HEADER]
    metric = str(rows["metric"].iloc[0])
    content = [
        [row["against"], f"{row['n']:.0f}", show_difference(row["value"], metric),
         interval(row, metric, show_difference), *p_cells(row)]
        for _, row in rows[rows["statistic"] == "difference"].iterrows()
    ]
    caption = f"Ahead of each baseline, over participants (sign flips): {title}"
    return [Table(header, content, caption, frozenset(header[1:]))] if content else []


def _columns(rows: pd.DataFrame, top: Comparison, title: str) -> list[Table]:
    """Return the table of groups and covariates, where some were named."""
    chosen = rows[rows["statistic"].isin(("group_mean", "group_difference", "slope"))]
    if chosen.empty:
        return []
    header = ["what", "of", "participants", "value", "95 % interval", *P_HEADER, "how"]
    content = [
        [row["statistic"].replace("_", " "), row["against"], f"{row['n']:.0f}",
         *_column_cells(row, top.metric), *p_cells(row), row["method"]]
        for _, row in chosen.iterrows()
    ]
    return [Table(header, content, f"Groups and covariates: {title}",
                  frozenset(header[2:7]))]


def _column_cells(row: pd.Series, metric: str) -> tuple[str, str]:
    """Return value and interval of a group, a difference of groups or a slope."""
    if row["statistic"] == "slope":
        return f"{row['value']:.3g}", _range(row)
    if "of F" in str(row["method"]):
        # Of three groups and more, the share of the variance that they explain.
        return f"R² {row['value']:.2f}", "n/a"
    form = show_difference if row["statistic"] == "group_difference" else show
    return form(row["value"], metric), interval(row, metric, form)


def _influence(rows: pd.DataFrame, top: Comparison, title: str) -> Table:
    """List each participant and the mean without this one."""
    header = ["participant", "n", "value", "95 % interval", "chance", *P_HEADER,
              "mean without"]
    without = rows[rows["statistic"] == "mean_without"].set_index("participant")["value"]
    metric = top.metric
    content = [
        [row["participant"], f"{row['n']:.0f}", show(row["value"], metric),
         interval(row, metric), show(row["chance"], metric), *p_cells(row),
         show(without[row["participant"]], metric)]
        for _, row in rows[rows["statistic"] == "participant"].iterrows()
    ]
    return Table(header, content, f"Influence of each participant: {title}",
                 frozenset(header[1:]), folded=len(content) > 12)


def _say_mean(rows: pd.DataFrame, top: Comparison) -> list[str]:
    own, metric = top.own, top.metric
    ahead = _one(rows, "new_participant")
    text = (f"Over {own['n']:.0f} participants the mean of {top.title} is "
            f"{show(own['value'], metric)} (95 % interval {interval(own, metric)}; chance "
            f"{show(own['chance'], metric)}).")
    if ahead is None or np.isnan(ahead["ci_low"]):
        return [text]
    return [text, f"The true score of one more participant is expected in "
                  f"{interval(ahead, metric)}."]


def _say_prevalence(rows: pd.DataFrame) -> list[str]:
    said = []
    bayes = _one(rows, "prevalence_bayesian")
    if bayes is None:
        said.append("Prevalence is not estimated: no participant has a test that can reach "
                    "p = .05 (--n-permutations).")
    else:
        said.append(
            f"{bayes['n_significant']:.0f} of {bayes['n']:.0f} participants are significant on "
            "their own; the most likely share of the population in which this test finds "
            f"information is {100 * bayes['value']:.0f} % (95 % highest-density interval "
            f"{100 * bayes['ci_low']:.0f} to {100 * bayes['ci_high']:.0f} %)."
        )
    whole, major = _one(rows, "prevalence_permutation"), _one(rows, "prevalence_majority")
    if whole is not None and major is not None:
        bound = "" if np.isnan(whole["value"]) else (
            f"; the largest prevalence that can be rejected is {100 * whole['value']:.0f} %"
        )
        said.append(f"By permutation, that nobody has information: p = {show_p(whole['p'])}; that "
                    f"at most half of the population has: p = {show_p(major['p'])}{bound}.")
    return said


def _say_differences(rows: pd.DataFrame, top: Comparison) -> list[str]:
    gaps = rows[rows["statistic"] == "difference"].sort_values("value")
    if gaps.empty:
        return []
    least = gaps.iloc[0]
    return [f"Against its strongest baseline “{least['against']}” the difference is "
            f"{show_difference(least['value'], top.metric)} (95 % interval "
            f"{interval(least, top.metric, show_difference)}; sign flips "
            f"p = {show_p_with_least(least)})."]


def _limits(rows: pd.DataFrame) -> list[Block]:
    """Say what so few participants cannot show."""
    n_people = int((rows["statistic"] == "participant").sum())
    if n_people >= FEW:
        return []
    flips, majority = 2 / 2**n_people, 0.5**n_people
    text = (
        f"{n_people} participants: the smallest possible two-sided p of a sign-flip test is "
        f"{show_p(flips)}, so that no difference can reach .05 over participants, whatever its "
        "size."
    )
    if majority > ALPHA:
        text += (
            " Neither can “at most half of the population has information” be rejected: its p is "
            f"at least {show_p(majority)}."
        )
    return [Text(f"{text} The results hold for these participants; what the population is like "
                 "needs more of them.", "warn")]


def _null_notes(results: Results) -> list[Block]:
    """Say where prevalence by permutation lacks null distributions."""
    card = results.card("group_metrics")
    without = card.get("WithoutNullDistributions", [])
    if not without:
        return []
    everybody = len(without) == len(card["Participants"])
    who = "any participant" if everybody else name_some(without)
    return [Text(
        f"Null distributions of {who} were not saved (desc-null_metrics.tsv): prevalence by "
        f"permutation is {'not computed' if everybody else 'computed without them'}."
    )]


def _dependence(results: Results) -> list[Block]:
    """Say what decoders of different participants share."""
    labels = [name.removeprefix("sub-") for name in
              results.card("group_metrics").get("Participants", [])]
    shared = [label for label in labels if seen_participants(
        Results(results.output_dir, label).card("decoder_model")
    )]
    if not shared:
        return []
    return [Text(
        f"Decoders of {len(shared)} participant(s) start from a model that was pretrained on "
        "other participants. What they share makes their scores more alike than those of "
        "independent participants; intervals and p values over participants hold for this "
        "pretrained model, or this set of participants, as given."
    )]


def _one(rows: pd.DataFrame, statistic: str) -> pd.Series | None:
    found = rows[rows["statistic"] == statistic]
    return None if found.empty else found.iloc[0]


def _range(row: pd.Series) -> str:
    if not np.isfinite([row["ci_low"], row["ci_high"]]).all():
        return "n/a"
    return f"{row['ci_low']:.2g} – {row['ci_high']:.2g}"
