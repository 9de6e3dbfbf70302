"""Networks of the metrics on random weights that the test saves."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from bids_decoder.errors import InputError, MissingInputError
from bids_decoder.simulate.images import make_scene
from bids_decoder.stimuli.perceptual import AlexNetFeatures, find_networks, load_features
from bids_decoder.stimuli.weights import PACKAGED


@pytest.fixture(scope="module")
def pictures():
    return [make_scene(seed, 64).astype(np.float32) / 255 for seed in range(3)]


@pytest.fixture
def alexnet(tmp_path):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        tensors = dict(AlexNetFeatures().state_dict())
    tensors |= {"classifier.6.bias": torch.zeros(1000)}
    save_file(tensors, tmp_path / "alexnet.safetensors")
    return tmp_path


def test_alexnet_takes_the_names_and_layers_of_torchvision(alexnet, pictures):
    spaces = {s.name: s for s in load_features(find_networks(alexnet), "cpu")}
    assert set(spaces) - {PACKAGED} == {"alexnet2", "alexnet5"} and not spaces["alexnet2"].distance
    second, fifth = (spaces[name].extract(pictures) for name in ("alexnet2", "alexnet5"))
    assert second.shape == (3, 192 * 31 * 31) and fifth.shape == (3, 256 * 15 * 15)
    assert (second >= 0).all() and (fifth >= 0).all()  # behind the rectifier
    model = AlexNetFeatures().eval()
    model.load_state_dict(_tensors(alexnet))
    pixels = torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2)
    pixels = torch.nn.functional.interpolate(pixels, (256, 256), mode="bilinear", antialias=True)
    mean = torch.tensor([0.485, 0.456, 0.406]).view(1, 3, 1, 1)
    std = torch.tensor([0.229, 0.224, 0.225]).view(1, 3, 1, 1)
    with torch.no_grad():
        expected = model.features[:5]((pixels - mean) / std).flatten(1).numpy()
    np.testing.assert_allclose(second, expected, atol=1e-5)


def _tensors(folder):
    from safetensors.torch import load_file

    tensors = load_file(folder / "alexnet.safetensors")
    return {k: v for k, v in tensors.items() if k.startswith("features.")}


def test_wrong_tensors_are_refused(tmp_path):
    save_file({"features.0.weight": torch.zeros(3)}, tmp_path / "alexnet.safetensors")
    with pytest.raises(InputError, match="do not fit"):
        list(load_features(find_networks(tmp_path), "cpu"))


def test_empty_folder_says_what_to_put_there(tmp_path):
    with pytest.raises(MissingInputError, match=r"alexnet\.safetensors"):
        find_networks(tmp_path)


def test_networks_of_torchvision(tmp_path, pictures):
    models = pytest.importorskip("torchvision.models", exc_type=ImportError)
    made = {"inception_v3": models.inception_v3(init_weights=False),
            "efficientnet_b1": models.efficientnet_b1(), "swav_resnet50": models.resnet50()}
    for name, model in made.items():
        tensors = {k: v for k, v in model.state_dict().items() if not k.startswith("fc.")}
        save_file(tensors, tmp_path / f"{name}.safetensors")
    spaces = {s.name: s for s in load_features(find_networks(tmp_path), "cpu")}
    spaces.pop(PACKAGED, None)
    assert {n: (s.distance, s.extract(pictures).shape) for n, s in spaces.items()} == {
        "inception": (False, (3, 2048)), "efficientnet": (True, (3, 1280)),
        "swav": (True, (3, 2048)),
    }
