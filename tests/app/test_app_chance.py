"""What cannot be decoded is not decoded: labels in another order than the brain knows."""

import shutil
from dataclasses import replace

import numpy as np
import pytest
from app_calls import betas_options, derivatives
from scipy.stats import binom

from bids_decoder.bids.writer import read_table, save_table
from bids_decoder.simulate.betas import write_betas_dataset
from bids_decoder.simulate.layout import PictureDesign

pytestmark = pytest.mark.slow


def decoder_rows(output, label, name):
    (path,) = (output / f"sub-{label}").glob("func/*_desc-decoder_metrics.tsv")
    table = read_table(path)
    return table[(table["model"] == "decoder") & (table["metric"] == name)]


def within_chance(n_right, n, chance):
    """Say whether a count of right answers is what guessing gives, 1 time in 1000 falsely not."""
    return n_right <= binom.ppf(0.999, n, chance)


def permuted_copy(data, folder, column, seed):
    """A copy of a raw dataset whose events name the trials of each person in another order."""
    copy = shutil.copytree(data, folder)
    rng = np.random.default_rng(seed)
    for person in sorted(copy.glob("sub-*")):
        paths = sorted(person.glob("func/*_events.tsv"))
        tables = [read_table(path) for path in paths]
        blocks = [(table[column] != table[column].shift()).cumsum() for table in tables]
        names = [table.groupby(block)[column].first() for table, block in zip(
            tables, blocks, strict=True)]
        if column == "trial_type":
            mixed = [rng.permutation(list(some)) for some in names]
        else:
            everything = rng.permutation([name for some in names for name in some])
            mixed = np.split(everything, np.cumsum([len(some) for some in names])[:-1])
        for path, table, block, order in zip(paths, tables, blocks, mixed, strict=True):
            table[column] = [order[number - 1] for number in block]
            save_table(path, table)
    return copy


def test_permuted_labels_of_raw_data(category_run, compute, tmp_path):
    """Two permutations together: 48 blocks of three categories."""
    data, n_right, n = category_run.data, 0, 0
    for seed in (1, 2):
        copy = permuted_copy(data.folder, tmp_path / f"data{seed}", "trial_type", seed)
        output = category_run.copy(tmp_path / f"out{seed}")
        done = compute(copy, output, "participant", *data.options, "--nprocs", 1)
        assert done.code == 0, done.text
        assert set(done.todo()) == {
            ("sub-01", "betas"), ("sub-01", "decode"), ("sub-01", "controls"),
        }
        (row,) = decoder_rows(output, "01", "balanced_accuracy").to_dict("records")
        n_right += round(float(row["value"]) * int(row["n"]))
        n += int(row["n"])
    assert n >= 40
    assert within_chance(n_right, n, 1 / 3)
    assert derivatives(output) != derivatives(category_run.output)


def test_permuted_pictures_of_raw_data(image_run, compute, tmp_path):
    """Pretraining and decoding see the pictures in another order than the brain did."""
    data = image_run.data
    copy = permuted_copy(data.folder, tmp_path / "data", "stim_file", 1)
    output = image_run.copy(tmp_path / "out")
    done = compute(copy, output, "group", "participant", *data.options, "--nprocs", 1)
    assert done.code == 0, done.text
    assert set(done.todo()) == {
        ("sub-01", "betas"), ("sub-02", "betas"), ("group", "pretrain"), ("sub-02", "decode"),
        ("sub-02", "reconstruct"), ("sub-02", "controls"),
    }
    rows = decoder_rows(output, "02", "top1")
    rows = rows[(rows["unit"] == "averaged") & (rows["similarity"] == "csls")]
    for row in rows.to_dict("records"):
        assert within_chance(round(float(row["value"]) * 12), 12, 1 / 12)
        assert float(row["p"]) > 0.01


def test_permuted_responses(compute, tmp_path):
    """Three datasets of responses, pretrained and decoded: 36 pictures, ranks as for guessing."""
    n_right, ranks = 0, []
    for seed in (1, 2, 3):
        data = write_betas_dataset(
            tmp_path / f"data{seed}", PictureDesign(seed=seed, n_train=48, permute_labels=True)
        )
        output = tmp_path / f"out{seed}"
        done = compute(data, output, "group", "participant", *betas_options(data),
                    "--holdout-label", "03", "--device", "cpu", "--nprocs", 1,
                    "--n-permutations", 19)
        assert done.code == 0, done.text
        rows = decoder_rows(output, "03", "top1")
        chosen = rows[(rows["direction"] == "b2i") & (rows["unit"] == "averaged")
                      & (rows["similarity"] == "csls")]
        n_right += round(float(chosen["value"].item()) * 12)
        (path,) = (output / "sub-03").glob("func/*_predictions.tsv")
        ranks += read_table(path)["rank_b2i"].astype(int).to_list()
    assert within_chance(n_right, 36, 1 / 12)
    # Mean of 72 ranks from 1 to 12, correlated within pictures at most pairwise.
    assert abs(np.mean(ranks) - 6.5) < 4 * np.sqrt((12**2 - 1) / 12 / 36)


def test_pretraining_on_permuted_people_does_not_invent_anything(compute, tmp_path):
    """Sources without information, permuted person: still chance; permuted sources alone: safe."""
    design = PictureDesign(seed=4, n_train=48)
    true = write_betas_dataset(tmp_path / "true", design)
    mixed = write_betas_dataset(tmp_path / "mixed", replace(design, permute_labels=True))
    for label in ("01", "02"):
        shutil.rmtree(true / f"sub-{label}")
        shutil.copytree(mixed / f"sub-{label}", true / f"sub-{label}")
    values = {}
    for name, options in (("pretrained", ("--holdout-label", "03")), ("scratch", ())):
        levels = ["group", "participant"] if options else ["participant", "--from-scratch"]
        done = compute(true, tmp_path / name, *levels, "-d", f"betas={true}", "--features",
                    true / "features.tsv", "--device", "cpu", "--nprocs", 1,
                    "--n-permutations", 19,
                    *(options or ("--participant-label", "03")))
        assert done.code == 0, done.text
        rows = decoder_rows(tmp_path / name, "03", "top1")
        values[name] = float(rows[(rows["direction"] == "b2i") & (rows["unit"] == "averaged")
                                  & (rows["similarity"] == "csls")]["value"].item())
    # The person's own trials do tell; a useless model must not take that away.
    assert values["scratch"] > 3 / 12
    assert values["pretrained"] > 3 / 12
