"""Networks of torchvision, with a stand-in for the library."""

from __future__ import annotations

from collections import OrderedDict
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from torch import nn

from bids_decoder.errors import UsageError
from bids_decoder.stimuli import backbones
from bids_decoder.stimuli.weights import find_file


class _Classifier(nn.Module):
    """Mean colour, and classes; scales colours within, like Inception of torchvision."""

    def __init__(self, scales: bool) -> None:
        super().__init__()
        self.fc = nn.Linear(3, 2)
        if scales:
            self.transform_input = False

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        if getattr(self, "transform_input", False):
            pixels = 2 * pixels - 1
        return self.fc(pixels.mean(dim=(2, 3)))


@pytest.mark.parametrize(
    ("scales", "expected", "ending"), [(True, 0.6, "-scaled"), (False, 0.8, "")]
)
def test_colours_are_scaled_as_in_the_training(tmp_path, monkeypatch, scales, expected, ending):
    preset = SimpleNamespace(DEFAULT=SimpleNamespace(transforms=lambda: _tensor))
    models = SimpleNamespace(
        get_model_weights=lambda name: preset, get_model=lambda name, weights: _Classifier(scales)
    )
    monkeypatch.setattr(backbones, "import_library", lambda name: SimpleNamespace(models=models))
    save_file(_Classifier(scales).state_dict(), tmp_path / "a.safetensors")
    weights = find_file(tmp_path / "a.safetensors", "--encoder-weights", "")
    encoder = backbones.TorchvisionBackbone(weights, "inception_v3", "cpu")
    grey = Image.fromarray(np.full((4, 4, 3), 204, np.uint8))
    np.testing.assert_allclose(encoder.encode_pictures([grey]), [[expected] * 3], atol=1e-6)
    assert encoder.version == f"inception_v3-{weights.sha256[:16]}{ending}"


@pytest.mark.parametrize(("classifier", "n_dims"), [
    (nn.Linear(3, 2), 3), (nn.Sequential(nn.ReLU(), nn.Linear(3, 2)), 3),
    (nn.Sequential(nn.Linear(3, 2), nn.ReLU()), None),
], ids=["densenet", "efficientnet", "squeezenet"])
def test_features_are_read_below_the_classifier(tmp_path, monkeypatch, classifier, n_dims):
    model = nn.Sequential(OrderedDict(pool=nn.AdaptiveAvgPool2d(1), flat=nn.Flatten(),
                                      classifier=classifier))
    preset = SimpleNamespace(DEFAULT=SimpleNamespace(transforms=lambda: _tensor))
    models = SimpleNamespace(
        get_model_weights=lambda name: preset, get_model=lambda name, weights: model
    )
    monkeypatch.setattr(backbones, "import_library", lambda name: SimpleNamespace(models=models))
    save_file(model.state_dict(), tmp_path / "a.safetensors")
    weights = find_file(tmp_path / "a.safetensors", "--encoder-weights", "")
    picture = Image.fromarray(np.full((4, 4, 3), 204, np.uint8))
    if n_dims is None:
        with pytest.raises(UsageError, match="no linear layer"):
            backbones.TorchvisionBackbone(weights, "a", "cpu")
        return
    encoder = backbones.TorchvisionBackbone(weights, "a", "cpu")
    assert encoder.encode_pictures([picture]).shape == (1, n_dims)


def _tensor(picture: Image.Image) -> torch.Tensor:
    return torch.from_numpy(np.asarray(picture, np.float32) / 255).permute(2, 0, 1)
