"""Networks of torchvision, timm and open_clip as image encoders."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Sequence
from importlib import import_module
from typing import Any

import torch
from PIL import Image
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from bids_decoder.errors import InputError, MissingInputError, UsageError
from bids_decoder.stimuli.batches import NetworkEncoder
from bids_decoder.stimuli.weights import Weights


class _Backbone(NetworkEncoder):
    """A network of one of the libraries with its own preprocessing."""

    library: str

    def __init__(self, weights: Weights, variant: str, device: str) -> None:
        super().__init__(weights, variant, device)
        library = import_library(self.library)
        try:
            model, self._transform = self._build(library, variant)
        except (ValueError, KeyError, RuntimeError, AttributeError) as error:
            raise UsageError(
                f"--image-encoder {self.name}:{variant}",
                f"{self.library} cannot make this architecture: {error}",
                f"use a name that {self.library} lists",
            ) from error
        load_weights(model, weights)
        self.model = self._headless(model).eval().requires_grad_(False).to(self.device)

    @abstractmethod
    def _build(
        self, library: Any, variant: str
    ) -> tuple[nn.Module, Callable[[Image.Image], Tensor]]:
        """Return the network, without weights, and its preprocessing."""

    def _headless(self, model: nn.Module) -> nn.Module:
        return model

    def prepare(self, pictures: Sequence[Image.Image]) -> Tensor:
        """Preprocess pictures as for the training of the architecture."""
        return torch.stack([self._transform(picture) for picture in pictures])

    def embed(self, pixels: Tensor) -> Tensor:
        """Embed prepared pictures: the output below the classifier."""
        return self.model(pixels)


class TorchvisionBackbone(_Backbone):
    """A classifier of torchvision without its last layer."""

    name = library = "torchvision"

    def __init__(self, weights: Weights, variant: str, device: str) -> None:
        super().__init__(weights, variant, device)
        if getattr(self.model, "transform_input", False):
            # Vectors that are kept under the plain version were made of unscaled colours.
            self.version += "-scaled"

    def _build(
        self, library: Any, variant: str
    ) -> tuple[nn.Module, Callable[[Image.Image], Tensor]]:
        preset = library.models.get_model_weights(variant).DEFAULT.transforms()
        return scale_as_trained(library.models.get_model(variant, weights=None)), preset

    def _headless(self, model: nn.Module) -> nn.Module:
        last = getattr(model, "classifier", None)
        if isinstance(last, nn.Sequential) and isinstance(last[-1], nn.Linear):
            last[-1] = nn.Identity()
            return model
        name = next((n for n in ("fc", "head", "heads", "classifier") if hasattr(model, n)), None)
        if name is None or isinstance(last, nn.Sequential):
            raise UsageError(
                f"--image-encoder {self.name}:{self.variant}",
                "its classes are told by no linear layer at its end, below which features are read",
                "use another architecture, such as resnet50",
            )
        setattr(model, name, nn.Identity())
        return model


class TimmBackbone(_Backbone):
    """A network of timm without its classifier."""

    name = library = "timm"

    def _build(
        self, library: Any, variant: str
    ) -> tuple[nn.Module, Callable[[Image.Image], Tensor]]:
        model = library.create_model(variant, pretrained=False)
        settings = library.data.resolve_model_data_config(model)
        return model, library.data.create_transform(**settings, is_training=False)

    def _headless(self, model: nn.Module) -> nn.Module:
        model.reset_classifier(0)
        return model


class OpenClipBackbone(_Backbone):
    """The vision tower of a model of open_clip."""

    name = library = "open_clip"

    def _build(
        self, library: Any, variant: str
    ) -> tuple[nn.Module, Callable[[Image.Image], Tensor]]:
        model, _, transform = library.create_model_and_transforms(variant, pretrained=None)
        return model, transform

    def embed(self, pixels: Tensor) -> Tensor:
        """Embed prepared pictures: the projected embedding."""
        return self.model.encode_image(pixels)


def scale_as_trained(model: nn.Module) -> nn.Module:
    """Let Inception and GoogLeNet of torchvision scale colours as their weights need it.

    They were trained on colours in [-1, 1]. torchvision converts to that range, within the network,
    only where it loads its own weights itself.

    Parameters
    ----------
    model : Module
        Any network of torchvision, made without weights; others are left as they are.

    Returns
    -------
    Module
        The same one.
    """
    if hasattr(model, "transform_input"):
        model.transform_input = True
    return model


def import_library(name: str) -> Any:
    """Import a package that depends on torchvision's compiled operators.

    Raises
    ------
    MissingInputError
        When it is not installed or does not fit the installed PyTorch.
    """
    try:
        return import_module(name)
    except (ImportError, RuntimeError, OSError) as error:
        raise MissingInputError(
            f"package {name}", f"cannot be imported: {error}",
            "install the build of torchvision that matches the installed PyTorch (the same "
            "--index-url), or use --image-encoder clip, which does not need it",
        ) from error


def load_weights(model: nn.Module, weights: Weights, unused: tuple[str, ...] = ()) -> None:
    """Load weights into a model; names and shapes must be those of the model.

    Parameters
    ----------
    model : Module
    weights : Weights
    unused : tuple of str
        Prefixes of names that may be absent from the file or from the model.

    Raises
    ------
    InputError
    """
    try:
        found = model.load_state_dict(load_file(weights.path), strict=False)
        problems = [
            name for name in (*found.missing_keys, *found.unexpected_keys)
            if not name.startswith(unused)
        ] if unused else [*found.missing_keys, *found.unexpected_keys]
        why = f"{len(problems)} names differ, for instance {problems[0]}" if problems else ""
    except (RuntimeError, OSError, ValueError, SafetensorError) as error:
        why = str(error)[:300]
    if why:
        raise InputError(
            f"weights {weights.path}", f"do not fit the architecture: {why}",
            "use the weights of exactly this architecture, converted by scripts/convert_weights.py",
        )
