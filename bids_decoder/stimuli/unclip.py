"""Pictures generated from image embeddings by an unCLIP pipeline of diffusers."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bids_decoder.errors import InputError, MissingInputError, UsageError
from bids_decoder.files import file_digest
from bids_decoder.seeds import derive_seed
from bids_decoder.stimuli.weights import Digest, Weights, find_folder, read_config

if TYPE_CHECKING:
    from bids_decoder.stimuli.encoders import EncoderChoice

_OPTION = "--reconstruction-weights"
_PIPELINE = "StableUnCLIPImg2ImgPipeline"
_GUIDANCE = 10.0
"""Scale of classifier-free guidance."""

_FETCH = (
    "pass the folder of a Stable unCLIP pipeline of diffusers with safetensors, for instance "
    "stabilityai/stable-diffusion-2-1-unclip"
)


def find_pipeline(
    path: Path | None, encoder: EncoderChoice, digest: Digest = file_digest
) -> Weights:
    """Find the pipeline and check that it fits the image encoder.

    Parameters
    ----------
    path : Path or None
        Folder with ``model_index.json``.
    encoder : EncoderChoice
    digest : callable
        See :data:`.weights.Digest`.

    Returns
    -------
    Weights

    Raises
    ------
    UsageError
        When the encoder is not a CLIP model with one vector per picture.
    MissingInputError
        When folder or library are absent; the message says what to fetch.
    InputError
        When it is another pipeline, or takes vectors of another length.
    """
    for library in ("diffusers", "transformers"):
        if find_spec(library) is None:
            raise MissingInputError(
                "--reconstruction unclip", f"the package {library} is not installed",
                "pip install 'bids_decoder[recon]'",
            )
    weights = find_folder(path, ("model_index.json",), _OPTION, _FETCH, digest)
    kind = read_config(weights.path / "model_index.json", _OPTION).get("_class_name")
    if kind != _PIPELINE:
        raise InputError(f"{_OPTION} {weights.path}", f"is a {kind}, not a {_PIPELINE}", _FETCH)
    if encoder.name != "clip" or encoder.weights is None:
        raise UsageError(
            "--reconstruction unclip", f"starts from embeddings of CLIP; the image encoder is "
            f"{encoder.name}", "use --image-encoder clip with the CLIP model of the pipeline",
        )
    there = _projection(weights.path / "image_encoder" / "config.json")
    here = _projection(encoder.weights.path / "config.json")
    if there != here:
        raise InputError(
            f"{_OPTION} {weights.path}",
            f"takes embeddings of {there} numbers; the image encoder returns {here}",
            "use the CLIP model of the pipeline as image encoder (its folder image_encoder, with "
            "the preprocessor_config.json of feature_extractor beside it)",
        )
    return weights


def _projection(config: Path) -> int | None:
    return read_config(config, _OPTION).get("projection_dim") if config.is_file() else None


class UnclipGenerator:
    """A loaded pipeline.

    Parameters
    ----------
    weights : Weights
        From :func:`find_pipeline`.
    device : str

    Raises
    ------
    InputError
        When diffusers cannot load it.
    """

    def __init__(self, weights: Weights, device: str) -> None:
        self.device = device
        self._pipeline = _load(weights, device)

    def generate(
        self, embeddings: np.ndarray, *, n_steps: int, seed: int
    ) -> Iterator[np.ndarray]:
        """Generate one picture for each embedding.

        Parameters
        ----------
        embeddings : ndarray, shape (n, n_dims)
            Of the pipeline's CLIP model, in its own scale.
        n_steps : int
            Denoising steps.
        seed : int
            The noise of picture *i* depends on (seed, i).

        Yields
        ------
        ndarray of float32, shape (height, width, 3)
            sRGB in [0, 1].
        """
        import torch

        for number, embedding in enumerate(np.asarray(embeddings, dtype=np.float32)):
            generator = torch.Generator("cpu").manual_seed(derive_seed(seed, number))
            vector = torch.from_numpy(embedding)[None].to(self.device, self._pipeline.unet.dtype)
            made = self._pipeline(
                prompt="", image_embeds=vector, noise_level=0, num_inference_steps=n_steps,
                guidance_scale=_GUIDANCE, generator=generator, output_type="np",
            )
            yield np.clip(made.images[0], 0, 1).astype(np.float32)


def _load(weights: Weights, device: str) -> Any:
    import torch

    try:
        import diffusers
    except ImportError as error:
        raise MissingInputError(
            "--reconstruction unclip", f"diffusers cannot be imported: {error}",
            "pip install 'bids_decoder[recon]'",
        ) from error
    from bids_decoder.stimuli.vision_models import quiet, transformers

    try:
        with quiet(transformers), quiet(diffusers):
            pipeline = getattr(diffusers, _PIPELINE).from_pretrained(
                weights.path, local_files_only=True, use_safetensors=True, low_cpu_mem_usage=False,
                dtype=torch.float32 if device == "cpu" else torch.float16,
            )
    except (OSError, ValueError, KeyError, RuntimeError, AttributeError) as error:
        raise InputError(f"{_OPTION} {weights.path}", f"diffusers cannot load it: {error}",
                         _FETCH) from error
    pipeline.set_progress_bar_config(disable=True)
    return pipeline.to(device)
