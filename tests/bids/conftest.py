"""Skeleton datasets: tiny images, real structure."""

import json
from dataclasses import dataclass, field
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from bids_decoder.analyses.registry import section_kinds
from bids_decoder.bids.collect import collect_dataset, select_participants
from bids_decoder.bids.events import build_dataset_trials
from bids_decoder.bids.preflight import check_dataset
from bids_decoder.config import default_settings

SHARED = Path(__file__).resolve().parents[2] / "../shared/data"
SHAPE = (4, 4, 3, 40)
T_R = 2.0


@dataclass
class Skeleton:
    root: Path
    rng: np.random.Generator = field(default_factory=lambda: np.random.default_rng(0))

    def json(self, name, content):
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(content), encoding="utf-8")
        return path

    def text(self, name, content, **kwargs):
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content, encoding="utf-8", newline="", **kwargs)
        return path

    def image(self, name, shape=SHAPE, *, t_r=T_R, unit="sec", affine=None, data=None, qform=None):
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if data is None:
            data = self.rng.normal(100, 10, shape).astype(np.float32)
        affine = np.diag([3.0, 3.0, 3.0, 1.0]) if affine is None else affine
        image = nib.Nifti1Image(data, affine)
        image.header.set_xyzt_units("mm", unit)
        image.set_sform(affine, 1)
        image.set_qform(affine if qform is None else qform, 1)
        if data.ndim == 4:
            image.header["pixdim"][4] = t_r
        nib.save(image, path)
        return path

    def events(self, name, rows=None, columns=("onset", "duration", "trial_type"), end="\n"):
        rows = default_rows() if rows is None else rows
        lines = ["\t".join(columns), *("\t".join(map(str, row)) for row in rows)]
        return self.text(name, end.join(lines) + end)

    def run(self, sub="01", run="1", task="see", ses=None, rows=None, columns=None, **image):
        folder = f"sub-{sub}/" + (f"ses-{ses}/" if ses else "") + "func/"
        stem = f"sub-{sub}_" + (f"ses-{ses}_" if ses else "") + f"task-{task}_"
        stem = folder + stem + (f"run-{run}" if run else "")
        stem = stem.rstrip("_")
        extra = {"columns": columns} if columns else {}
        self.events(f"{stem}_events.tsv", rows, **extra)
        return self.image(f"{stem}_bold.nii.gz", **image)

    def settings(self, **groups):
        execution = {
            "bids_dir": self.root, "output_dir": self.root.parent / "out",
            **groups.pop("execution", {}),
        }
        return default_settings(section_kinds()).replaced(execution=execution, **groups)

    def dataset(self, **groups):
        return collect_dataset(self.settings(**groups))

    def build(self, **groups):
        settings = self.settings(**groups)
        return build_dataset_trials(collect_dataset(settings), settings)

    def check(self, labels=(), **groups):
        settings = self.settings(**groups)
        dataset = collect_dataset(settings)
        build = build_dataset_trials(dataset, settings)
        return check_dataset(dataset, build, select_participants(dataset, labels), settings)


def default_rows(labels="abcdabcdab", start=2.0, step=7.0, duration=1.0):
    return [(start + step * i, duration, label) for i, label in enumerate(labels)]


@pytest.fixture
def bare(tmp_path):
    """An empty dataset with a description."""
    skeleton = Skeleton(tmp_path / "ds")
    skeleton.json("dataset_description.json", {"Name": "toy", "BIDSVersion": "1.10.0"})
    return skeleton


@pytest.fixture
def toy(bare):
    """Two people, three runs each, one T1w, nothing wrong."""
    bare.json("task-see_bold.json", {"RepetitionTime": T_R, "TaskName": "see"})
    for sub in ("01", "02"):
        bare.image(f"sub-{sub}/anat/sub-{sub}_T1w.nii.gz", (4, 4, 4))
        for run in "123":
            bare.run(sub, run)
    return bare


@pytest.fixture
def shared_data():
    """Give a function that finds a folder of real data beside the checkout, or skips."""

    def find(name):
        path = SHARED / name
        if not path.is_dir():
            pytest.skip(f"real data {name} not beside the checkout")
        return Skeleton(path.resolve())

    return find
