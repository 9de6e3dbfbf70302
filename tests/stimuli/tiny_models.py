"""Tiny random models, saved as hubs ship them."""

import json

import pytest
import torch

transformers = pytest.importorskip("transformers")
diffusers = pytest.importorskip("diffusers")

WIDTH = 16
"""Length of the embeddings that the pipeline takes."""

VISION = {
    "hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2,
    "num_attention_heads": 2, "image_size": 28, "patch_size": 14,
}
MEAN, STD = [0.48145466, 0.4578275, 0.40821073], [0.26862954, 0.26130258, 0.27577711]


def processor(size=28):
    return transformers.CLIPImageProcessorPil(
        size={"shortest_edge": size}, crop_size={"height": size, "width": size},
        image_mean=MEAN, image_std=STD,
    )


def save_preprocessor(folder, size=28):
    processor(size).save_pretrained(folder)


def save_clip(folder, projection_dim=12):
    """A whole CLIP, text side included."""
    text = {"hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 1,
            "num_attention_heads": 2, "vocab_size": 50, "bos_token_id": 0, "eos_token_id": 1}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        config = transformers.CLIPConfig(
            text_config=text, vision_config=VISION, projection_dim=projection_dim
        )
        transformers.CLIPModel(config).save_pretrained(folder)
    save_preprocessor(folder)
    return folder


def save_unclip(folder):
    """A Stable unCLIP pipeline that makes pictures of 16 x 16 pixels."""
    from diffusers.pipelines.stable_diffusion.stable_unclip_image_normalizer import (
        StableUnCLIPImageNormalizer,
    )

    words = folder / "words"
    words.mkdir(parents=True)
    listed = ["<|startoftext|>", "<|endoftext|>", "a</w>", "b</w>", "a", "b"]
    (words / "vocab.json").write_text(json.dumps({word: i for i, word in enumerate(listed)}))
    (words / "merges.txt").write_text("#version: 0.2\n")
    tokenizer = transformers.CLIPTokenizer(
        str(words / "vocab.json"), str(words / "merges.txt"), model_max_length=8
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        diffusers.StableUnCLIPImg2ImgPipeline(
            feature_extractor=processor(), tokenizer=tokenizer,
            image_encoder=transformers.CLIPVisionModelWithProjection(
                transformers.CLIPVisionConfig(**VISION, projection_dim=WIDTH)
            ).eval(),
            image_normalizer=StableUnCLIPImageNormalizer(embedding_dim=WIDTH),
            image_noising_scheduler=diffusers.DDPMScheduler(beta_schedule="squaredcos_cap_v2"),
            scheduler=diffusers.DDIMScheduler(), **_networks(),
        ).save_pretrained(folder / "pipeline")
    return folder / "pipeline"


def _networks():
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
    return {"text_encoder": transformers.CLIPTextModel(text).eval(), "unet": unet.eval(),
            "vae": vae.eval()}
