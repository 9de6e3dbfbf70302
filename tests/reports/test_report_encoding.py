"""The section on encoding models: there when there is something to show, and honest."""

import numpy as np
import pandas as pd
import pytest
from report_tree import AFFINE, SHAPE, Tree

from bids_decoder.analyses.assemble import build_group_report, build_participant_report
from bids_decoder.analyses.encode.report import (
    group_sections,
    sections,
    summary,
)
from bids_decoder.analyses.facts import collect_facts
from bids_decoder.bids.writer import save_nifti, save_table
from bids_decoder.evaluation.tables import ENCODING_COLUMNS
from bids_decoder.files import write_json
from bids_decoder.reports.results import Results


class EncodedTree(Tree):
    """A tree with encoding models of the first participant."""

    def write_encoder(self, person, own=0.4, ridge=0.3, ceiling="test"):
        at = {"sub": person, "task": "see"}
        rows = []
        for voxels in ("region", "common", "selected"):
            for model, value in (("etecrm", own), ("ridge", ridge)):
                shared = {"model": model, "voxels": voxels, "unit": "averaged", "split": "test",
                          "n": 20, "n_voxels": 30, "p": 0.001, "chance": 0.0}
                for metric, factor in (("correlation", 1.0), ("correlation_normalised", 2.0)):
                    rows.append({**shared, "metric": metric, "value": factor * value,
                                 "ci_low": factor * value - 0.05,
                                 "ci_high": factor * value + 0.05})
                rows.append({**shared, "metric": "share_significant", "value": 0.5, "p": None})
        table = pd.DataFrame(rows, columns=list(ENCODING_COLUMNS))
        save_table(self.path("encoder_metrics", **at), table)
        save_table(self.path("encoder_comparisons", **at), pd.DataFrame([{
            "first": "etecrm", "second": "ridge", "isolates": "all of it", "voxels": "common",
            "value": own - ridge, "ci_low": 0.02, "ci_high": 0.2, "p": 0.01, "n": 20,
            "n_voxels": 30,
        }]))
        inside = np.zeros(SHAPE, dtype=bool)
        inside[4:8, 4:8, 3:5] = True
        for stat in ("correlation", "ceiling"):
            values = np.where(inside, self.rng.uniform(0.2, 0.8, SHAPE), 0)
            save_nifti(self.path("encoder_map", **at, label="etecrm", stat=stat), values, AFFINE,
                       metadata={"Description": f"Map of {stat}."})
        save_nifti(self.path("encoder_mask", **at), inside, AFFINE,
                   metadata={"n_candidates": 900, "n_voxels": 32})
        save_nifti(self.path("encoder_map_mask", **at), inside, AFFINE)
        model = self.path("encoder_model", **at)
        model.parent.mkdir(parents=True, exist_ok=True)
        model.write_bytes(b"weights")
        write_json(model.with_suffix(".json"), {
            "encoder": "etecrm", "n_voxels": 32, "features": "gabor", "beside": ["ridge"],
            "ceiling_from": ceiling, "chosen": {"epochs": 5},
        })
        return self


@pytest.fixture
def tree(tmp_path):
    return EncodedTree(tmp_path, images=False).write()


def text_of(section):
    return " ".join(getattr(block, "text", "") for block in section.blocks)


def test_no_encoder_no_section(tree):
    results = Results(tree.out, "01")
    assert sections(results) == [] and summary(results) == []
    assert group_sections(Results(tree.out)) == []


def test_page_of_a_participant_and_of_the_group(tree):
    tree.write_encoder("01")
    page = build_participant_report(tree.out, "01").read_text(encoding="utf-8")
    for text in ("mean correlation of 0.4 (95 % interval 0.35 to 0.45", "etecrm − ridge", "+0.100",
                 "estimated from repeats of held-out stimuli", "80\N{NO-BREAK SPACE}%"):
        assert text in page
    assert "does not beat ridge" not in page
    group = build_group_report(tree.out).read_text(encoding="utf-8")
    assert 'id="encoding"' in group and "ridge: 0.300" in group


def test_a_model_that_is_not_better_is_said_to_be_so(tree):
    tree.write_encoder("01", own=0.2)
    (note,) = summary(Results(tree.out, "01"))
    assert "does not beat ridge" in note.text and note.tone == "warn"


def test_without_repeats_there_is_no_ceiling(tree):
    tree.write_encoder("01", ceiling=None)
    (section,) = sections(Results(tree.out, "01"))
    assert "there is no noise ceiling" in text_of(section)
    assert "encoding-ceiling" not in collect_facts(tree.out)["steps"]


def test_methods_name_what_was_fitted(tree):
    steps = collect_facts(tree.write_encoder("01").out)["steps"]
    assert {"encoder-etecrm", "encoder-ridge", "encoding-accuracy", "encoding-ceiling",
            "encoding-screening", "encoding-comparisons"} <= set(steps)
    assert "encoder-twostep-plain" not in steps
