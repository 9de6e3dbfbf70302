"""Group report of decoding one volume per participant."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.figure import Figure as MplFigure

from bids_decoder.analyses.subjects.interfaces import CONFOUND
from bids_decoder.bids.names import sidecar_path
from bids_decoder.evaluation.multiple import holm
from bids_decoder.evaluation.statistics import ALPHA
from bids_decoder.files import read_json
from bids_decoder.reports.blocks import Block, Figure, Section, Table, Text
from bids_decoder.reports.drawings import confusion_figure
from bids_decoder.reports.figures import image_only, new_figure, picture, styled
from bids_decoder.reports.figures_maps import describe
from bids_decoder.reports.geometry import load
from bids_decoder.reports.results import Results, numeric
from bids_decoder.reports.wording import show, show_p

_NUMBERS = ("value", "chance", "ci_low", "ci_high", "p")
_TITLES = {
    "balanced_accuracy": "balanced accuracy", "accuracy": "accuracy",
    "nmi": "normalised mutual information", "macro_auc": "area under the ROC curve, macro mean",
}


def group_summary(results: Results) -> list[Block]:
    """Return scores, curves and confusions, where one volume per participant was decoded."""
    if results.table("subjects_metrics") is None:
        return []
    metrics = numeric(results.table("subjects_metrics"), *_NUMBERS)
    card = read_json(sidecar_path(results.files("subjects_metrics")[0]))
    own = _own_predictions(results)
    inner = own[own["external"] == "False"]
    return [
        Text(
            f"{len(inner)} participants, {inner['label'].nunique()} labels, "
            f"{card['n_repeats']} rounds of {card['n_splits']} folds; "
            "a participant is never in training and test at once. "
            "Intervals: over participants."
        ),
        *_site_note(card), *_confound_notes(metrics, card), _metrics_table(metrics),
        Figure(picture(
            draw_curves(results.table("subjects_roc")), "roc",
            "Each label against the rest, mean probability over rounds.", "ROC curves.",
        )),
        confusion_figure(
            inner["label"], inner["predicted_label"], "subjectsconfusion",
            "Participants of each label (row) decoded as each label (column).",
            "Confusion matrix.",
        ),
    ]


def group_sections(results: Results) -> list[Section]:
    """Return the sections on external labels, the plane of participants, and the maps."""
    if results.table("subjects_metrics") is None:
        return []
    own = _own_predictions(results)
    outer = own[own["external"] == "True"]
    return [*_external(outer), _plane(results), _maps(results)]


def _own_predictions(results: Results) -> pd.DataFrame:
    predictions = results.table("subjects_predictions")
    return predictions[predictions["model"] == results.table("subjects_metrics")["model"].iloc[0]]


def _site_note(card: dict) -> list[Block]:
    site = card.get("site_confound")
    if site is None:
        return [Text("No site was named, so that nothing is known about confounds of site.",
                     "warn")]
    serious = site["p"] <= ALPHA and site["balanced_accuracy"] > site["chance"]
    return [Text(
        f"Site alone predicts the label: balanced accuracy {site['balanced_accuracy']:.2f} "
        f"(chance {site['chance']:.2f}, p = {show_p(site['p'])}).",
        "bad" if serious else "good",
    )]


def _confound_notes(metrics: pd.DataFrame, card: dict) -> list[Block]:
    """Say what each confound alone decodes, corrected for their number."""
    own = metrics[metrics["model"].str.startswith(CONFOUND)]
    own = own[own["metric"] == "balanced_accuracy"]
    notes: list[Block] = []
    for row, p in zip(own.itertuples(), holm(own["p"].to_numpy(float)), strict=True):
        tested = "not tested" if np.isnan(p) else f"p = {show_p(p)}, corrected over confounds"
        notes.append(Text(
            f"{row.model.removeprefix(CONFOUND)} alone: balanced accuracy {row.value:.2f} "
            f"(chance {row.chance:.2f}, {tested}).",
            "bad" if p <= ALPHA else "plain",
        ))
    if card.get("removed_confounds"):
        names = ", ".join(card["removed_confounds"])
        notes.append(Text(
            f"Regressed out of the volumes, with weights of the training participants of each "
            f"fold: {names}."
        ))
    return notes


def _metrics_table(metrics: pd.DataFrame) -> Table:
    header = ["model", "measure", "value", "95 % interval", "chance", "p"]
    rows = [
        [row.model, _TITLES[row.metric], show(row.value, row.metric),
         f"{show(row.ci_low, row.metric)} – {show(row.ci_high, row.metric)}",
         show(row.chance, row.metric), show_p(row.p)]
        for row in metrics.itertuples()
    ]
    return Table(header, rows, "All models on the same folds", frozenset(header[2:]))


def _external(outer: pd.DataFrame) -> list[Section]:
    if outer.empty:
        return []
    counts = outer.groupby(["model", "label", "predicted_label"], sort=False).size()
    rows = [[model, label, guess, str(n)] for (model, label, guess), n in counts.items()]
    return [Section("external", "External labels", [
        Text("No model saw these labels; a robust model spreads them over what they resemble."),
        Table(["model", "true label", "decoded as", "participants"], rows,
              "Participants with external labels", frozenset({"participants"})),
    ])]


def _plane(results: Results) -> Section:
    table = numeric(results.table("subjects_embedding"), "x", "y")
    method = table["method"].iloc[0]
    return Section("plane", "Participants in a plane", [Figure(picture(
        draw_plane(table), "plane",
        f"{method} of the last features of the network fitted on all non-external participants "
        "(left: training participants are apart by construction) and of the grey values (right). "
        "Crosses: external labels.",
        f"{method} of participants.",
    ))])


def _maps(results: Results) -> Section:
    paths = results.files("subjects_map")
    mean = np.asarray(load(results.files("subjects_mean")[0]).dataobj)
    blocks: list[Block] = []
    for number, path in enumerate(paths, start=1):
        values = np.asarray(load(path).dataobj)
        blocks.append(Figure(picture(
            draw_mosaic(values, mean), f"occlusion{number}",
            f"{describe(path)}, on the mean volume.", describe(path), "png",
        )))
    return Section("occlusion", "Occlusion", blocks)


@styled
def draw_curves(table: pd.DataFrame) -> MplFigure:
    """Draw ROC curves, one panel per label, one line per model."""
    table = numeric(table, "false_positive_rate", "true_positive_rate")
    labels = list(dict.fromkeys(table["label"]))
    figure = new_figure(2.6 * len(labels), 2.8)
    for axes, label in zip(figure.subplots(1, len(labels), squeeze=False)[0], labels, strict=True):
        for model, part in table[table["label"] == label].groupby("model", sort=False):
            axes.plot(part["false_positive_rate"], part["true_positive_rate"], label=model, lw=1.2)
        axes.plot([0, 1], [0, 1], ls="--", lw=0.8, color="0.6")
        axes.set_title(label)
        axes.set_xlabel("false positive rate")
    figure.axes[0].set_ylabel("true positive rate")
    figure.axes[-1].legend(fontsize=6)
    return figure


@styled
def draw_plane(table: pd.DataFrame) -> MplFigure:
    """Draw participants in the plane, coloured by label."""
    figure = new_figure(8, 3.8)
    panels = figure.subplots(1, 2)
    for axes, source in zip(panels, ("features", "voxels"), strict=True):
        part = table[table["source"] == source]
        for label, group in part.groupby("label"):
            mark = "x" if (group["external"] == "True").any() else "o"
            axes.scatter(group["x"], group["y"], s=14, marker=mark, label=label, alpha=0.8)
        axes.set_title(source)
        axes.set_xticks([])
        axes.set_yticks([])
    panels[1].legend(fontsize=7)
    return figure


@styled
def draw_mosaic(values: np.ndarray, under: np.ndarray) -> MplFigure:
    """Draw twelve slices of a map over the mean volume."""
    chosen = np.linspace(0.1, 0.9, min(12, values.shape[2])) * (values.shape[2] - 1)
    figure = new_figure(9.5, 3.6)
    limit = float(np.nanpercentile(np.abs(values), 99.5)) or 1.0
    image = None
    for axes, number in zip(figure.subplots(2, 6).flat, chosen.round().astype(int), strict=False):
        axes.imshow(under[..., number].T, cmap="gray", origin="lower")
        image = axes.imshow(values[..., number].T, cmap="coolwarm", origin="lower", vmin=-limit,
                            vmax=limit, alpha=0.55)
    for axes in figure.axes:
        image_only(axes)
    figure.colorbar(image, ax=figure.axes, fraction=0.02, pad=0.01)
    return figure
