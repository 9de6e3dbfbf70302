"""The registry of image encoders, and their common interface."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, runtime_checkable

import numpy as np

from bids_decoder.errors import (
    BidsDecoderError,
    Finding,
    FindingsError,
    InputError,
    MissingInputError,
    UsageError,
)
from bids_decoder.stimuli.images import load_picture
from bids_decoder.stimuli.weights import (
    PACKAGE,
    PACKAGED,
    Weights,
    find_file,
    find_folder,
    find_packaged,
    read_config,
)

if TYPE_CHECKING:
    from PIL import Image

_OPTION = "--encoder-weights"

AUTO = "auto"
"""Name that stands for the best encoder that needs no files: see :func:`default_encoder`."""


@dataclass(frozen=True)
class EncoderEntry:
    """Description of one encoder in the registry.

    Parameters
    ----------
    target : str
        ``module:Class``; the module is imported only when its encoder is used.
    library : str or None
        Package that must be installed.
    needs : {None, "folder", "file", "package"}
        Kind of weights; those of a package are installed with it.
    variants : str or tuple of str
        Words that may follow the name after a colon; text describes free ones, which are
        required.
    fetch : str
        What to fetch when weights are missing.
    """

    target: str
    library: str | None = None
    needs: str | None = None
    variants: str | tuple[str, ...] = ()
    fetch: str = ""


_FOLDER = "config.json, preprocessor_config.json and model.safetensors"

ENCODERS: dict[str, EncoderEntry] = {
    "gabor": EncoderEntry("bids_decoder.stimuli.pyramid:GaborPyramid"),
    PACKAGED: EncoderEntry(
        "bids_decoder.stimuli.efficientnet:EfficientNetEncoder", None, "package",
        ("early", "middle", "late"),
    ),
    "clip": EncoderEntry(
        "bids_decoder.stimuli.vision_models:ClipVision", "transformers", "folder", ("tokens",),
        f"pass a folder with {_FOLDER} of a CLIP model, for instance of "
        "laion/CLIP-ViT-bigG-14-laion2B-39B-b160k, laion/CLIP-ViT-H-14-laion2B-s32B-b79K or "
        "openai/clip-vit-large-patch14",
    ),
    "transformers": EncoderEntry(
        "bids_decoder.stimuli.vision_models:VisionModel", "transformers", "folder", ("tokens",),
        f"pass a folder with {_FOLDER} of a vision model of transformers, for instance of "
        "facebook/dinov2-large",
    ),
    "torchvision": EncoderEntry(
        "bids_decoder.stimuli.backbones:TorchvisionBackbone", "torchvision", "file",
        "name of the architecture, such as resnet50",
        "pass the weights of this architecture as .safetensors",
    ),
    "timm": EncoderEntry(
        "bids_decoder.stimuli.backbones:TimmBackbone", "timm", "file",
        "name of the architecture, such as vit_base_patch16_224",
        "pass the weights of this architecture as .safetensors",
    ),
    "open_clip": EncoderEntry(
        "bids_decoder.stimuli.backbones:OpenClipBackbone", "open_clip", "file",
        "name of the architecture, such as ViT-H-14",
        "pass the weights of this architecture as .safetensors",
    ),
}
"""Encoders by name; ``name:variant`` chooses one of its kinds of output."""


@runtime_checkable
class ImageEncoder(Protocol):
    """Interface of encoders that turn pictures into vectors.

    Attributes
    ----------
    name : str
        As in the registry.
    version : str
        Changes whenever the vector of the same picture would change.
    """

    name: str
    version: str

    def encode(self, paths: Sequence[Path]) -> np.ndarray:
        """Encode pictures.

        Parameters
        ----------
        paths : sequence of Path

        Returns
        -------
        ndarray of float32, shape (n_images, n_dims)

        Raises
        ------
        FindingsError
            With one finding for each picture that cannot be used.
        """
        ...


@dataclass(frozen=True)
class EncoderChoice:
    """An encoder as chosen by options, checked but not loaded.

    Parameters
    ----------
    name : str
        ``name`` or ``name:variant``.
    weights : Weights or None
    """

    name: str
    weights: Weights | None = None

    @property
    def identity(self) -> dict[str, str]:
        """Name and digest of weights of the encoder, for keys and model cards."""
        known = {"name": self.name}
        return known if self.weights is None else {**known, "sha256": self.weights.sha256}


def parse_encoder(name: str) -> tuple[EncoderEntry, str]:
    """Split ``name:variant`` and look the name up.

    Raises
    ------
    UsageError
        For unknown names and variants.
    """
    key, _, variant = name.partition(":")
    if key not in ENCODERS:
        raise UsageError(
            f"--image-encoder {name}", "no such encoder",
            f"use one of: {', '.join([AUTO, *ENCODERS])}",
        )
    entry = ENCODERS[key]
    if isinstance(entry.variants, str):
        if not variant:
            raise UsageError(f"--image-encoder {name}", f"lacks the {entry.variants}",
                             f"write it after a colon: {key}:NAME")
    elif variant and variant not in entry.variants:
        known = ", ".join([key, *(f"{key}:{word}" for word in entry.variants)])
        raise UsageError(f"--image-encoder {name}", f"has no variant {variant!r}",
                         f"use one of: {known}")
    return entry, variant


def default_encoder() -> tuple[str, str]:
    """Return the encoder that :data:`AUTO` stands for on this machine, and why."""
    if find_spec(PACKAGE) is None:
        return "gabor", (
            "no network is installed; pip install 'bids_decoder[vision]' adds one that was "
            "trained on photographs"
        )
    return PACKAGED, f"the package {PACKAGE} is installed"


def encoder_name(name: str) -> str:
    """Return the name of an encoder, with what :data:`AUTO` stands for."""
    return default_encoder()[0] if name == AUTO else name


def choose_encoder(name: str, weights: Path | None = None) -> EncoderChoice:
    """Check an encoder and its weights without loading them.

    Parameters
    ----------
    name : str
        Key of :data:`ENCODERS`, with ``:variant`` where it has one, or :data:`AUTO`.
    weights : Path or None

    Returns
    -------
    EncoderChoice

    Raises
    ------
    UsageError
        For unknown names, or weights for an encoder without any.
    MissingInputError
        When weights or the library are absent; the message says what to install or fetch.
    InputError
        When the weights are damaged or of another kind.
    """
    name = encoder_name(name)
    entry, _ = parse_encoder(name)
    if entry.needs in (None, "package"):
        if weights is not None:
            raise UsageError(f"{_OPTION} {weights}", f"the encoder {name} takes no weights",
                             "leave the option out, or choose another --image-encoder")
        found = find_packaged(f"--image-encoder {name}") if entry.needs else None
        return EncoderChoice(name, found)
    if entry.library is not None and find_spec(entry.library) is None:
        raise MissingInputError(
            f"--image-encoder {name}", f"the package {entry.library} is not installed",
            f"pip install {entry.library}, or choose another encoder",
        )
    if entry.needs == "file":
        return EncoderChoice(name, find_file(weights, _OPTION, entry.fetch))
    needed = ("config.json", "preprocessor_config.json")
    found = find_folder(weights, needed, _OPTION, entry.fetch)
    config = read_config(found.path / "config.json", _OPTION)
    if "vision_config" in config and not name.startswith("clip"):
        raise InputError(
            f"{_OPTION} {found.path}",
            f"is a model of pictures and text ({config.get('model_type')})",
            "use --image-encoder clip for CLIP, or pass a vision model",
        )
    return EncoderChoice(name, found)


def load_encoder(choice: EncoderChoice | str, device: str = "cpu") -> ImageEncoder:
    """Load an encoder.

    Parameters
    ----------
    choice : EncoderChoice or str
        Text names an encoder without weights.
    device : str
        ``cpu``, ``cuda`` or ``cuda:N``.

    Raises
    ------
    BidsDecoderError
        As :func:`choose_encoder`; also when the weights do not fit the architecture.
    """
    checked = choose_encoder(choice) if isinstance(choice, str) else choice
    entry, variant = parse_encoder(checked.name)
    module, _, kind = entry.target.partition(":")
    made = getattr(import_module(module), kind)
    return made() if checked.weights is None else made(checked.weights, variant, device)


def load_pictures(paths: Sequence[Path]) -> tuple[list[Image.Image], list[Finding]]:
    """Read pictures as RGB, and return findings for those that cannot be read."""
    pictures, findings = [], []
    for path in paths:
        try:
            pictures.append(load_picture(Path(path)))
        except BidsDecoderError as error:
            findings.append(error.finding)
    return pictures, findings


def stacked(batches: Iterator[np.ndarray | list[Finding]]) -> np.ndarray:
    """Concatenate the vectors of batches.

    Parameters
    ----------
    batches : iterator of ndarray, shape (n, n_dims), or list of Finding

    Returns
    -------
    ndarray of float32, shape (n_pictures, n_dims)

    Raises
    ------
    FindingsError
        With what is wrong in any of the batches.
    """
    vectors, findings = [], []
    for batch in batches:
        if isinstance(batch, list):
            findings += batch
        else:
            vectors.append(batch)
    if findings:
        raise FindingsError(findings)
    return np.concatenate(vectors).astype(np.float32, copy=False)
