"""Vectors of the words in names, by a tiny text encoder."""

import json

import numpy as np
import pytest
from tiny_text import save_text_encoder

from bids_decoder.errors import FindingsError, InputError, MissingInputError
from bids_decoder.stimuli import words
from bids_decoder.stimuli.targets import make_targets
from bids_decoder.stimuli.words import (
    StimulusVectors,
    choose_text_encoder,
    encode_words,
    split_words,
)

NAMES = ("Face_01", "house", "faceHouse", "cat")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return save_text_encoder(tmp_path_factory.mktemp("text") / "encoder")


def test_names_are_split_into_words():
    assert split_words("images/red_Cat-2b.jpg") == "images red cat b jpg"
    assert split_words("a dog's ball") == "a dog's ball"


def test_vectors_are_the_mean_over_tokens_however_names_are_batched(folder, monkeypatch):
    weights = choose_text_encoder(folder)
    vectors = encode_words(weights, NAMES)
    assert vectors.shape == (4, 16)
    assert vectors.dtype == np.float32
    monkeypatch.setattr(words, "_BATCH", 1)
    np.testing.assert_allclose(encode_words(weights, NAMES), vectors, atol=1e-5)
    expected = _mean_of_last_layer(folder, "face house")
    np.testing.assert_allclose(vectors[2], expected, atol=1e-5)


def _mean_of_last_layer(folder, text):
    import torch
    import transformers

    tokens = transformers.AutoTokenizer.from_pretrained(folder)(text, return_tensors="pt")
    with torch.no_grad():
        output = transformers.AutoModel.from_pretrained(folder).eval()(**tokens)
    return output.last_hidden_state[0].mean(dim=0).numpy()


def test_targets_say_which_encoder_made_them(folder, tmp_path):
    targets = make_targets("features", NAMES, features=folder)
    assert targets.ids == tuple(sorted(NAMES))
    digest = choose_text_encoder(folder).sha256
    assert targets.source == f"words-{digest[:16]}"
    np.savez(tmp_path / "f.npz", ids=np.array(NAMES), vectors=np.eye(4))
    table = StimulusVectors(tmp_path / "f.npz")
    assert table.identity == "" and table.of(["cat"]).ids == NAMES


def test_names_are_encoded_and_tables_are_read_once(folder, tmp_path, monkeypatch):
    calls = []

    def watch(name, count):
        inner = getattr(words, name)
        monkeypatch.setattr(words, name, lambda *given: calls.append(count(given)) or inner(*given))

    watch("encode_words", lambda given: list(given[1]))
    watch("choose_text_encoder", lambda given: "encoder")
    watch("read_features", lambda given: "table")
    vectors = StimulusVectors(folder)
    first = vectors.of(["cat", "house"])
    assert first.ids == ("cat", "house")
    assert vectors.identity and vectors.record["name"] == folder.name
    again = vectors.of(["house"]).vectors
    assert np.array_equal(again, first.vectors[1:])
    assert vectors.of(["dog", "cat"]).ids == ("dog", "cat")
    assert vectors.of([]).ids == () and vectors.of([]).vectors.size == 0
    assert calls == ["encoder", ["cat", "house"], ["dog"]]
    np.savez(tmp_path / "f.npz", ids=np.array(NAMES), vectors=np.eye(4))
    table = StimulusVectors(tmp_path / "f.npz")
    assert table.of(["cat"]) is table.of(["house"]) and calls[3:] == ["table"]


def test_names_without_words_are_named_together(folder):
    with pytest.raises(FindingsError, match="2 of 3 names") as caught:
        StimulusVectors(folder).of(["01", "cat", "人"])
    assert "01, 人" in caught.value.findings[0].why
    assert "--relabel" in caught.value.findings[0].fix


def test_other_models_are_refused(folder, tmp_path, monkeypatch):
    with pytest.raises(MissingInputError, match="all-MiniLM"):
        choose_text_encoder(tmp_path)
    other = tmp_path / "vision"
    other.mkdir()
    (other / "config.json").write_text(json.dumps({"model_type": "vit", "image_size": 28}))
    (other / "model.safetensors").write_bytes((folder / "model.safetensors").read_bytes())
    with pytest.raises(InputError, match="a model of kind vit"):
        choose_text_encoder(other)
    monkeypatch.setattr(words, "find_spec", lambda name: None)
    with pytest.raises(MissingInputError, match="transformers is not installed"):
        StimulusVectors(folder).of(NAMES)
