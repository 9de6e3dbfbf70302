"""Everything that can be chosen has its sentence in the methods text."""

from types import SimpleNamespace
from typing import get_args, get_type_hints

import numpy as np
import pandas as pd
import pytest

from bids_decoder.analyses.cross import methods as cross
from bids_decoder.analyses.cross.report import _say_least
from bids_decoder.analyses.decode.methods import _baselines, _pools, _selection, _statistics
from bids_decoder.analyses.encode import methods as encode
from bids_decoder.analyses.facts import collect_headings
from bids_decoder.analyses.prepare import methods as prepare
from bids_decoder.bids.names import derivative_path
from bids_decoder.bids.writer import save_nifti
from bids_decoder.config import Troi
from bids_decoder.files import write_json
from bids_decoder.glm.estimators import ESTIMATORS
from bids_decoder.glm.reliability import REPEATED
from bids_decoder.reports.boilerplate import sources
from bids_decoder.reports.results import Results
from bids_decoder.training.decoders import DECODERS
from bids_decoder.training.encoders import ENCODERS
from bids_decoder.training.selectors import SELECTORS

KNOWN = {step for group in collect_headings().values() for step in group}


@pytest.mark.parametrize("name", [n for n in SELECTORS if n != "troi-budget"])
def test_every_selector_has_a_text(name):
    assert f"select-{name}" in KNOWN


@pytest.mark.parametrize("name", ENCODERS)
def test_every_encoder_has_a_text(name):
    assert f"encoder-{name}" in KNOWN


@pytest.mark.parametrize("name", ESTIMATORS)
def test_every_estimator_has_a_text(name):
    assert f"glm-{name}" in KNOWN


@pytest.mark.parametrize("step", sorted(KNOWN))
def test_every_step_has_a_file(step):
    assert (sources() / f"{step}.md").read_text(encoding="utf-8").strip()


@pytest.mark.parametrize("name", [n for n in DECODERS if n != "troi"])
def test_every_decoder_on_volumes_has_a_text(name):
    assert any(step.startswith(f"decoder-{name}") for step in KNOWN)


@pytest.mark.parametrize("how", get_args(get_type_hints(Troi)["stage2_trunk"]))
def test_every_way_with_the_trunk_has_a_text(how):
    assert f"stage2-trunk-{how}" in KNOWN


@pytest.mark.parametrize(("kind", "has_default"), [("category", True), ("value", False)])
def test_only_labels_have_a_default_penalty(tmp_path, kind, has_default):
    mask = tmp_path / "sub-01_label-TROI_mask.nii.gz"
    write_json(tmp_path / "sub-01_label-TROI_mask.json", {})
    results = SimpleNamespace(
        settings={"troi": {"selector": "graded", "stage2": "none"}},
        files=lambda name, **entities: [mask] if name == "troi_mask" else [],
        card=lambda name: {"closed_form": True, "target_kind": kind},
    )
    values = _selection(results)["closed-form"]
    text = (sources() / "closed-form.md").read_text(encoding="utf-8").format(**values)
    assert ("or a tenth of it" in text) == has_default
    assert text.rstrip().endswith(".") and "{" not in text


def cells(*rows):
    """Metrics of cells: kinds of training and test, split, null, p values."""
    names = ("train", "test", "split", "null", "n_null", "p_holm", "p_names")
    table = pd.DataFrame([dict(zip(names, row, strict=True)) for row in rows])
    return SimpleNamespace(
        table=lambda name: table.assign(model="decoder", metric="balanced_accuracy"),
        plan={"target_kind": "category"}, card=lambda name: {"target_kind": "category"},
    )


WITHIN = ("a", "a", "cv", "refitted", 99, 0.02, None)
ACROSS = ("a", "b", "test", "fixed", 99, 0.02, 0.5)


