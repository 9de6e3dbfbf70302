"""The real loading code of diffusers on a tiny random pipeline that the test saves."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest

from bids_decoder.errors import InputError, MissingInputError, UsageError
from bids_decoder.evaluation.reconstruction import resize
from bids_decoder.interfaces.pictures import ReconstructionPlan, generate
from bids_decoder.stimuli.encoders import EncoderChoice
from bids_decoder.stimuli.unclip import UnclipGenerator, find_pipeline
from bids_decoder.stimuli.weights import find_folder

pytest.importorskip("diffusers")
pytest.importorskip("transformers")
tiny_models = pytest.importorskip("tiny_models")
WIDTH = tiny_models.WIDTH


@pytest.fixture(scope="module")
def pipeline(tmp_path_factory):
    return tiny_models.save_unclip(tmp_path_factory.mktemp("unclip"))


def encoder(pipeline):
    return EncoderChoice("clip", find_folder(pipeline / "image_encoder", (), "x", "y"))


@pytest.fixture(scope="module")
def generator(pipeline):
    return UnclipGenerator(find_pipeline(pipeline, encoder(pipeline)), "cpu")


def test_pictures_follow_embedding_and_seed(generator):
    vectors = np.random.default_rng(0).standard_normal((2, WIDTH)).astype(np.float32)

    def generate(vectors, seed):
        return np.stack(list(generator.generate(vectors, n_steps=2, seed=seed)))

    made = generate(vectors, 1)
    assert made.shape[0] == 2 and made.shape[-1] == 3 and made.dtype == np.float32
    assert 0 <= made.min() < made.max() <= 1
    assert np.array_equal(made, generate(vectors, 1))
    assert not np.allclose(made, generate(vectors, 2))
    assert not np.allclose(made, generate(-vectors, 1), atol=1e-4)


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
    with pytest.raises(InputError, match="99 numbers; the image encoder returns 16"):
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


def test_generated_pictures_are_mixed_with_painted_ones_in_a_file(pipeline, tmp_path):
    weights = find_pipeline(pipeline, encoder(pipeline))
    vectors = np.random.default_rng(0).standard_normal((2, WIDTH)).astype(np.float32)
    painted = np.random.default_rng(1).random((2, 8, 8, 3), dtype=np.float32)

    def made(low_level):
        plan = ReconstructionPlan("unclip", 8, 1, low_level, str(pipeline), weights.sha256)
        return generate(plan, vectors, painted, "cpu", 1, tmp_path)

    alone, mixed = made(0.0), made(0.25)
    low = np.stack([resize(picture, alone.shape[1]) for picture in painted])
    np.testing.assert_allclose(mixed, 0.75 * alone + 0.25 * low, atol=1e-6)
    assert isinstance(mixed, np.memmap) and not list(tmp_path.iterdir())
