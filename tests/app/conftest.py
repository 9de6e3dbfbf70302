"""Datasets and finished runs that the whole-app tests share."""

import json
import os
import shutil
from dataclasses import asdict
from functools import partial

import pytest
from app_calls import Caller, Done, betas_options, call_here, tree
from filelock import FileLock

from bids_decoder.simulate.betas import write_betas_dataset
from bids_decoder.simulate.dataset import COARSE, write_category_dataset, write_demo_dataset
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


@pytest.fixture(scope="session")
def main():
    """The program in this process, which saves what a new one imports, and drawing."""
    return call_here


@pytest.fixture(scope="session")
def compute():
    """The program in this process, without reports."""
    return partial(call_here, pages=False)


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
    return Input(folder, write, *betas_options(folder))


@pytest.fixture(scope="session")
def categories(common):
    write = partial(write_category_dataset, n_participants=1, n_runs=4)
    return Input(common / "categories-data", write, "--from-scratch", "--n-permutations", 3)


@pytest.fixture(scope="session")
def images(common):
    design = PictureDesign(n_participants=2, n_runs=2, n_train=36)
    write = partial(write_demo_dataset, design=design, signal_sd=8.0, scanner=COARSE)
    # As many permutations as a fitted tail needs; each of hundreds more would cost a score.
    return Input(common / "images-data", write, "--holdout-label", "02", "--budget", "120vox",
                 "--image-encoder", "gabor", "--n-permutations", 120)


class Run:
    """A finished call."""

    def __init__(self, call, output, data, *words, n_processes=2, **environ):
        def make(output):
            return asdict(call(
                data.folder, output, *words, *data.options, "--nprocs", n_processes, **environ
            ))

        self.done = Done(**once(output, make))
        self.output, self.data = output, data

    def copy(self, folder):
        """A copy of the results, with all dates."""
        return shutil.copytree(self.output, folder, copy_function=shutil.copy2)


@pytest.fixture(scope="session")
def betas_run(call, betas, common):
    """Spaces and foreign letters in paths, a C locale, a home folder that cannot be written."""
    folder, output = common / "my data é ß" / "täsk set", common / "out put ü" / "dérivés"
    for path in (folder, output):
        path.parent.mkdir(exist_ok=True)
    data = Input(folder, partial(shutil.copytree, betas.folder), *betas_options(folder))
    return Run(call, output, data, "group", "participant", "--holdout-label", "03",
               LANG="C", LC_ALL="C", HOME="/proc/none")


@pytest.fixture(scope="session")
def category_run(main, categories, common):
    return Run(main, common / "categories-out", categories, "participant", n_processes=1)


@pytest.fixture(scope="session")
def image_run(main, images, common):
    return Run(main, common / "images-out", images, "group", "participant", n_processes=1)
