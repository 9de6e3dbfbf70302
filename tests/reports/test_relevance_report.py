"""Maps of decisions in the report, with what can be said against them."""

import numpy as np

from bids_decoder.analyses.explain.report import sections
from bids_decoder.bids.writer import save_nifti
from bids_decoder.reports.results import Results

AFFINE = np.diag([3.0, 3.0, 3.5, 1.0])
NOTES = {"method": "layer-wise relevance propagation", "relevance_per_logit": 0.93,
         "likeness_randomised_output": 0.2, "likeness_randomised_all": 0.01}


def add_maps(tree, labels=("face", "house")):
    for label in labels:
        values = np.zeros((20, 12, 10), np.float32)
        values[8:12, 3:8, 4:7] = np.random.default_rng(0).random((4, 5, 3)) + 1
        save_nifti(
            tree.path("relevance_map", sub="01", task="see", contrast=label), values, AFFINE,
            metadata={"Description": f"Where decisions for {label} came from", "Label": label,
                      "n_trials": 7, **NOTES},
        )


def test_no_section_without_maps(tree):
    assert sections(Results(tree.out, "01")) == []


def test_maps_and_checks_are_shown(tree):
    add_maps(tree)
    (section,) = sections(Results(tree.out, "01"))
    assert len(section.pictures) == 2
    made, checks, *_, caveat = section.blocks
    assert ["method", NOTES["method"]] in made.rows
    assert [value for _, value in checks.rows] == ["0.93", "0.2", "0.01"]
    assert "They are no test" in caveat.text
