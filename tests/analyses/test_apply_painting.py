"""Which painter reconstructs new trials, and what the plan says of others."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image
from safetensors.numpy import save_file

from bids_decoder.analyses.apply.painting import (
    check_painting,
    find_painting,
    say_painting,
    why_no_painting,
)
from bids_decoder.config import Settings, TrialRules
from bids_decoder.files import file_digest, read_json, write_json
from bids_decoder.stimuli.sheets import save_picture
from bids_decoder.stimuli.signatures import PictureSignatures
from bids_decoder.training.reconstruction_settings import Reconstruction

TRAINED, NEW = ["a.png", "b.png"], ["c.png", "d.png", "e.png"]


def study(method="auto", unit="auto", stimuli=None, shown=()):
    settings = replace(
        Settings(), trials=replace(TrialRules(), trial_unit=unit, image_encoder="gabor"),
        sections={"reconstruction": Reconstruction(method)},
    )
    trials = SimpleNamespace(
        build=SimpleNamespace(stimulus_files={name: stimuli / name for name in shown}),
        pictures=PictureSignatures(),
    )
    return SimpleNamespace(
        settings=settings, trials=trials, digest=file_digest,
        dataset=SimpleNamespace(stimuli_dir=stimuli), pictures_key=sorted,
    )


def card(kind="image", key="k", **more):
    told = {"targets": {"kind": kind}, "encoder": {"name": "clip"}, "seen": TRAINED}
    return {"use": told, "stage_key": key, **more}


@pytest.fixture
def stimuli(tmp_path):
    """Images that were shown, in training and later."""
    folder = tmp_path / "stimuli"
    for number, name in enumerate((*TRAINED, *NEW)):
        save_picture(folder / name, Image.new("RGB", (8, 8), (40 * number, 0, 0)))
    return folder


@pytest.fixture
def decoder(tmp_path, stimuli):
    painter = tmp_path / "sub-01_desc-painter_model.safetensors"
    save_file({"mean": np.zeros(3, np.float32)}, painter)
    write_json(painter.with_suffix(".json"), {
        "decoder_key": "k", "painter": {"size": 8, "noise": 1.0, "contrast": 1.0},
        "sha256": file_digest(painter),
        "training_images": {name: file_digest(stimuli / name) for name in TRAINED},
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


def test_painters_of_earlier_versions_are_left_out(decoder):
    place = decoder.with_name("sub-01_desc-painter_model.json")
    about = read_json(place)
    about["painter"] = {"size": 8, "n_components": 3}
    write_json(place, about)
    why, fix = why_no_painting(study(), decoder, card())
    assert "was fitted by an earlier version" in why and "again with this version" in fix


def test_damaged_painters_are_refused(decoder):
    painter = decoder.with_name("sub-01_desc-painter_model.safetensors")
    save_file({"mean": np.ones(3, np.float32)}, painter)
    (found,) = check_painting(study(), decoder, card())
    assert "SHA256 differs" in found.why and found.code == 65


def say(given, decoder):
    return say_painting("01", find_painting(given, decoder, card()), "").reason


def test_training_images_are_a_control_where_all_are_there(decoder, stimuli):
    given = study(stimuli=stimuli, shown=NEW)
    found = find_painting(given, decoder, card())
    assert found.trained == {name: stimuli / name for name in TRAINED}
    assert "the nearest of 2 training images is a control" in say(given, decoder)
    without = find_painting(study(stimuli=stimuli), decoder, card())
    assert without.trained == {} and without.key(given) != found.key(given)
    assert "images of 0 stimuli are known, 3 are needed" in say(study(), decoder)


@pytest.mark.parametrize("content", [None, b"no image", "another image"])
def test_lost_or_other_training_images_leave_the_control_out(decoder, stimuli, content):
    path = stimuli / TRAINED[1]
    path.unlink()
    if content == "another image":
        save_picture(path, Image.new("RGB", (8, 8), "white"))
    elif content is not None:
        path.write_bytes(content)
    given = study(stimuli=stimuli, shown=NEW)
    assert find_painting(given, decoder, card()).trained == {}
    said = say(given, decoder)
    assert "1 of 2 are not in" in said and "b.png" in said and "--stimuli-dir" in said


def test_painters_that_name_no_images_leave_the_control_out(decoder, stimuli):
    place = decoder.with_name("sub-01_desc-painter_model.json")
    about = read_json(place)
    del about["training_images"]
    write_json(place, about)
    assert "an earlier version" in say(study(stimuli=stimuli, shown=NEW), decoder)
