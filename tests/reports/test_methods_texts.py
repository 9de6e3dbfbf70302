"""Everything that can be chosen has its sentence in the methods text."""

from types import SimpleNamespace
from typing import get_args, get_type_hints

import pytest

from bids_decoder.analyses.decode.methods import _selection
from bids_decoder.analyses.facts import collect_headings
from bids_decoder.config import Troi
from bids_decoder.files import write_json
from bids_decoder.glm.estimators import ESTIMATORS
from bids_decoder.reports.boilerplate import sources
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
