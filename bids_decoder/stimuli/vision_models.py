"""Vision models of transformers as image encoders, from local safetensors."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from PIL import Image
from safetensors import SafetensorError
from torch import Tensor

from bids_decoder.errors import InputError, MissingInputError
from bids_decoder.stimuli.batches import NetworkEncoder
from bids_decoder.stimuli.weights import Weights

try:
    import transformers
except ImportError as error:
    raise MissingInputError(
        "transformers", f"it cannot be imported: {error}",
        "pip install 'bids_decoder[clip]'",
    ) from error

CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
CLIP_STD = (0.26862954, 0.26130258, 0.27577711)
"""Mean and standard deviation of the colours that CLIP was trained with."""


class VisionModel(NetworkEncoder):
    """Any vision model of transformers.

    The vector is the model's pooled output, or the mean over patch tokens where it has none; the
    variant ``tokens`` is all tokens of the last layer but the class token, concatenated.
    """

    name = "transformers"

    def __init__(self, weights: Weights, variant: str, device: str) -> None:
        super().__init__(weights, variant, device)
        self.processor = load_with(
            # Always the same backend: that of torchvision resamples slightly differently.
            weights, lambda: transformers.AutoImageProcessor.from_pretrained(
                weights.path, local_files_only=True, backend="pil"
            )
        )
        self.model = self._load(weights).eval().requires_grad_(False).to(self.device)

    def _load(self, weights: Weights) -> Any:
        return load_model(transformers.AutoModel, weights, load_config(weights))

    def prepare(self, pictures: Sequence[Image.Image]) -> Tensor:
        """Resize, crop and scale as in the preprocessor file of the weights."""
        return self.processor(images=list(pictures), return_tensors="pt")["pixel_values"]

    def embed(self, pixels: Tensor) -> Tensor:
        """Embed prepared pictures; see the class."""
        output = self.model(pixel_values=pixels)
        if self.variant == "tokens":
            return self._patches(output.last_hidden_state)
        pooled = getattr(output, "pooler_output", None)
        if pooled is not None:
            return pooled
        hidden = output.last_hidden_state
        return hidden.flatten(2).mean(dim=2) if hidden.ndim == 4 else hidden.mean(dim=1)

    @staticmethod
    def _patches(hidden: Tensor) -> Tensor:
        """Leave the class token out, where there is one more token than a square has."""
        n_tokens = hidden.shape[1]
        is_square = hidden.ndim == 3 and int(n_tokens**0.5) ** 2 == n_tokens
        return hidden if hidden.ndim == 4 or is_square else hidden[:, 1:]


class ClipVision(VisionModel):
    """The vision tower of CLIP.

    The vector is the projected embedding that CLIP compares with text; the variant ``tokens``
    is the patch tokens of the last layer before its normalisation (256 x 1664 for ViT-bigG/14),
    the target of Scotti et al. 2024 (MindEye2, arXiv 2403.11207).
    """

    name = "clip"

    def _load(self, weights: Weights) -> Any:
        return load_clip_tower(weights)

    def embed(self, pixels: Tensor) -> Tensor:
        """Embed prepared pictures; see the class."""
        output = self.model(pixel_values=pixels)
        return output.last_hidden_state[:, 1:] if self.variant else output.image_embeds


def load_clip_tower(weights: Weights) -> Any:
    """Load the vision tower of a CLIP checkpoint with its projection; see :func:`load_model`."""
    config = load_config(weights)
    if hasattr(config, "vision_config"):
        # The tower's own entry may lack the width that the whole model projects to.
        config.vision_config.projection_dim = config.projection_dim
        config = config.vision_config
    return load_model(transformers.CLIPVisionModelWithProjection, weights, config)


def load_model(
    kind: Any, weights: Weights, config: Any, option: str = "--encoder-weights"
) -> Any:
    """Load a model in 32 bit; raise for weights that leave a part of it random.

    Parameters
    ----------
    kind : class
        With ``from_pretrained``.
    weights : Weights
    config : PretrainedConfig
    option : str
        Named in errors.

    Raises
    ------
    InputError
        When tensors are missing, or the files cannot be read.
    """
    model, report = load_with(weights, lambda: kind.from_pretrained(
        weights.path, config=config, local_files_only=True, use_safetensors=True,
        dtype=torch.float32, output_loading_info=True,
    ), option)
    lacking = sorted(report["missing_keys"]) + sorted(map(str, report.get("mismatched_keys", ())))
    # A vision tower from a larger checkpoint leaves the text tower unused, which is fine.
    if lacking:
        raise InputError(
            f"{option} {weights.path}",
            f"{len(lacking)} tensor(s) of the model are missing or of another shape, for "
            f"instance {lacking[0]}", "use weights of the model that config.json describes",
        )
    return model


def load_config(weights: Weights, option: str = "--encoder-weights") -> Any:
    """Load the configuration of a model; see :func:`load_with`."""
    return load_with(weights, lambda: transformers.AutoConfig.from_pretrained(
        weights.path, local_files_only=True
    ), option)


def load_with(
    weights: Weights, load: Callable[[], Any], option: str = "--encoder-weights"
) -> Any:
    """Call a function that loads from the folder of *weights* with transformers.

    Raises
    ------
    InputError
        When transformers cannot load it; names *option*.
    """
    try:
        with quiet(transformers):
            return load()
    except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
        raise InputError(
            f"{option} {weights.path}", f"transformers cannot load it: {error}",
            "pass a folder as save_pretrained of transformers writes it",
        ) from error


@contextmanager
def quiet(library: Any) -> Iterator[None]:
    """Hide progress bars and advice of transformers or diffusers; restore its state afterwards."""
    log = library.utils.logging
    before, had_bars = log.get_verbosity(), log.is_progress_bar_enabled()
    log.set_verbosity_error()
    log.disable_progress_bar()
    try:
        yield
    finally:
        log.set_verbosity(before)
        if had_bars:
            log.enable_progress_bar()
