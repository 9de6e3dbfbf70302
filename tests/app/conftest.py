"""Datasets and finished runs that the whole-app tests share."""

import json
import logging
import os
import shutil
import socket
from dataclasses import asdict
from functools import partial
from pathlib import Path

import pytest
from app_calls import Caller, Done, tree
from filelock import FileLock
from threadpoolctl import threadpool_limits

from bids_decoder.simulate.betas import write_betas_dataset
from bids_decoder.simulate.dataset import write_category_dataset, write_demo_dataset
from bids_decoder.simulate.layout import PictureDesign


@pytest.fixture(scope="session")
def common(tmp_path_factory):
    """A folder that the workers of pytest-xdist share."""
    base = tmp_path_factory.getbasetemp()
    return base.parent if "PYTEST_XDIST_WORKER" in os.environ else base


def once(folder, make):
    """What *make* returned for the folder, in this worker or in the one that came first."""
    record = folder.with_name(f"{folder.name}.json")
    with FileLock(f"{folder}.lock"):
        if not record.exists():
            record.write_text(json.dumps(make(folder)))
    return json.loads(record.read_text())


@pytest.fixture(scope="session")
def call(common, tmp_path_factory):
    return Caller(tmp_path_factory.mktemp("calls"), common / "sockets.log")


@pytest.fixture
def main(capfd, monkeypatch):
    """The program in this process, with everything put back that it changes.

    Figures are made but not drawn, which takes a third of a small call: calls in processes of
    their own and the tests of reports draw all of them.
    """
    from bids_decoder.cli.run import main
    from bids_decoder.reports import figures

    monkeypatch.setattr(figures, "render", lambda figure, kind="svg": b"not drawn")
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

    def __init__(self, folder, write, *options):
        def make(folder):
            write(folder)
            return tree(folder)

        self.digests = once(folder, make)
        self.folder = folder
        self.options = [*map(str, options), "--device", "cpu"]


@pytest.fixture(scope="session")
def betas(common):
    folder = common / "betas-data"
    write = partial(write_betas_dataset, design=PictureDesign(n_train=48))
    return Input(folder, write, "-d", f"betas={folder}", "--features", folder / "features.tsv")


@pytest.fixture(scope="session")
def categories(common):
    write = partial(write_category_dataset, n_participants=1, n_runs=4)
    return Input(common / "categories-data", write, "--from-scratch", "--n-permutations", 3)


@pytest.fixture(scope="session")
def images(common):
    design = PictureDesign(n_participants=2, n_runs=2, n_train=36)
    write = partial(write_demo_dataset, design=design, signal_sd=8.0)
    return Input(common / "images-data", write, "--holdout-label", "02", "--budget", "400vox")


class Run:
    """A finished call."""

    def __init__(self, call, output, data, *words):
        def make(output):
            return asdict(call(data.folder, output, *words, *data.options, "--nprocs", 2))

        self.done = Done(**once(output, make))
        self.output, self.data = output, data

    def copy(self, folder):
        """A copy of the results, with all dates."""
        return shutil.copytree(self.output, folder, copy_function=shutil.copy2)


@pytest.fixture(scope="session")
def betas_run(call, betas, common):
    return Run(call, common / "betas-out", betas, "group", "participant", "--holdout-label", "03")


@pytest.fixture(scope="session")
def category_run(call, categories, common):
    return Run(call, common / "categories-out", categories, "participant")


@pytest.fixture(scope="session")
def image_run(call, images, common):
    return Run(call, common / "images-out", images, "group", "participant")
