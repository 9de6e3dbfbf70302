"""The image encoder that a call uses is in its decisions and its plan."""

from types import SimpleNamespace

import pandas as pd
import pytest

from bids_decoder.analyses.jobs import Notes
from bids_decoder.cli import plan, reading
from bids_decoder.cli.demo import demo_settings
from bids_decoder.cli.parser import parse_args
from bids_decoder.config import Settings
from bids_decoder.stimuli import encoders
from bids_decoder.stimuli.weights import PACKAGED, Weights


def decided(tmp_path, encoder):
    build = SimpleNamespace(target_kind="image", stimulus_files={}, value_columns=(), units={})
    table = pd.DataFrame({"stimulus": ["a", "b"], "excluded": False})
    notes, settings = Notes(), Settings().replaced(trials={"image_encoder": encoder})
    spec = reading._target_spec(build, {"01": table}, settings, notes, True)
    (decision,) = notes.decisions
    assert decision.what == "image encoder" and decision.value == spec.encoder.name
    return decision


@pytest.mark.parametrize(("is_installed", "expected", "why"), [
    (False, "gabor", "bids_decoder[vision]"), (True, PACKAGED, "is installed"),
])
def test_what_auto_stands_for_is_decided_and_said(
    tmp_path, monkeypatch, is_installed, expected, why
):
    file = Weights(tmp_path / "w.pth", "ab" * 32, verified=True)
    monkeypatch.setattr(encoders, "find_spec", lambda name: name if is_installed else None)
    monkeypatch.setattr(encoders, "find_packaged", lambda option: file)
    found = decided(tmp_path, "auto")
    assert found.value == expected and why in found.reason
    assert decided(tmp_path, "gabor").value == "gabor"


def test_the_plan_names_the_encoder_also_where_nothing_is_encoded(monkeypatch):
    monkeypatch.setattr(encoders, "find_spec", lambda name: name)
    monkeypatch.setattr(plan, "fingerprint", lambda *_: {})
    build = SimpleNamespace(target_kind="image", stimulus_column="s", label_column=None,
                            value_columns=(), units={}, trial_unit="event")
    trials = SimpleNamespace(build=build, overlap=SimpleNamespace(to_dict=dict), vectors=None)
    study = SimpleNamespace(
        trials=trials, settings=Settings(), split=SimpleNamespace(to_dict=dict),
        dataset=SimpleNamespace(name="d", source="raw"),
    )
    assert plan._record([], study, [], [])["image_encoder"] == PACKAGED


def test_the_demo_decodes_with_the_features_that_it_simulates(tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "dataset_description.json").write_text("{}")
    for words, expected in (([], "gabor"), (["--image-encoder", PACKAGED], PACKAGED)):
        settings, _ = parse_args(["--demo", str(tmp_path), *words])
        assert demo_settings(settings).trials.image_encoder == expected
