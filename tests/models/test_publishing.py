import json
from importlib.machinery import SourceFileLoader
from importlib.util import module_from_spec, spec_from_loader
from pathlib import Path

import numpy as np
import pytest
import yaml

from bids_decoder.bids.pretrained_files import find_pretrained
from bids_decoder.errors import InputError, UsageError
from bids_decoder.models.publishing import About, check_folder, publish
from bids_decoder.models.store import Model, save_model

ROOT = Path(__file__).parents[2]
ABOUT = About("Faces: a decoder", "cc0-1.0", "Participants agreed to sharing of derived data.",
              ("A. Author",), "Author, 2025.")
CARD = {
    "decoder": "troi", "dataset": "Faces: one", "participants": ["01", "02"], "stage_key": "k",
    "stimuli_seen": ["a", "b"], "targets": {"kind": "image", "n_dims": 4}, "version": "1",
    "encoder": {"name": "gabor"},
}


@pytest.fixture
def model(tmp_path):
    tensors = {"trunk.bias": np.ones(3, np.float32)}
    return save_model(tmp_path / "group" / "desc-pretrained_model.safetensors",
                      Model(tensors, CARD))


@pytest.fixture
def folder(model, tmp_path):
    publish([model], tmp_path / "hub", ABOUT)
    return tmp_path / "hub"


def problems(folder):
    return " | ".join(map(str, check_folder(folder)))


def test_the_folder_is_complete_and_a_value_of_pretrained(folder, model):
    assert not check_folder(folder)
    found = find_pretrained(folder, "07")
    assert found.parent == folder
    assert found.read_bytes() == model.read_bytes()


def test_the_readme_says_what_the_cards_say(folder):
    text = (folder / "README.md").read_text(encoding="utf-8")
    metadata = yaml.safe_load(text.split("---\n")[1])
    assert metadata["license"] == "cc0-1.0"
    assert metadata["datasets"] == ["Faces: one"]
    assert "image" in metadata["tags"]
    card = json.loads((folder / "desc-pretrained_model.json").read_text(encoding="utf-8"))
    for said in ("2 participants", "2 stimuli", card["sha256"], ABOUT.consent, "gabor",
                 "A. Author", ABOUT.citation):
        assert said in text


@pytest.mark.parametrize(("change", "said"), [
    ({"licence": "free"}, "is none that the hub knows"), ({"consent": "yes"}, "too short"),
])
def test_licence_and_consent_are_needed(model, tmp_path, change, said):
    with pytest.raises(UsageError, match=said):
        publish([model], tmp_path / "hub", About(**{**vars(ABOUT), **change}))
    assert not (tmp_path / "hub").exists()


def test_nothing_is_overwritten(folder, model):
    with pytest.raises(UsageError, match="is not an empty folder"):
        publish([model], folder, ABOUT)


def test_decoders_of_participants_are_not_published(tmp_path):
    card = {name: value for name, value in CARD.items() if name != "participants"}
    path = save_model(tmp_path / "sub-01_desc-decoder_model.safetensors",
                      Model({"a": np.ones(2)}, card))
    with pytest.raises(InputError, match="no pretrained model.*participants"):
        publish([path], tmp_path / "hub", ABOUT)
    assert not (tmp_path / "hub").exists()


def test_painters_are_not_published(tmp_path):
    """The components of few training images can be joined to the images themselves."""
    path = save_model(tmp_path / "sub-01_desc-painter_model.safetensors", Model(
        {"components": np.ones((2, 12))},
        {"decoder_key": "k", "painter": {"size": 2}, "training_images": {"a.png": "0" * 64}},
    ))
    with pytest.raises(InputError, match="no pretrained model"):
        publish([path], tmp_path / "hub", ABOUT)
    assert not (tmp_path / "hub").exists()


def test_models_of_one_name_or_of_two_kinds_are_refused(model, tmp_path):
    second = save_model(tmp_path / "b" / model.name, Model({"a": np.ones(2)}, CARD))
    with pytest.raises(UsageError, match="same file name"):
        publish([model, second], tmp_path / "hub", ABOUT)
    third = save_model(tmp_path / "b" / "label-x_desc-pretrained_model.safetensors",
                       Model({"a": np.ones(2)}, {**CARD, "decoder": "deeplight"}))
    with pytest.raises(UsageError, match="deeplight"):
        publish([model, third], tmp_path / "hub", ABOUT)
    assert not (tmp_path / "hub").exists()


@pytest.mark.parametrize("text", [
    "/data/x/y", "C:/Users/me/x", r"\\srv\share\x", "weights in /home/x/y", "~/models/w",
])
def test_paths_are_found_wherever_they_are(folder, text):
    card = folder / "desc-pretrained_model.json"
    content = json.loads(card.read_text(encoding="utf-8"))
    card.write_text(json.dumps({**content, "note": {text: 1}}), encoding="utf-8")
    assert "names paths of a computer" in problems(folder)


def test_a_damaged_model_is_not_published(model, tmp_path):
    model.write_bytes(model.read_bytes()[:-1] + b"\1")
    with pytest.raises(InputError, match="SHA256"):
        publish([model], tmp_path / "hub", ABOUT)
    assert not (tmp_path / "hub").exists()


def test_all_faults_of_a_folder_are_told_at_once(folder):
    card = folder / "desc-pretrained_model.json"
    content = json.loads(card.read_text(encoding="utf-8"))
    content["encoder"] = {"weights": "/home/someone/weights.safetensors"}
    del content["dataset"]
    card.write_text(json.dumps(content), encoding="utf-8")
    (folder / "weights.pt").write_bytes(b"x")
    readme = folder / "README.md"
    text = readme.read_text(encoding="utf-8").replace(ABOUT.consent, "")
    readme.write_text(text.replace("license: cc0-1.0\n", ""), encoding="utf-8")
    found = problems(folder)
    for said in ("does not say: dataset", "/home/someone/weights.safetensors", "weights.pt",
                 "'Consent' is missing or empty", "do not say: license"):
        assert said in found


def test_a_folder_without_model_or_readme_is_incomplete(tmp_path):
    assert "no such folder" in problems(tmp_path / "absent")
    found = problems(tmp_path)
    assert "holds no *_model.safetensors" in found
    assert "README.md" in found


def test_readme_without_metadata(folder):
    (folder / "README.md").write_text("# Model\n", encoding="utf-8")
    assert "does not start with metadata" in problems(folder)


def test_the_script_publishes_checks_and_returns_the_exit_code(model, tmp_path, capsys):
    loader = SourceFileLoader("publish_model", str(ROOT / "scripts" / "publish_model.py"))
    script = module_from_spec(spec_from_loader("publish_model", loader))
    loader.exec_module(script)
    hub = str(tmp_path / "hub")
    words = [hub, str(model), "--licence", "mit", "--consent", ABOUT.consent]
    assert script.main(words) == 0
    assert script.main([hub, "--check"]) == 0
    assert script.main(words) == 64
    (tmp_path / "hub" / "README.md").unlink()
    assert script.main([hub, "--check"]) == 66
    assert "does not exist" in capsys.readouterr().err
