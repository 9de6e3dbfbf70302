"""Simulated multi-echo runs: files, echo times, T2* that can be found again."""

import json

import nibabel as nib
import numpy as np
import pytest

from bids_decoder.preprocessing.multiecho import fit_echoes
from bids_decoder.simulate.dataset import ECHOES, write_echo_dataset

pytest.importorskip("tedana")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_echo_dataset(tmp_path_factory.mktemp("echoes"), n_runs=1)


def echo(folder, number, ending):
    return folder / f"sub-01/func/sub-01_task-categories_run-1_echo-{number}_bold{ending}"


def test_every_echo_has_its_time(folder):
    times = [json.loads(echo(folder, n, ".json").read_text())["EchoTime"] for n in (1, 2, 3)]
    assert times == list(ECHOES.echo_times)
    assert len(list(folder.rglob("sub-01/func/*_events.tsv"))) == 1
    assert not (folder / "sub-01/func/sub-01_task-categories_run-1_bold.nii.gz").exists()


def test_t2star_is_found_again(folder):
    first, *later = [nib.load(echo(folder, n, ".nii.gz")).get_fdata() for n in (1, 2, 3)]
    truth = nib.load(
        folder / "derivatives/truth/sub-01/func/sub-01_task-categories_T2starmap.nii.gz"
    ).get_fdata()
    brain = later[0].mean(axis=3) > 150
    echoes = np.stack([image[brain] for image in (first, *later)], axis=1).astype(np.float32)
    found = fit_echoes(echoes, ECHOES.echo_times).t2star
    assert np.corrcoef(found, truth[brain])[0, 1] > 0.95
    assert np.median(np.abs(found / truth[brain] - 1)) < 0.03