@pytest.mark.parametrize(("rows", "expected"), [
    ([ACROSS], {"cross", "cross-test", "cross-names"}),
    ([ACROSS, WITHIN], {"cross", "cross-test", "cross-names", "cross-within",
                        "cross-within-test", "cross-corrected"}),
    ([WITHIN, ("b", "b", *WITHIN[2:])], {"cross-within", "cross-within-test", "cross-corrected"}),
    ([("a", "b", "cv", "none", 0, None, None), ("a", "a", "cv", "none", 0, None, None)],
     {"cross", "cross-folds", "cross-within"}),
])
def test_cross_decoding_tells_only_what_its_cells_were(rows, expected):
    assert set(cross.steps(cells(*rows))) == expected


def test_within_kinds_alone_is_no_comparison():
    text = cross.steps(cells(WITHIN))["cross-within"]["decoders"]
    assert text == "Decoders (a)"


def test_cells_that_no_test_can_decide_are_said():
    table = pd.DataFrame({"p_min": [0.01, 0.01], "p_holm": [0.5, None]})
    assert _say_least(table) == ""
    assert "smallest possible p-value of 6 cells is 0.06" in _say_least(
        pd.concat([table.assign(p_holm=0.5)] * 3))


def encoding(encoder, *beside, n_permutations=99):
    card = {"encoder": encoder, "beside": beside, "features": "table", "n_voxels": 5,
            "ceiling_from": "none"}
    return encode.steps(SimpleNamespace(
        settings={}, card=lambda name: card if name == "encoder_model" else {},
        setting=lambda group, name, default: n_permutations,
    ))


def test_plain_network_is_described_without_the_other_one():
    assert "encoder-etecrm-plain-alone" in encoding("etecrm-plain", "ridge")
    assert "encoder-etecrm-plain" in encoding("etecrm", "etecrm-plain")
    assert "encoder-etecrm-plain-alone" not in encoding("etecrm", "etecrm-plain")


def test_without_permutations_there_are_no_p_values():
    assert "encoding-test" in encoding("ridge")
    assert "encoding-test" not in encoding("ridge", n_permutations=0)


@pytest.mark.parametrize(("size", "draws", "text"), [
    (float("nan"), float("nan"), "among all candidates"), (24, 1, "among 24 candidates"),
    (300, 30, "among 300 candidates in each of 30 pools"),
])
def test_pools_in_words(size, draws, text):
    assert _pools(size, draws) == text


def test_libraries_are_those_of_the_baselines():
    def texts(*models):
        return set(_baselines(pd.DataFrame({"model": ["decoder", *models]}), "decoder"))

    assert texts() == set()
    assert texts("mean") == {"baselines"}
    assert texts("ridge-all") == {"baselines", "baselines-ridge"}
    assert texts("svm-all", "ridge-mask") == {"baselines", "baselines-ridge", "baselines-svm"}


def test_statistics_are_those_of_the_scores():
    untested, refitted = ({"null": "none", "n_null": "0"}, {"null": "refitted", "n_null": "99"})
    assert set(_statistics({"values": {}}, untested)) == {"statistics-values"}
    labels = _statistics({"classification": {}}, refitted)
    assert set(labels) == {"statistics", "statistics-test"}
    assert labels["statistics"]["ranks"] == ""
    assert labels["statistics-test"]["n_permutations"] == 99
    assert "fitted again" in labels["statistics-test"]["how"]
    found = _statistics({"identification": {}}, {"null": "fixed", "n_null": "99"})
    assert "ranks" in found["statistics"]["ranks"]
    assert "do not depend" in found["statistics-test"]["how"]


@pytest.mark.parametrize(("kind", "unit"), [("stimuli", "stimulus"), ("labels", "label")])
def test_quality_is_over_repeats_of_what_repeated(tmp_path, kind, unit):
    names = {"sub": "01", "task": "see"}
    for stat in ("rsquare", "reliability"):
        save_nifti(
            derivative_path(tmp_path, "statmap", **names, stat=stat), np.ones((2, 2, 2)), np.eye(4),
            metadata={"Notes": ["Estimated.", REPEATED.format(kind)]},
        )
        steps = prepare.steps(Results(tmp_path, "01"))
        assert steps.get("quality-repeats") == ({"unit": unit} if stat == "reliability" else None)
    assert steps["quality"]["maps"] == "explained variance, split-half reliability"
