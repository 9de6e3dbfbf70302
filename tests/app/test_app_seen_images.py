"""The whole program on seen images: weights from disk, a gallery, a generator, no network."""

import json

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from bids_decoder.simulate.betas import write_betas_dataset
from bids_decoder.simulate.images import write_scene
from bids_decoder.simulate.layout import PictureDesign
from bids_decoder.training import prior

N_TEST = 15


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    folder = tmp_path_factory.mktemp("seen") / "data"
    design = PictureDesign(n_participants=1, n_train=48, n_test=N_TEST)
    write_betas_dataset(folder, design, pictures=True)
    for number in range(8):
        write_scene(folder.parent / "gallery" / f"{number}.png", f"g{number}", seed=5)
    # A copy of a test stimulus, and a file that is no picture, must not count.
    copy = (folder / "stimuli" / "shared-00001.png").read_bytes()
    (folder.parent / "gallery" / "copy.png").write_bytes(copy)
    (folder.parent / "gallery" / "broken.png").write_bytes(b"x")
    return folder


@pytest.fixture
def decode(main, dataset, tmp_path):
    def run(*options):
        return main(
            dataset, tmp_path / "out", "participant", "-d", f"betas={dataset}", "--from-scratch",
            "--stimuli-dir", dataset / "stimuli", "--device", "cpu", "--nprocs", 1,
            "--budget", "200vox", "--n-permutations", 19, "--image-encoder", "gabor", *options,
        )

    return run


def read(out, name):
    (path,) = (out / "sub-01").rglob(name)
    return pd.read_csv(path, sep="\t")


@pytest.mark.slow
def test_unclip_from_local_weights_with_a_gallery(decode, dataset, tmp_path, monkeypatch):
    tiny = pytest.importorskip("tiny_models")
    # How well the prior is fitted is seen in the tests of training; here 1500 steps take a minute.
    monkeypatch.setattr(prior, "N_STEPS", 40)
    clip = tiny.save_clip(tmp_path / "clip", tiny.WIDTH)
    pipeline = tiny.save_unclip(tmp_path / "unclip")
    done = decode(
        "--gallery", dataset.parent / "gallery", "--image-encoder", "clip",
        "--encoder-weights", clip, "--reconstruction", "unclip", "--reconstruction-weights",
        pipeline, "--prior", "diffusion",
    )
    assert done.code == 0, done.text
    assert "8 images" in done.text, done.text
    assert "1 that cannot be read, 1 that are test stimuli" in done.text
    out = tmp_path / "out"
    pictures = sorted((out / "sub-01" / "reconstruction").glob("*.png"))
    assert len(pictures) == N_TEST and Image.open(pictures[0]).size == (16, 16)
    (card,) = (out / "sub-01" / "reconstruction").glob("*.json")
    notes = json.loads(card.read_text())
    assert notes["Method"] == "unclip" and notes["ImageEncoder"].startswith("clip-pooled-")
    assert len(notes["PipelineSHA256"]) == 64 and isinstance(notes["Seed"], int)
    metrics = read(out, "*desc-reconstruction_metrics.tsv")
    assert set(metrics["model"]) == {"reconstruction", "shuffled-brains", "mean-brain",
                                     "nearest-training-image"}
    assert np.isfinite(metrics[["value", "ci_low", "ci_high"]]).all(axis=None)
    lists = read(out, "*desc-gallery_predictions.tsv")
    assert (lists["pool_size"] == N_TEST + 8).all() and "top10" in lists
    scores = read(out, "*desc-gallery_metrics.tsv")
    for nulls in (read(out, "*desc-gallerynull_metrics.tsv"), read(out, "*desc-null_metrics.tsv")):
        assert {"top1", "median_rank"} <= set(nulls["metric"])
        assert (nulls["direction"].notna() & nulls["value"].notna()).all()
    among = scores[scores["pool_size"] == N_TEST + 8]
    assert {"decoder", "ridge-all", "ridge-random"} <= set(among["model"])
    page = (out / "sub-01.html").read_text(encoding="utf-8")
    assert "Reconstruction" in page and "desc-gallery_predictions.tsv" in page


@pytest.mark.slow
def test_problems_of_weights_and_gallery_come_before_any_computing(decode, tmp_path):
    done = decode(
        "--gallery", tmp_path / "nowhere", "--image-encoder", "clip",
        "--reconstruction", "unclip", "--metric-weights", tmp_path,
    )
    assert done.code == 66
    for words in ("no such folder", "CLIP-ViT-bigG-14", "--reconstruction-weights"):
        assert words in done.text
    assert not (tmp_path / "out" / "sub-01").exists()
