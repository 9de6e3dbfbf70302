"""Encoders with weights: the real loading code on tiny random models that the test saves."""

from __future__ import annotations

import hashlib
import shutil

import numpy as np
import pytest
import torch
from PIL import Image

from bids_decoder.errors import ExitCode, InputError, MissingInputError, UsageError
from bids_decoder.stimuli.cache import CachedEncoder
from bids_decoder.stimuli.encoders import choose_encoder, load_encoder, parse_encoder
from bids_decoder.stimuli.weights import SUMS

transformers = pytest.importorskip("transformers")

tiny_models = pytest.importorskip("tiny_models")
MEAN, STD, TINY = tiny_models.MEAN, tiny_models.STD, tiny_models.VISION
preprocessor = tiny_models.save_preprocessor


@pytest.fixture(scope="module")
def clip_folder(tmp_path_factory):
    return tiny_models.save_clip(tmp_path_factory.mktemp("clip"))


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pictures")
    rng = np.random.default_rng(3)
    paths = []
    for number in range(5):
        pixels = rng.integers(0, 255, (40 + number, 60, 3), dtype=np.uint8)
        paths.append(folder / f"{number}.png")
        Image.fromarray(pixels).save(paths[-1])
    return paths


def make(name, folder):
    return load_encoder(choose_encoder(name, folder))


