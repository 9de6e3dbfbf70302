"""The real loading code of diffusers on a tiny random pipeline that the test saves."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
import torch

from bids_decoder.errors import InputError, MissingInputError, UsageError
from bids_decoder.stimuli.encoders import EncoderChoice
from bids_decoder.stimuli.unclip import UnclipGenerator, find_pipeline
from bids_decoder.stimuli.weights import find_folder

diffusers = pytest.importorskip("diffusers")
transformers = pytest.importorskip("transformers")

WIDTH = 16


def tokenizer(folder):
    folder.mkdir()
    words = ["<|startoftext|>", "<|endoftext|>", "a</w>", "b</w>", "a", "b"]
    (folder / "vocab.json").write_text(json.dumps({w: i for i, w in enumerate(words)}))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    return transformers.CLIPTokenizer(str(folder / "vocab.json"), str(folder / "merges.txt"),
                                      model_max_length=8)


def networks():
    vision = transformers.CLIPVisionConfig(
        hidden_size=16, intermediate_size=24, num_hidden_layers=1, num_attention_heads=2,
        image_size=28, patch_size=14, projection_dim=WIDTH,
    )
    text = transformers.CLIPTextConfig(
        hidden_size=16, intermediate_size=24, num_hidden_layers=1, num_attention_heads=2,
        vocab_size=6, max_position_embeddings=8, bos_token_id=0, eos_token_id=1, pad_token_id=1,
    )
    unet = diffusers.UNet2DConditionModel(
        sample_size=8, in_channels=4, out_channels=4, block_out_channels=(8, 16),
        layers_per_block=1, norm_num_groups=4, cross_attention_dim=16, attention_head_dim=4,
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
        class_embed_type="projection", projection_class_embeddings_input_dim=2 * WIDTH,
    )
    vae = diffusers.AutoencoderKL(
        block_out_channels=(8, 16), down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2, norm_num_groups=4, latent_channels=4,
        sample_size=16,
    )
    return vision, text, unet, vae


@pytest.fixture(scope="module")
def pipeline(tmp_path_factory):
    from diffusers.pipelines.stable_diffusion.stable_unclip_image_normalizer import (
        StableUnCLIPImageNormalizer,
    )

    folder = tmp_path_factory.mktemp("unclip")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        vision, text, unet, vae = networks()
        diffusers.StableUnCLIPImg2ImgPipeline(
            feature_extractor=transformers.CLIPImageProcessorPil(
                size={"shortest_edge": 28}, crop_size={"height": 28, "width": 28}
            ),
            image_encoder=transformers.CLIPVisionModelWithProjection(vision).eval(),
            image_normalizer=StableUnCLIPImageNormalizer(embedding_dim=WIDTH),
            image_noising_scheduler=diffusers.DDPMScheduler(beta_schedule="squaredcos_cap_v2"),
            tokenizer=tokenizer(folder / "words"),
            text_encoder=transformers.CLIPTextModel(text).eval(), unet=unet.eval(),
            scheduler=diffusers.DDIMScheduler(), vae=vae.eval(),
        ).save_pretrained(folder / "pipeline")
    return folder / "pipeline"


def encoder(pipeline):
    return EncoderChoice("clip", find_folder(pipeline / "image_encoder", (), "x", "y"))


@pytest.fixture(scope="module")
def generator(pipeline):
    return UnclipGenerator(find_pipeline(pipeline, encoder(pipeline)), "cpu")


def test_pictures_follow_embedding_and_seed(generator):
    vectors = np.random.default_rng(0).standard_normal((2, WIDTH)).astype(np.float32)
    made = generator.generate(vectors, n_steps=2, seed=1)
    assert made.shape[0] == 2 and made.shape[-1] == 3 and made.dtype == np.float32
    assert 0 <= made.min() < made.max() <= 1
    assert np.array_equal(made, generator.generate(vectors, n_steps=2, seed=1))
    assert not np.allclose(made, generator.generate(vectors, n_steps=2, seed=2))
    assert not np.allclose(made, generator.generate(-vectors, n_steps=2, seed=1), atol=1e-4)


def test_pipeline_is_recognised_by_its_content(pipeline, tmp_path):
    copy = shutil.copytree(pipeline, tmp_path / "copy")
    same = find_pipeline(copy, encoder(pipeline)).sha256
    assert same == find_pipeline(pipeline, encoder(pipeline)).sha256
    (copy / "scheduler" / "scheduler_config.json").write_text("{}")
    assert find_pipeline(copy, encoder(pipeline)).sha256 != same


def test_another_length_of_embedding_is_refused(pipeline, tmp_path):
    copy = shutil.copytree(pipeline, tmp_path / "copy")
    config = copy / "image_encoder" / "config.json"
    config.write_text(json.dumps({**json.loads(config.read_text()), "projection_dim": 99}))
    with pytest.raises(InputError, match="99 numbers; the image encoder gives 16"):
        find_pipeline(copy, encoder(pipeline))


def test_encoder_must_be_clip(pipeline):
    for choice in (EncoderChoice("gabor"), EncoderChoice("clip:tokens", encoder(pipeline).weights)):
        with pytest.raises(UsageError, match="starts from embeddings of CLIP"):
            find_pipeline(pipeline, choice)


def test_other_pipelines_and_missing_folders_are_refused(pipeline, tmp_path):
    copy = shutil.copytree(pipeline, tmp_path / "copy")
    (copy / "model_index.json").write_text('{"_class_name": "StableDiffusionPipeline"}')
    with pytest.raises(InputError, match="is a StableDiffusionPipeline"):
        find_pipeline(copy, encoder(pipeline))
    with pytest.raises(MissingInputError, match="stable-diffusion-2-1-unclip"):
        find_pipeline(tmp_path / "nowhere", encoder(pipeline))


def test_damaged_weights_are_an_error_of_ours(pipeline, tmp_path):
    copy = shutil.copytree(pipeline, tmp_path / "copy")
    weights = find_pipeline(copy, encoder(pipeline))
    next((copy / "unet").glob("*.safetensors")).unlink()
    with pytest.raises(InputError, match="cannot load"):
        UnclipGenerator(weights, "cpu")
