"""Which painter reconstructs new trials, and what the plan says of others."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from safetensors.numpy import save_file

from bids_decoder.analyses.apply.painting import check_painting, find_painting, why_no_painting
from bids_decoder.config import Settings, TrialRules
from bids_decoder.files import file_digest, write_json
from bids_decoder.stimuli.signatures import PictureSignatures
from bids_decoder.training.reconstruction_settings import Reconstruction


def study(method="auto", unit="auto"):
    settings = replace(
        Settings(), trials=replace(TrialRules(), trial_unit=unit, image_encoder="gabor"),
        sections={"reconstruction": Reconstruction(method)},
    )
    trials = SimpleNamespace(
        build=SimpleNamespace(stimulus_files={}), pictures=PictureSignatures()
    )
    return SimpleNamespace(settings=settings, trials=trials, digest=file_digest)


def card(kind="image", key="k", **more):
    told = {"targets": {"kind": kind}, "encoder": {"name": "clip"}}
    return {"use": told, "stage_key": key, **more}


@pytest.fixture
def decoder(tmp_path):
    painter = tmp_path / "sub-01_desc-painter_model.safetensors"
    save_file({"mean": np.zeros(3, np.float32)}, painter)
    write_json(painter.with_suffix(".json"), {
        "decoder_key": "k", "painter": {"size": 8}, "sha256": file_digest(painter),
    })
    return tmp_path / "sub-01_desc-decoder_model.safetensors"


def test_the_painter_beside_the_decoder_is_used(decoder):
    assert why_no_painting(study(), decoder, card()) is None
    assert list(check_painting(study(), decoder, card())) == []
    found = find_painting(study(), decoder, card())
    assert found.plan.method == "ridge" and found.painter.name.endswith("painter_model.safetensors")


@pytest.mark.parametrize(("given", "told", "why"), [
    ({"method": "none"}, {}, "--reconstruction none"),
    ({}, {"kind": "category"}, "decodes category, not images"),
    ({}, {"participants": ["02"]}, "a model of other participants"),
    ({"unit": "volume"}, {}, "single volumes"),
    ({}, {"key": "other"}, "was fitted with another decoder"),
])
def test_other_painters_and_targets_are_left_out(decoder, given, told, why):
    assert why in why_no_painting(study(**given), decoder, card(**told))[0]
    assert list(check_painting(study(**given), decoder, card(**told))) == []


def test_what_is_asked_for_is_refused_where_it_cannot_be(decoder, tmp_path):
    (found,) = check_painting(study("ridge"), decoder, card(key="other"))
    assert found.code == 65 and "another decoder" in found.why
    elsewhere = tmp_path / "elsewhere" / decoder.name
    (found,) = check_painting(study("ridge"), elsewhere, card())
    assert "there is no sub-01_desc-painter_model.safetensors beside it" in found.why
    (found,) = check_painting(study("unclip"), decoder, card())
    assert found.code in (64, 65, 66) and "reconstruction" in found.what


def test_damaged_painters_are_refused(decoder):
    painter = decoder.with_name("sub-01_desc-painter_model.safetensors")
    save_file({"mean": np.ones(3, np.float32)}, painter)
    (found,) = check_painting(study(), decoder, card())
    assert "SHA256 differs" in found.why and found.code == 65