def reference(folder, pictures, tokens):
    """The vision tower by hand: pixels scaled, the model called without our code."""
    model = transformers.CLIPModel.from_pretrained(folder).eval()
    rows = []
    for path in pictures:
        image = Image.open(path)
        width, height = image.size
        image = image.resize((28 * width // height, 28), Image.Resampling.BICUBIC)
        left = (image.width - 28) // 2
        pixels = np.asarray(image.crop((left, 0, left + 28, 28)), dtype=np.float32) / 255
        pixels = torch.from_numpy(((pixels - MEAN) / STD).transpose(2, 0, 1)).float()[None]
        with torch.no_grad():
            output = model.vision_model(pixel_values=pixels)
            tower = model.visual_projection(output.pooler_output)
        rows.append((output.last_hidden_state[:, 1:] if tokens else tower).flatten())
    return torch.stack(rows).numpy()


@pytest.mark.parametrize(("name", "n_dims"), [("clip", 12), ("clip:tokens", 4 * 16)])
def test_clip_gives_what_the_model_gives(clip_folder, pictures, name, n_dims):
    encoder = make(name, clip_folder)
    encoder.batch_size = 2
    vectors = encoder.encode(pictures)
    assert vectors.shape == (5, n_dims) and vectors.dtype == np.float32
    np.testing.assert_allclose(
        vectors, reference(clip_folder, pictures, ":" in name), atol=2e-5
    )


def test_any_vision_model(tmp_path, pictures):
    transformers.ViTModel(transformers.ViTConfig(**TINY)).save_pretrained(tmp_path / "vit")
    preprocessor(tmp_path / "vit")
    assert make("transformers", tmp_path / "vit").encode(pictures).shape == (5, 16)
    assert make("transformers:tokens", tmp_path / "vit").encode(pictures).shape == (5, 64)
    config = transformers.ResNetConfig(
        embedding_size=8, hidden_sizes=[8, 12], depths=[1, 1], num_channels=3
    )
    transformers.ResNetModel(config).save_pretrained(tmp_path / "resnet")
    preprocessor(tmp_path / "resnet")
    assert make("transformers", tmp_path / "resnet").encode(pictures).shape == (5, 12)


def test_pictures_and_text_together_want_the_clip_encoder(clip_folder):
    with pytest.raises(InputError, match="pictures and text"):
        choose_encoder("transformers", clip_folder)


def test_weights_that_leave_parts_random_are_refused(tmp_path, clip_folder):
    from safetensors.torch import load_file, save_file

    folder = shutil.copytree(clip_folder, tmp_path / "cut")
    tensors = load_file(folder / "model.safetensors")
    name = "vision_model.encoder.layers.1.mlp.fc1.weight"
    tensors = {key: value for key, value in tensors.items() if not key.endswith(name)}
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(InputError, match="1 tensor"):
        make("clip", folder)


def test_identity_follows_weights_and_preprocessing(tmp_path, clip_folder):
    first = choose_encoder("clip", clip_folder).identity
    copy = shutil.copytree(clip_folder, tmp_path / "copy")
    assert choose_encoder("clip", copy).identity == first
    preprocessor(copy, size=56)
    assert choose_encoder("clip", copy).identity != first
    assert choose_encoder("clip:tokens", clip_folder).identity != first


def test_expected_digests_are_checked(tmp_path, clip_folder):
    folder = shutil.copytree(clip_folder, tmp_path / "sums")
    assert not choose_encoder("clip", folder).weights.verified
    digest = hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()
    (folder / SUMS).write_text(f"{digest}  ./model.safetensors\n")
    assert choose_encoder("clip", folder).weights.verified
    (folder / SUMS).write_text(f"{'0' * 64}  model.safetensors\n")
    with pytest.raises(InputError, match="SHA256"):
        choose_encoder("clip", folder)


def test_mounted_cache_is_checked_by_its_own_names(tmp_path, clip_folder):
    repo = tmp_path / "models--lab--clip"
    snapshot = repo / "snapshots" / "abc"
    shutil.copytree(clip_folder, snapshot)
    content = (snapshot / "model.safetensors").read_bytes()
    blob = repo / "blobs" / hashlib.sha256(content).hexdigest()
    blob.parent.mkdir()
    (snapshot / "model.safetensors").rename(blob)
    (snapshot / "model.safetensors").symlink_to(f"../../blobs/{blob.name}")
    chosen = choose_encoder("clip", repo)
    assert chosen.weights.verified and chosen.weights.path == snapshot
    assert chosen.identity == choose_encoder("clip", clip_folder).identity
    blob.write_bytes(content[:-1] + b"x")
    with pytest.raises(InputError, match="SHA256"):
        choose_encoder("clip", repo)


def test_missing_weights_say_what_to_fetch_and_where(tmp_path):
    for path in (None, tmp_path / "nowhere", tmp_path):
        with pytest.raises(MissingInputError) as caught:
            choose_encoder("clip", path)
        assert caught.value.code == ExitCode.MISSING_INPUT
        assert "CLIP-ViT-bigG-14" in str(caught.value) and "mount" in str(caught.value)


def test_pickled_weights_are_refused(tmp_path):
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "preprocessor_config.json").write_text("{}")
    (tmp_path / "pytorch_model.bin").write_bytes(b"x")
    with pytest.raises(InputError, match="safetensors"):
        choose_encoder("clip", tmp_path)


def test_damaged_weights_are_an_error_of_ours(tmp_path, clip_folder):
    folder = shutil.copytree(clip_folder, tmp_path / "broken")
    (folder / "model.safetensors").write_bytes(b"no safetensors")
    with pytest.raises(InputError, match="it is no safetensors file"):
        make("clip", folder)


@pytest.mark.parametrize(("name", "message"), [
    ("clipp", "no such encoder"), ("clip:pooled", "no variant"), ("timm", "lacks the name"),
    ("gabor:x", "no variant"),
])
def test_unknown_encoders(name, message):
    with pytest.raises(UsageError, match=message):
        parse_encoder(name)


def test_gabor_takes_no_weights(tmp_path):
    with pytest.raises(UsageError, match="takes no weights"):
        choose_encoder("gabor", tmp_path)


def test_absent_library_is_named(tmp_path, monkeypatch):
    (tmp_path / "w.safetensors").write_bytes(b"")
    monkeypatch.setattr("bids_decoder.stimuli.encoders.find_spec", lambda name: None)
    with pytest.raises(MissingInputError, match="timm is not installed"):
        choose_encoder("timm:resnet18", tmp_path / "w.safetensors")


class Counting:
    name, version = "counting", "1"

    def __init__(self):
        self.seen = []

    def encode(self, paths):
        self.seen += paths
        return np.array([[path.stat().st_size] for path in paths], dtype=np.float32)


def test_cache_goes_by_content(tmp_path, pictures, monkeypatch):
    monkeypatch.setattr("bids_decoder.stimuli.cache.PACK", 2)
    inner = Counting()
    cached = CachedEncoder(inner, tmp_path)
    first = cached.encode([*pictures, pictures[0]])
    assert inner.seen == pictures and len(list(cached.folder.iterdir())) == 3
    copy = tmp_path / "elsewhere.png"
    shutil.copy(pictures[2], copy)
    again = CachedEncoder(inner, tmp_path).encode([copy, pictures[0]])
    assert np.array_equal(again, first[[2, 0]]) and len(inner.seen) == 5
    for pack in cached.folder.iterdir():
        pack.write_bytes(b"damaged")
    CachedEncoder(inner, tmp_path).encode(pictures[:1])
    assert len(inner.seen) == 6


def test_cache_of_another_encoder_is_not_used(tmp_path, pictures):
    inner = Counting()
    CachedEncoder(inner, tmp_path).encode(pictures)
    inner.version = "2"
    CachedEncoder(inner, tmp_path).encode(pictures)
    assert len(inner.seen) == 10
