"""Report of pretraining: participants and stimuli that the model saw, and its learning."""

from __future__ import annotations

from typing import Any

import pandas as pd

from bids_decoder.reports.blocks import Block, Figure, Section, Table, Text, absent
from bids_decoder.reports.figures import picture
from bids_decoder.reports.figures_decoding import draw_learning
from bids_decoder.reports.results import Results, participants
from bids_decoder.reports.scores import seen_participants


def group_sections(results: Results) -> list[Section]:
    """Return the sections on pretraining; none where no trials are decoded."""
    if "split" not in results.plan:
        return []
    return [pretraining_section(results), group_learning(results)]


def pretraining_section(results: Results) -> Section:
    """Return the section on participants and stimuli that the pretrained model saw."""
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
        Table(["participant", "part in pretraining"], rows, "Participants of pretraining"),
        *_prior(results, card),
    ]
    test_stimuli = set(map(str, results.plan.get("split", {}).get("test_stimuli", [])))
    if test_stimuli and "stimuli_seen" in card:
        shared = len(test_stimuli & set(map(str, card["stimuli_seen"])))
        tone = "bad" if shared else "good"
        blocks.append(
            Text(f"{shared} of {len(test_stimuli)} test stimuli were seen in pretraining.", tone)
        )
    return Section("pretraining", "Pretraining", blocks)


def _prior(results: Results, card: dict[str, Any]) -> list[Block]:
    """Return whether the model holds maps of the source participants, where it could."""
    if card.get("decoder") != "troi" or not results.setting("network", "group_prior", False):
        return []
    if "common" in card:
        return [Text(f"The maps of the source participants in the space {card['common']['space']} "
                     "are a prior for the voxels of new participants in this space.")]
    return [Text("The model holds no prior for the voxels of new participants: the responses of "
                 "the source participants are not on one grid of one standard space.")]


def _held_out(results: Results, card: dict[str, Any]) -> list[str]:
    return card.get("holdout", results.setting("execution", "holdout_label", []))


def _curves(table: pd.DataFrame) -> str:
    """Return what a learning table holds values of, as the beginning of a sentence."""
    names = {"loss": "loss", "val_score": "validation score", "n_voxels": "number of voxels"}
    held = [words for column, words in names.items()
            if column in table and table[column].notna().any()]
    return " and ".join(held).capitalize()


def group_learning(results: Results) -> Section:
    """Return the section with the learning curve of pretraining."""
    table = results.table("pretrained_learning")
    loss = results.card("pretrained_model").get("loss", [])
    if table is None and loss:
        table = pd.DataFrame({"stage": "pretrain", "epoch": range(1, len(loss) + 1), "loss": loss})
    if table is None:
        return Section(
            "learning", "Learning",
            [absent("The learning curve", "no learning table of pretraining is on disk.")],
        )
    pic = picture(
        draw_learning(table), "pretraining", f"{_curves(table)} of pretraining by epoch.",
        "Learning curves.",
    )
    return Section("learning", "Learning", [Figure(pic)])
