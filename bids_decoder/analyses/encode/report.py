"""Report of encoding models."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from bids_decoder.analyses.encode.figures import draw_ceiling, draw_differences
from bids_decoder.bids.writer import read_table
from bids_decoder.reports.blocks import Block, Figure, Headline, Section, Table, Text, Tone
from bids_decoder.reports.figures import picture
from bids_decoder.reports.figures_decoding import draw_metrics
from bids_decoder.reports.figures_maps import encoder_pictures
from bids_decoder.reports.geometry import load
from bids_decoder.reports.results import Results, numeric, participants
from bids_decoder.reports.scores import Comparison, compare
from bids_decoder.reports.tables import rounded
from bids_decoder.reports.wording import P_HEADER, p_cells, show, show_p, show_p_with_least, words

VOXELS = {
    "common": "the same selection of voxels for all encoders, made on training trials",
    "selected": "each encoder's own selection, made on training trials",
    "region": "all voxels of the region that the encoders predict",
}
_CAVEATS = (
    "Voxels, number of epochs and penalties were chosen on training trials set aside; held-out "
    "stimuli were predicted once.",
    "The mean correlation over a region falls with every voxel in it that does not respond: "
    "compare encoders on the same voxels only.",
    "The ceiling is estimated from few repeats and is itself noisy; a quotient above 1 is noise.",
    "A difference between two encoders holds for these networks, this amount of data and "
    "these features, not for all encoders of their kind.",
)


def encoders_compared(results: Results, voxels: str) -> list[Comparison]:
    """Read the metrics of one set of voxels, the chosen encoder before the others."""
    table = results.table("encoder_metrics")
    if table is None:
        return []
    return compare(
        table[table["voxels"] == voxels], {"decoder": results.card("encoder_model").get("encoder")}
    )


def summary(results: Results) -> list[Block]:
    """Return the main result of the encoding model in one sentence, where there is one."""
    accuracy = _measure(encoders_compared(results, "common"), "correlation")
    if accuracy is None:
        return []
    row = accuracy.own
    best = accuracy.best_baseline
    beside = "" if best is None else (
        f", beside {show(best['value'], 'correlation')} of the best other encoder, {best['model']}"
    )
    behind = best is not None and not accuracy.gain > 0
    verdict = (
        f" It does not beat {best['model']}, which is the better choice on these data."
        if behind else ""
    )
    tone: Tone = "warn" if behind or not accuracy.beats_chance else "plain"
    return [Text(
        f"Encoding: {accuracy.model} predicts the responses of the selected voxels to "
        f"{row['n']:.0f} held-out images with a mean correlation of "
        f"{show(row['value'], 'correlation')} (95 % interval "
        f"{show(row['ci_low'], 'correlation')} to {show(row['ci_high'], 'correlation')}, "
        f"permutation p = {show_p_with_least(row)}){beside}.{verdict}", tone,
    )]


def sections(results: Results) -> list[Section]:
    """Return the section on the encoding model; none where none was fitted."""
    common = encoders_compared(results, "common")
    accuracy = _measure(common, "correlation")
    if accuracy is None:
        return []
    card = results.card("encoder_model")
    blocks: list[Block] = [_headline(accuracy), *summary(results), _figure(common, results)]
    blocks.append(_accuracy_table(results))
    blocks += _differences(results)
    blocks += _ceiling(results, card)
    blocks += [Figure(pic) for pic in encoder_pictures(results)]
    blocks.append(_identification_table(results))
    blocks.append(_card_table(card))
    blocks.append(Text("How to read these numbers: " + " ".join(_CAVEATS)))
    return [Section("encoding", "Encoding", blocks)]


def group_sections(results: Results) -> list[Section]:
    """Return the section on the encoding models of all participants; none without any."""
    rows = []
    for label in participants(results.output_dir):
        found = encoders_compared(Results(results.output_dir, label), "common")
        accuracy = _measure(found, "correlation")
        if accuracy is None:
            continue
        row, best = accuracy.own, accuracy.best_baseline
        rows.append([
            f"sub-{label}", accuracy.model, f"{row['value']:.3f}", _interval(row),
            *p_cells(row), _of_model(found, "correlation_normalised", accuracy.model),
            "n/a" if best is None else f"{best['model']}: {best['value']:.3f}",
        ])
    if not rows:
        return []
    header = ["participant", "encoder", "correlation", "95 % interval", *P_HEADER,
              "of what repeats allow", "best other encoder"]
    caption = f"Accuracy on held-out images, {VOXELS['common']}"
    return [Section("encoding", "Encoding", [Table(header, rows, caption, frozenset(header[2:7]))])]


def lines(results: Results) -> list[str]:
    """Return the main result in one line."""
    return [
        _in_one_line(results.participant, read_table(path))
        for path in results.files("encoder_metrics")
    ]


def _in_one_line(label: str, metrics: pd.DataFrame) -> str:
    accuracy = metrics[(metrics["metric"] == "correlation") & (metrics["voxels"] == "common")]
    row = accuracy.iloc[0]
    low, high, p = (rounded(row[column]) for column in ("ci_low", "ci_high", "p"))
    others = ", ".join(f"{r['model']} {rounded(r['value'])}" for _, r in accuracy[1:].iterrows())
    return (
        f"sub-{label}: {row['model']} predicts {row['n_voxels']} voxels with a mean correlation of "
        f"{rounded(row['value'])} over {row['n']} images, 95 % interval {low} to {high}, p = {p}"
        + (f"; beside {others}" if others else "")
    )


def _measure(found: list[Comparison], metric: str) -> Comparison | None:
    return next((c for c in found if c.metric == metric), None)


def _headline(accuracy: Comparison) -> Headline:
    row, best = accuracy.own, accuracy.best_baseline
    against = [("chance", "0"), ("95 % interval", _interval(row)),
               ("p (permutation)", show_p_with_least(row))]
    if best is not None:
        against.append((f"best other encoder ({best['model']})",
                        show(best["value"], "correlation")))
    return Headline(show(row["value"], "correlation"),
                    f"mean correlation over voxels · {accuracy.model}", against)


def _interval(row: pd.Series) -> str:
    if not np.isfinite([row["ci_low"], row["ci_high"]]).all():
        return "n/a"
    return f"{row['ci_low']:.3f} – {row['ci_high']:.3f}"


def _figure(common: list[Comparison], results: Results) -> Figure:
    shown = [c for c in common if c.metric.startswith("correlation")]
    top1 = [c for c in encoders_compared(results, "selected")
            if c.metric == "top1" and c.own["similarity"] == "cosine"
            and c.own["unit"] == "single"]
    return Figure(picture(
        draw_metrics([*shown, *top1]),
        "encoding",
        "The chosen encoder (orange) and the others on the same held-out images. Accuracy on "
        f"{VOXELS['common']}; identification on {VOXELS['selected']}. Bars: 95 % intervals. "
        "Dashed red: chance.",
        "; ".join(f"{c.title}: {show(c.own['value'], c.metric)}" for c in [*shown, *top1]) + ".",
    ))


def _accuracy_table(results: Results) -> Table:
    header = ["encoder", "correlation", "95 % interval", *P_HEADER, "of what repeats allow",
              "voxels with q ≤ .05", "voxels"]
    rows: list[list[str]] = []
    groups, strong = [], []
    for voxels, text in VOXELS.items():
        found = encoders_compared(results, voxels)
        accuracy = _measure(found, "correlation")
        if accuracy is None:
            continue
        groups.append(len(rows))
        strong.append(len(rows) + 1)
        rows.append([text])
        for _, row in accuracy.rows.iterrows():
            rows.append([
                row["model"], f"{row['value']:.3f}", _interval(row), *p_cells(row),
                _of_model(found, "correlation_normalised", row["model"]),
                _of_model(found, "share_significant", row["model"]), str(row["n_voxels"]),
            ])
    return Table(header, rows, "Accuracy on held-out images", frozenset(header[1:]),
                 frozenset(strong), frozenset(groups))


def _of_model(found: list[Comparison], metric: str, model: str) -> str:
    measure = _measure(found, metric)
    if measure is None:
        return "n/a"
    row = measure.rows[measure.rows["model"] == model]
    return f"{100 * row['value'].iloc[0]:.0f}\N{NO-BREAK SPACE}%" if len(row) else "n/a"


def _differences(results: Results) -> list[Block]:
    table = results.table("encoder_comparisons")
    if table is None or table.empty:
        return []
    table = numeric(table[table["voxels"] == "common"], "value", "ci_low", "ci_high", "p")
    pic = picture(
        draw_differences(table), "encodinggain",
        "Where a gain comes from: paired differences on the same images and voxels. Orange: the "
        "95 % interval excludes 0.",
        "; ".join(f"{r['first']} minus {r['second']}: {r['value']:.3f}"
                  for _, r in table.iterrows()) + ".",
    )
    header = ["encoders", "difference", "95 % interval", "p", "what it isolates"]
    rows = [
        [f"{r['first']} − {r['second']}", f"{r['value']:+.3f}",
         f"{r['ci_low']:+.3f} – {r['ci_high']:+.3f}", show_p(r["p"]), r["isolates"]]
        for _, r in table.iterrows()
    ]
    return [Figure(pic), Table(header, rows, "Where a gain comes from", frozenset(header[1:4]))]


def _ceiling(results: Results, card: dict[str, Any]) -> list[Block]:
    source = {"test": "held-out", "train": "training"}.get(str(card.get("ceiling_from")))
    if source is None:
        return [Text("No stimulus was repeated often enough: there is no noise ceiling, and "
                     "accuracy is not normalised.", "warn")]
    label = str(card["encoder"]).replace("-", "")
    maps = [_values(results, "encoder_map", label=label, stat=stat)
            for stat in ("correlation", "ceiling")]
    selected, predicted = (_values(results, key) for key in ("encoder_mask", "encoder_map_mask"))
    if any(values is None for values in (selected, predicted, *maps)):
        return []
    here = predicted > 0
    pic = picture(
        draw_ceiling(maps[0][here], maps[1][here], selected[here] > 0),
        "encodingceiling",
        f"Accuracy of each voxel against the noise ceiling, estimated from repeats of {source} "
        "stimuli. Dashed: as good as repeats allow.",
        f"{int(here.sum())} voxels.",
    )
    return [Figure(pic)]


def _values(results: Results, key: str, **entities: str) -> np.ndarray | None:
    paths = results.files(key, **entities)
    if not paths:
        return None
    return np.nan_to_num(np.asanyarray(load(paths[0]).dataobj, dtype=np.float32)).ravel()


def _identification_table(results: Results) -> Table:
    header = ["encoder", "measure", "value", "chance", "95 % interval", *P_HEADER]
    rows = [
        [str(row["model"]), c.title, show(row["value"], c.metric), show(row["chance"], c.metric),
         f"{show(row['ci_low'], c.metric)} – {show(row['ci_high'], c.metric)}", *p_cells(row)]
        for c in encoders_compared(results, "selected") if c.direction
        for _, row in c.rows.iterrows()
    ]
    return Table(header, rows, "Identification of held-out images by their predicted patterns",
                 frozenset(header[2:]), folded=True)


def _card_table(card: dict[str, Any]) -> Table:
    kept = ("encoder", "n_trials", "n_voxels", "n_inner_fitted", "n_inner_chosen_by", "chosen",
            "image_size", "channels", "n_inputs", "n_parameters", "features", "seed")
    rows = [[words(name), str(card[name])] for name in kept if card.get(name) is not None]
    return Table(["property", "value"], rows, "The chosen encoder")
