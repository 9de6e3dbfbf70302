"""Datasets and finished runs that the whole-app tests share."""

import logging
import os
import socket
from pathlib import Path

import pytest
from app_calls import Caller, Done, tree
from threadpoolctl import threadpool_limits

from bids_decoder.simulate.betas import write_betas_dataset
from bids_decoder.simulate.dataset import write_category_dataset, write_demo_dataset
from bids_decoder.simulate.layout import PictureDesign


@pytest.fixture(scope="session")
def call(tmp_path_factory):
    return Caller(tmp_path_factory.mktemp("calls"))


@pytest.fixture
def main(capfd):
    """The program in this process, with everything put back that it changes."""
    from bids_decoder.cli.run import main

    environ, cwd, has_ipv6 = dict(os.environ), Path.cwd(), socket.has_ipv6
    handlers = list(logging.getLogger().handlers)

    def run(*argv):
        capfd.readouterr()
        # A process of its own sets this before numpy is imported; here it was imported long ago.
        with threadpool_limits(1):
            code = main([str(word) for word in argv])
        captured = capfd.readouterr()
        return Done(code, captured.err, captured.out)

    yield run
    logging.getLogger().handlers[:] = handlers
    os.environ.clear()
    os.environ.update(environ)
    os.chdir(cwd)
    socket.has_ipv6 = has_ipv6


class Input:
    """A dataset, the options that go with it, and what it was when it was made."""

    def __init__(self, folder, *options):
        self.folder = folder
        self.options = [*map(str, options), "--device", "cpu"]
        self.digests = tree(folder)


@pytest.fixture(scope="session")
def betas(tmp_path_factory):
    folder = tmp_path_factory.mktemp("betas") / "data"
    write_betas_dataset(folder, PictureDesign(n_train=48))
    return Input(folder, "-d", f"betas={folder}", "--features", folder / "features.tsv")


@pytest.fixture(scope="session")
def categories(tmp_path_factory):
    folder = tmp_path_factory.mktemp("categories") / "data"
    write_category_dataset(folder, n_participants=1, n_runs=4)
    return Input(folder, "--from-scratch", "--n-permutations", 3)


@pytest.fixture(scope="session")
def images(tmp_path_factory):
    folder = tmp_path_factory.mktemp("images") / "data"
    write_demo_dataset(
        folder, PictureDesign(n_participants=2, n_runs=2, n_train=36), signal_sd=8.0
    )
    return Input(folder, "--holdout-label", "02", "--budget", "400vox")


class Run:
    """A finished call."""

    def __init__(self, output, done, data):
        self.output, self.done, self.data = output, done, data

    def copy(self, folder):
        """A copy of the results, with all dates."""
        import shutil

        return shutil.copytree(self.output, folder, copy_function=shutil.copy2)


@pytest.fixture(scope="session")
def betas_run(call, betas, tmp_path_factory):
    output = tmp_path_factory.mktemp("betas") / "out"
    done = call(betas.folder, output, "group", "participant", *betas.options,
                "--holdout-label", "03", "--nprocs", 2)
    return Run(output, done, betas)


@pytest.fixture(scope="session")
def category_run(call, categories, tmp_path_factory):
    output = tmp_path_factory.mktemp("categories") / "out"
    done = call(categories.folder, output, "participant", *categories.options, "--nprocs", 2)
    return Run(output, done, categories)


@pytest.fixture(scope="session")
def image_run(call, images, tmp_path_factory):
    output = tmp_path_factory.mktemp("images") / "out"
    done = call(images.folder, output, "group", "participant", *images.options, "--nprocs", 2)
    return Run(output, done, images)
