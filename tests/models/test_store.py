import hashlib
import json
import pickle

import numpy as np
import pytest

from bids_decoder.errors import InputError, MissingInputError
from bids_decoder.models.store import SCHEMA, Model, load_card, load_model, save_model


@pytest.fixture
def path(tmp_path):
    model = Model(
        {"input.weight": np.arange(12, dtype=np.float32).reshape(3, 4).T,
         "input.bias": np.ones(3), "inputs": np.array([1, 2])},
        {"decoder": "troi", "participants": ["01", "ü"]},
    )
    return save_model(tmp_path / "sub" / "m.safetensors", model)


def test_round_trip(path):
    model = load_model(path)
    assert np.array_equal(model.tensors["input.weight"], np.arange(12).reshape(3, 4).T)
    assert model.tensors["input.bias"].dtype == np.float64
    assert model.card["participants"] == ["01", "ü"]
    assert load_card(path)["decoder"] == "troi"
    assert set(model.part("input")) == {"weight", "bias"}


def test_same_model_same_bytes(path, tmp_path):
    model = load_model(path)
    shuffled = Model(dict(reversed(model.tensors.items())), model.card)
    assert save_model(tmp_path / "again.safetensors", shuffled).read_bytes() == path.read_bytes()


def test_changed_weights_are_refused(path):
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(bytes(content))
    with pytest.raises(InputError, match="SHA256"):
        load_model(path)


def test_pickles_are_refused_unread(path, tmp_path):
    class Trap:
        def __reduce__(self):
            return (pytest.fail, ("code ran",))

    for name in ("m.pt", "m.pth", "m.pkl", "m.bin", "m.ckpt"):
        trap = tmp_path / name
        trap.write_bytes(pickle.dumps(Trap()))
        with pytest.raises(InputError, match="safetensors"):
            load_model(trap)
    disguised = pickle.dumps(Trap())
    card = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
    card["sha256"] = hashlib.sha256(disguised).hexdigest()
    path.write_bytes(disguised)
    path.with_suffix(".json").write_text(json.dumps(card), encoding="utf-8")
    with pytest.raises(InputError, match="is a pickle.*no safetensors file"):
        load_model(path)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_weights_that_are_not_finite_are_refused(tmp_path, value):
    broken = Model({"a": np.zeros(2), "b.c": np.array([0, value])}, {})
    path = save_model(tmp_path / "m.safetensors", broken)
    with pytest.raises(InputError, match=r"not finite: b\.c"):
        load_model(path)


def test_newer_schema_is_refused(path):
    card = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
    assert card["schema"] == SCHEMA
    path.with_suffix(".json").write_text(json.dumps({**card, "schema": SCHEMA + 1}))
    with pytest.raises(InputError, match="newer version"):
        load_model(path)


@pytest.mark.parametrize("suffix", [".safetensors", ".json"])
def test_half_a_model_is_missing(path, suffix):
    path.with_suffix(suffix).unlink()
    with pytest.raises(MissingInputError, match=suffix):
        load_model(path)
